package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/sms"
)

// secret is that of Standard Webhooks' own tests.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func keyOf(t testing.TB, text string) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestPublishedVectors of Standard Webhooks (libraries/go/webhook_test.go), and the cases there.
func TestPublishedVectors(t *testing.T) {
	const id, stamp, body, signature = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	const other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
	at := time.Unix(1614265330, 0)
	another := keyOf(t, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	for name, one := range map[string]struct {
		id, stamp, signature, body string
		now                        time.Time
		want                       error
	}{
		"the vector":                {id, stamp, signature, body, at, nil},
		"among others":              {id, stamp, other + " " + strings.Replace(other, "v1", "v2", 1) + " " + signature + " " + other, body, at, nil},
		"behind too many others":    {id, stamp, strings.Repeat(other+" ", 8) + signature, body, at, wire.ErrForged},
		"no id":                     {"", stamp, signature, body, at, wire.ErrForged},
		"no time stamp":             {id, "", signature, body, at, wire.ErrForged},
		"no signature":              {id, stamp, "", body, at, wire.ErrForged},
		"another signature":         {id, stamp, other, body, at, wire.ErrForged},
		"of another version":        {id, stamp, strings.Replace(signature, "v1", "v2", 1), body, at, wire.ErrForged},
		"another body":              {id, stamp, signature, body + " ", at, wire.ErrForged},
		"another id":                {id + "x", stamp, signature, body, at, wire.ErrForged},
		"cut elsewhere":             {id + ".1614265330", "", signature, body, at, wire.ErrForged},
		"another time stamp":        {id, "1614265331", signature, body, at, wire.ErrForged},
		"five minutes ago":          {id, stamp, signature, body, at.Add(5 * time.Minute), nil},
		"more than five ago":        {id, stamp, signature, body, at.Add(5*time.Minute + time.Second), wire.ErrStale},
		"in more than five minutes": {id, stamp, signature, body, at.Add(-5*time.Minute - time.Second), wire.ErrStale},
	} {
		h := http.Header{}
		h.Set("webhook-id", one.id)
		h.Set("webhook-timestamp", one.stamp)
		h.Set("webhook-signature", one.signature)
		if err := Verify([][]byte{another, keyOf(t, secret)}, h, []byte(one.body), one.now); !errors.Is(err, one.want) || (err == nil) != (one.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, one.want)
		}
		if Verify([][]byte{another}, h, []byte(one.body), one.now) == nil {
			t.Errorf("%s: believed by another key", name)
		}
	}
}

// kannel is how Kannel's sendsms is asked with a POST: everything in headers, the text as the body
// (its user guide, "SMS push (send-sms) CGI variables").
func kannel(t testing.TB) (c Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kannel.yaml")
	if err := os.WriteFile(path, []byte(recipe(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.LoadConfig(&c, service.Sources{File: path}); err != nil {
		t.Fatal(err)
	}
	return c
}

// api is a gateway of the usual kind.
func api(t testing.TB, url string) Config {
	return Config{
		URL: url + "/v1/{id}?to={to}", SecretFile: wiretest.Secret(t, "hunter2"), From: "Pop+Vote",
		Headers: map[string]string{"content-type": "application/json", "Authorization": "Bearer {secret}"},
		Body:    `{"to":"{to-digits}","from":"{from}","text":"{text}","ttl":{ttl-seconds},"ref":"{id}","lang":"{lang}"}`,
		IDPath:  "messages.0.id", Permanent: `"error":"no such number"`, Blocked: `"error":"fraud"`, Throttled: `"error":"slow down"`, Unavailable: `"error":"no credit"`,
		SigningFiles: []string{wiretest.Secret(t, secret)},
	}
}

func opened(t testing.TB, c Config, client *http.Client) (*Provider, *wiretest.Everybody) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	deps, everybody := wiretest.Deps(nil)
	p, err := open(c, deps, client)
	if err != nil {
		t.Fatal(err)
	}
	return p, everybody
}

// TestItSendsAsKannelAsks, with answers recorded from Kannel 1.4.5 or taken from its user guide.
func TestItSendsAsKannelAsks(t *testing.T) {
	var status int
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, want := range map[string]string{
			"X-Kannel-Username": "popvote", "X-Kannel-Password": "hunter2", "X-Kannel-To": "+85291234567", "X-Kannel-From": "PopVote",
			"X-Kannel-Validity": "5", "X-Kannel-Coding": "2", "X-Kannel-DLR-Mask": "31",
			"X-Kannel-DLR-Url": "https://kannel:" + callPassword + "@sms.example/hooks/kannel?id=" + wiretest.Message.ID + "&state=%d&time=%T", "Content-Type": "text/plain; charset=UTF-8",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if string(body) != wiretest.Message.Text || r.Method != http.MethodPost || r.URL.String() != "/cgi-bin/sendsms" {
			t.Errorf("%s %s %q", r.Method, r.URL, body)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	c := kannel(t)
	c.URL, c.AllowNetworks = server.URL+"/cgi-bin/sendsms", []string{"127.0.0.0/8"}
	deps, _ := wiretest.Deps(nil)
	p, err := New(c, deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		status       int
		answer, want string
	}{
		{202, "0: Accepted for delivery", "taken"},
		{202, "3: Queued for later delivery", "taken"},
		{202, "", "unknown"},
		{403, "Authorization failed for sendsms", "unavailable"},
		{403, "Number(s) has/have been denied by white- and/or black-lists.", "blocked"},
		{503, "Temporal failure, try again later.", "unavailable"},
		{500, "Error", "unknown"},
	} {
		status, answer = one.status, one.answer
		ref, err := p.Send(t.Context(), wiretest.Message)
		if got := wiretest.Outcome(err); got != one.want || err == nil && ref != wiretest.Message.ID {
			t.Errorf("%d %q: %s %q, %v", one.status, one.answer, got, ref, err)
		}
		if err != nil {
			wiretest.Private(t, err.Error())
		}
	}
}

func TestItSendsAsAnAPIAsks(t *testing.T) {
	message := wiretest.Message
	message.ID, message.Text = "a/b ?&", "say \"{secret}\"\n\\ <投票> {to} 481516"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got map[string]any
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		want := map[string]any{"to": "85291234567", "from": "Pop+Vote", "text": message.Text, "ttl": 300.0, "ref": message.ID, "lang": "zh-HK"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v", got)
		}
		if r.URL.Path != "/v1/"+message.ID || r.URL.Query().Get("to") != "+85291234567" || len(r.URL.Query()) != 1 || r.Header.Get("Authorization") != "Bearer hunter2" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"messages":[{"id":12345678901234567890}]}`)
	}))
	defer server.Close()
	p, _ := opened(t, api(t, server.URL), server.Client())
	if ref, err := p.Send(t.Context(), message); err != nil || ref != "12345678901234567890" {
		t.Errorf("%q, %v", ref, err)
	}
}

func TestWhatAGatewayAnswers(t *testing.T) {
	for name, one := range map[string]struct {
		status     int
		body, want string
	}{
		"an id":                       {200, `{"messages":[{"id":"x"}]}`, "taken"},
		"no id":                       {200, `{"messages":[{}]}`, "unknown"},
		"no message":                  {200, `{"messages":[]}`, "unknown"},
		"an endless id":               {200, `{"messages":[{"id":"` + strings.Repeat("x", 129) + `"}]}`, "unknown"},
		"an id that is none":          {200, `{"messages":[{"id":{"a":1}}]}`, "unknown"},
		"two answers":                 {200, `{"messages":[{"id":"x"}]}{}`, "unknown"},
		"an error with 200":           {200, `{"error":"no such number"}`, "permanent"},
		"fraud with 200":              {200, `{"messages":[{"id":"x"}],"error":"fraud"}`, "blocked"},
		"too fast with 200":           {200, `{"error":"slow down"}`, "throttled"},
		"no credit with 500":          {500, `{"error":"no credit"}`, "unavailable"},
		"an error of an unknown kind": {200, `{"error":"hunter2 +85291234567"}`, "unknown"},
		"another success":             {204, ``, "unknown"},
		"it timed out":                {408, ``, "unknown"},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(one.status)
			_, _ = io.WriteString(w, one.body)
		}))
		p, _ := opened(t, api(t, server.URL), server.Client())
		_, err := p.Send(t.Context(), wiretest.Message)
		if got := wiretest.Outcome(err); got != one.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if err != nil {
			wiretest.Private(t, err.Error())
		}
		server.Close()
	}
}

func TestAnIDInText(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.RawQuery != "to=%2B85291234567&text=%E3%80%90%E6%8A%95%E7%A5%A8%E3%80%91%E9%A9%97%E8%AD%89%E7%A2%BC%20481516" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, "OK: 77\n")
	}))
	defer server.Close()
	p, _ := opened(t, Config{Method: http.MethodGet, URL: server.URL + "/?to={to}&text={text}", Success: `^OK: (\d+)`}, server.Client())
	if ref, err := p.Send(t.Context(), wiretest.Message); err != nil || ref != "77" {
		t.Errorf("%q, %v", ref, err)
	}
}

func TestAGatewayFails(t *testing.T) {
	wiretest.Failures(t, func(client *http.Client, url string) provider.Provider {
		p, _ := opened(t, api(t, url), client)
		return p
	})
}

// TestAURLOfOursIsNotAsked, T26: not though it is named as a gateway.
func TestAURLOfOursIsNotAsked(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	for _, networks := range [][]string{nil, {"10.0.0.0/8"}} {
		c := api(t, server.URL)
		c.AllowNetworks = networks
		deps, _ := wiretest.Deps(nil)
		p, err := New(c, deps)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Send(t.Context(), wiretest.Message); !errors.Is(err, wire.ErrAddress) || !errors.Is(err, sms.ErrUnavailable) {
			t.Errorf("%v: %v", networks, err)
		}
	}
}

func TestATextThatFitsIntoNoHeaderIsNotSent(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	p, _ := opened(t, Config{URL: server.URL, Headers: map[string]string{"X-To": "{to}", "X-Text": "{text}"}}, server.Client())
	message := wiretest.Message
	message.Text = "a\r\nX-To: +1"
	if _, err := p.Send(t.Context(), message); !errors.Is(err, sms.ErrUnavailable) {
		t.Error(err)
	}
}

// signed is a call as a gateway makes it.
func signed(t testing.TB, id, body string) *http.Request {
	t.Helper()
	stamp := strconv.FormatInt(wiretest.Now.Unix(), 10)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(sign(keyOf(t, secret), id, stamp, []byte(body))))
	return r
}

func serve(p *Provider, r *http.Request) int {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w.Code
}

func TestItTakesWhatVotersTextAndReceipts(t *testing.T) {
	p, everybody := opened(t, api(t, "https://sms.example"), &http.Client{})
	for range 2 { // the second is a replay
		if got := serve(p, signed(t, "1", `{"type":"sms.received","timestamp":"2026-11-22T09:59:58Z","data":{"id":"in-1","from":"85291234567","to":"+85264500000","text":"VOTE AB0D1234"}}`)); got != http.StatusNoContent {
			t.Fatalf("answered %d", got)
		}
	}
	if got := serve(p, signed(t, "2", `{"type":"sms.receipt","timestamp":"2026-11-22T09:59:59Z","data":{"id":"77","state":"undelivered","code":"0x0B"}}`)); got != http.StatusNoContent {
		t.Fatalf("answered %d", got)
	}
	in, receipts := everybody.Take()
	want := sms.Inbound{From: "+85291234567", To: "+85264500000", Text: "VOTE AB0D1234", ReceivedAt: wiretest.Now.Add(-2 * time.Second), ProviderID: "in-1"}
	if len(in) != 1 || in[0] != want {
		t.Errorf("%+v", in)
	}
	receipt := provider.Receipt{Provider: "route", Ref: "77", State: provider.Undelivered, Code: "0x0B", At: wiretest.Now.Add(-time.Second)}
	if len(receipts) != 1 || receipts[0] != receipt {
		t.Errorf("%+v", receipts)
	}
}

func TestItBelievesNothingElse(t *testing.T) {
	p, everybody := opened(t, api(t, "https://sms.example"), &http.Client{})
	const good = `{"type":"sms.received","timestamp":"2026-11-22T09:59:58Z","data":{"id":"in-1","from":"85291234567","text":"VOTE"}}`
	altered := signed(t, "1", good)
	altered.Body = io.NopCloser(strings.NewReader(strings.Replace(good, "VOTE", "VOTF", 1)))
	if got := serve(p, altered); got != http.StatusForbidden {
		t.Errorf("another body: %d", got)
	}
	for name, body := range map[string]string{
		"no JSON":               "x",
		"no type":               `{"timestamp":"2026-11-22T09:59:58Z","data":{"id":"in-1","from":"85291234567","text":"VOTE"}}`,
		"another type":          strings.Replace(good, "sms.received", "mms.received", 1),
		"no id":                 strings.Replace(good, "in-1", "", 1),
		"no time":               strings.Replace(good, `"timestamp":"2026-11-22T09:59:58Z",`, "", 1),
		"both kinds":            strings.Replace(good, `"text"`, `"state":"delivered","text"`, 1),
		"an unknown state":      `{"type":"sms.receipt","timestamp":"2026-11-22T09:59:59Z","data":{"id":"77","state":"gone"}}`,
		"two senders":           strings.Replace(good, `"from"`, `"from":"1","from"`, 1),
		"something we know not": strings.Replace(good, `"from"`, `"x":"1","from"`, 1),
	} {
		if got := serve(p, signed(t, name, body)); got != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
		t.Error("it believed something")
	}
	wiretest.Private(t, everybody.Log())
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"method":                   func(c *Config) { c.Method = "DELETE" },
		"no URL":                   func(c *Config) { c.URL = "" },
		"plain HTTP to anywhere":   func(c *Config) { c.URL = "http://sms.example/{to}" },
		"a word in the host":       func(c *Config) { c.URL = "https://{to}.example/" },
		"a word in the port":       func(c *Config) { c.URL = "https://sms.example:{to-digits}/" },
		"a word before the host":   func(c *Config) { c.URL = "{id}https://sms.example/" },
		"a password in the URL":    func(c *Config) { c.URL = "https://a:b@sms.example/" },
		"a network of words":       func(c *Config) { c.AllowNetworks = []string{"private"} },
		"a word that is none":      func(c *Config) { c.Body = `{"text":"{text}","x":"{txt}"}` },
		"no number":                func(c *Config) { c.URL, c.Body = "https://sms.example", `{"text":"{text}","from":"{from}"}` },
		"no text":                  func(c *Config) { c.Body = `{"from":"{from}"}` },
		"no secret":                func(c *Config) { c.SecretFile = "" },
		"a secret that isn't used": func(c *Config) { c.Headers["Authorization"] = "none" },
		"no sender":                func(c *Config) { c.From = "" },
		"a sender that isn't used": func(c *Config) { c.Body = `{"text":"{text}"}` },
		"no type of the body":      func(c *Config) { delete(c.Headers, "content-type") },
		"a type we can't write":    func(c *Config) { c.Headers["content-type"] = "application/xml" },
		"a header of two lines":    func(c *Config) { c.Headers["X-A"] = "a\r\nb" },
		"a header that is none":    func(c *Config) { c.Headers["X A"] = "a" },
		"a header of HTTP's":       func(c *Config) { c.Headers["transfer-encoding"] = "chunked" },
		"a GET with a body":        func(c *Config) { c.Method = http.MethodGet },
		"success by an error":      func(c *Config) { c.Statuses = []int{500} },
		"a broken pattern":         func(c *Config) { c.Throttled = "(" },
		"a broken path":            func(c *Config) { c.IDPath = "a..b" },
		"a secret that is away":    func(c *Config) { c.SecretFile += "x" },
		"a weak signing secret":    func(c *Config) { c.SigningFiles = []string{wiretest.Secret(t, "whsec_aHVudGVyMg==")} },
		"a signing secret of words": func(c *Config) {
			c.SigningFiles = []string{wiretest.Secret(t, "hunter2 hunter2 hunter2 hunter2 hunter2")}
		},
	} {
		c := api(t, "https://sms.example")
		change(&c)
		err := c.Validate()
		if err == nil {
			t.Errorf("%s: it was taken", name)
			continue
		}
		wiretest.Private(t, err.Error())
		if _, err := New(c, provider.Deps{}); err == nil {
			t.Errorf("%s: it began", name)
		}
	}
	for _, c := range []Config{api(t, "https://sms.example"), kannel(t)} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzCalls(f *testing.F) {
	p, everybody := opened(f, api(f, "https://sms.example"), &http.Client{})
	f.Add("1", "1793786400", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", `{"type":"sms.received","timestamp":"2026-11-22T09:59:58Z","data":{"id":"in-1","from":"85291234567","text":"VOTE"}}`)
	f.Add("a.b", "-1", "v1, v1a v1,====", `{"type":"sms.receipt","timestamp":"2026-11-22T09:59:59Z","data":{"id":"77","state":"delivered"}}`)
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header[headerID], r.Header[headerTimestamp], r.Header[headerSignature] = []string{id}, []string{stamp}, []string{signature}
		if got := serve(p, r); got/100 != 4 {
			t.Fatalf("answered %d", got)
		}
		if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
			t.Fatal("it was believed")
		}
		// What comes behind the signature must hold against anything, too.
		if call, err := told(id, []byte(body)); err == nil && len(call.Messages)+len(call.Receipts) != 1 {
			t.Fatalf("%+v", call)
		}
	})
}

// FuzzWords: a message can't get out of the place that it is written into.
func FuzzWords(f *testing.F) {
	f.Add(`a","to":"b`, "+852")
	f.Add("{secret}{to}", "\x00\xff")
	f.Fuzz(func(t *testing.T, text, to string) {
		words := map[string]string{"text": text, "to": to, "secret": "hunter2"}
		var got map[string]string
		if err := json.Unmarshal([]byte(fill(`{"text":"{text}","to":"{to}"}`, words, asJSON)), &got); err != nil || len(got) != 2 ||
			got["text"] != strings.ToValidUTF8(text, "\ufffd") && !strings.Contains(got["text"], "\ufffd") {
			t.Fatalf("%q: %v, %v", text, got, err)
		}
	})
}
