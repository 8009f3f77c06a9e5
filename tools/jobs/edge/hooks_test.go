package edge

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hooksService is the gateways' listeners for providers, in Consul.
const hooksService = "sms-gateway-hooks"

// notHooks are paths that look as if they led to a gateway. None does.
var notHooks = []string{
	"/hooks", "/hooks/", "/hooks//", "/hooks//first", "//hooks/first", "/HOOKS/first", "/hooks/First", "/%68ooks/first", "/hooks%2ffirst",
	"/hooks/first/x", "/hooks/first/..", "/hooks/../metrics", "/hooks/first/../../metrics", "/hooks/%2e%2e/metrics", "/hooks/..%2fmetrics",
	"/hooks/first;x", "/hooks/first%00", "/x/hooks/first", "/metrics", "/livez", "/readyz", "/version", "/sms", "/v1/send",
}

// calls: what providers call goes to who takes it, with their own count, and once.
func calls(t *testing.T, e *edge, h *backend) {
	client := e.voter(t)
	for _, path := range []string{"/hooks/first", "/hooks/first/", "/hooks/second-2?bodySHA256=x"} {
		response, content := e.must(t, client, 200, "POST", path, "X-Forwarded-For", "203.0.113.1", "X-Forwarded-Host", "evil.example")
		if response.Header.Get("X-Backend") != "h" || !bytes.Contains(content, []byte(`"X-Forwarded-Proto":["https"]`)) ||
			bytes.Contains(content, []byte("203.0.113.1")) || bytes.Contains(content, []byte("evil.example")) {
			t.Errorf("%s is at %q, which gets %s", path, response.Header.Get("X-Backend"), content)
		}
	}
	for _, path := range notHooks {
		if response, _ := e.must(t, client, 200, "POST", path); response.Header.Get("X-Backend") == "h" {
			t.Errorf("%s leads to a gateway", path)
		}
	}

	t.Run("is not repeated", func(t *testing.T) {
		client := e.voter(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }) // for the reason that retries has
		response, content := e.must(t, client, 502, "POST", "/hooks/break", "Idempotency-Key", "k")
		if code, effect := problem(t, response, content); code != "internal" || effect != "unknown" || response.Header.Get("Retry-After") == "" {
			t.Errorf("it says %v: %s", response.Header, content)
		}
		if got := asked(t.Name(), h); got != 1 {
			t.Errorf("the gateway was asked %d times", got)
		}
	})
	t.Run("is no longer than a gateway reads", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+e.https+"/hooks/first", strings.NewReader(strings.Repeat("x", 256<<10+1)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Test", t.Name())
		response, err := e.voter(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		if code, effect := problem(t, response, content); response.StatusCode != 413 || code != "body-too-large" || effect != "not_applied" || asked(t.Name(), h) != 0 {
			t.Errorf("%s: %s", response.Status, content)
		}
	})
	t.Run("counts apart from voters", func(t *testing.T) {
		client := e.voter(t)
		for n := range 71 {
			response, content, err := e.ask(t, client, "POST", "/hooks/first")
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode == 429 {
				if code, _ := problem(t, response, content); n <= 50 || code != "rate-limited" {
					t.Errorf("call %d: %s", n+1, content)
				}
				e.must(t, client, 200, "GET", "/v1/polls") // who calls may still ask
				return
			}
		}
		t.Error("71 calls from one address, and none was refused")
	})
}

// gateway: Nomad runs the real one as its job says, and a provider's call through the edge is believed if it is signed
// for the public address, whatever else it says of itself.
func gateway(t *testing.T, e *edge, h *backend) {
	const public, account = "https://vote.example.org/hooks/second", "AC0123456789abcdef0123456789abcdef"
	key, token := make([]byte, 32), rand.Text()
	rand.Read(key)
	file := func(name, content string) string {
		path := filepath.Join(e.programs, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	vault := e.vault.For(t)
	vault.Must("POST", "/v1/secret/data/popvote/verification", data{"data": data{"key": key}}, nil)
	vault.Must("POST", "/v1/secret/data/popvote/sms-providers", data{"data": data{"routes.yaml": fmt.Sprintf(`
currency: HKD
gateways: 1
spend: {hour: 10, day: 100}
block-hour: 5
routes:
  - name: first
    kind: webhook
    config: {url: "https://gateway.example/send?to={to-digits}&text={text}", method: GET, signing-secret-files: [%s]}
  - name: second
    kind: twilio
    config: {account: %s, auth-token-file: %s, from: "+85264500000", public-url: %q}
countries:
  - prefix: "+852"
    routes: [{route: first, weight: 1, price: 0.1}, {route: second, price: 0.1}]
`, file("signing", "whsec_"+base64.StdEncoding.EncodeToString(key)), account, file("token", token), public)}}, nil)
	e.run("sms-gateway")
	defer e.nomad.For(t).Must("DELETE", "/v1/job/sms-gateway?namespace=popvote&no_shutdown_delay=true&purge=true", nil, nil)
	admin, id := "", ""
	e.nomad.For(t).Await("a gateway in Consul", func() error {
		var found []struct {
			Service struct {
				ID   string
				Meta map[string]string
			}
		}
		if err := e.consul.Ask("GET", "/v1/health/service/"+hooksService+"?passing", nil, &found); err != nil {
			return err
		}
		for _, one := range found {
			if one.Service.ID != h.name {
				admin, id = "127.0.0.1:"+one.Service.Meta["admin"], one.Service.ID
				return nil
			}
		}
		return fmt.Errorf("there is none: %q", e.said("sms-gateway"))
	})
	e.deregister(h.name)
	e.awaitAt(t, "hooks", map[string]string{id: "UP"})

	client := e.voter(t)
	call := func(path, kind, body string, header ...string) (*http.Response, []byte) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+e.https+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		request.Host = request.Header.Get("Host")
		request.Header.Del("Host")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		return response, content
	}
	want := func(what string, status int, response *http.Response, content []byte) {
		t.Helper()
		if response.StatusCode != status || response.Header.Get("X-Backend") != "" {
			t.Errorf("%s: %s %s, want %d of the gateway", what, response.Status, content, status)
		}
	}

	// What voters text, by a gateway that signs as Standard Webhooks does.
	texted := func(n int, from string) (string, []string) {
		now := time.Now()
		body := fmt.Sprintf(`{"type":"sms.received","timestamp":%q,"data":{"id":"m%d","from":%q,"to":"+85264500000","text":"VOTE AB0D1234"}}`,
			now.UTC().Format(time.RFC3339), n, from)
		id, stamp := fmt.Sprintf("call-%d", n), strconv.FormatInt(now.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, id+"."+stamp+"."+body)
		return body, []string{"Webhook-Id", id, "Webhook-Timestamp", stamp, "Webhook-Signature", "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	}
	body, signed := texted(1, "+85291234567")
	response, content := call("/hooks/first", "application/json", body, signed...)
	want("a signed call", 204, response, content)
	response, content = call("/hooks/first", "application/json", strings.Replace(body, "9123", "9124", 1), signed...)
	want("another sender under that signature", 403, response, content)
	response, content = call("/hooks/first", "application/json", body)
	want("no signature", 403, response, content)

	// What is signed over an address is signed over the public one: nobody talks the gateway into another.
	form := url.Values{"AccountSid": {account}, "MessageSid": {"SM0123456789abcdef0123456789abcdef"}, "From": {"+85291234568"}, "To": {"+85264500000"}, "Body": {"VOTE AB0D1235"}}
	sign := func(called string) string {
		mac := hmac.New(sha1.New, []byte(token))
		io.WriteString(mac, called)
		for _, name := range []string{"AccountSid", "Body", "From", "MessageSid", "To"} {
			io.WriteString(mac, name+form.Get(name))
		}
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	evil := []string{
		"Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "X-Forwarded-Port", "80", "Forwarded", "host=evil.example;proto=http",
		"X-Original-Url", "/hooks/first", "X-Twilio-Signature",
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for _, other := range []string{"http://evil.example/hooks/second", "https://evil.example/hooks/second", "https://" + e.https + "/hooks/second", "http://vote.example.org/hooks/second"} {
		response, content = call("/hooks/second", urlencoded, form.Encode(), append(evil, sign(other))...)
		want("signed for "+other, 403, response, content)
	}
	response, content = call("/hooks/second", urlencoded, form.Encode(), append(evil, sign(public))...)
	want("signed for the public address, whatever the header says", 204, response, content)

	response, content = e.must(t, client, 405, "GET", "/hooks/first")
	want("a page's question", 405, response, content)
	response, content = e.must(t, client, 404, "POST", "/hooks/third")
	want("a route that isn't there", 404, response, content)
	for _, path := range notHooks {
		if response, content, err := e.ask(t, e.voter(t), "GET", path); err != nil || response.Header.Get("X-Backend") == "" {
			t.Errorf("%s: no API server answers: %v %s", path, err, content)
		}
	}

	metrics, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	if said, err := io.ReadAll(metrics.Body); err != nil || !bytes.Contains(said, []byte(`popvote_sms_inbound_total{outcome="heard"} 2`)) {
		t.Error(errors.Join(err, errors.New("the gateway didn't hear exactly the two that were signed")))
	}
}
