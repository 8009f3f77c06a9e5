package edge

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/hostile"
	"github.com/popvote/popvote/tools/jobs/agents"
)

// corpora puts a real API server in the place of those that are there, and sends it through the edge what scanners and
// forgers send.
func corpora(t *testing.T, e *edge, instead ...string) {
	free := agents.Ports(t, 4)
	at := func(n int) string { return "127.0.0.1:" + free[n] }
	// One in four hours: in this test none comes back by waiting.
	settings := agents.Write(t, "up.yaml", "limits: {override: {challenge-network: {count: 1000, window: 4000h}}}\n")
	server := agents.Start(t, at(1), filepath.Join(e.programs, "popvote"), "up", "--config="+settings, "--data="+filepath.Join(t.TempDir(), "data"),
		"--seed-demo", "--listen="+at(0), "--admin-listen="+at(1), "--panel-listen="+at(2), "--phone-listen="+at(3),
		"--public-origin=https://vote.example.org", "--trusted-proxies=127.0.0.1")
	server.Await("ready", func() error { return server.Ask("GET", "/readyz", nil, nil) })
	port, _ := strconv.Atoi(free[0])
	admin, _ := strconv.Atoi(free[1])
	e.catalogue("api-server", "real", port, admin, "cloud-a")
	e.deregister(instead...)
	e.await(t, map[string]string{"real": "UP"})

	t.Run("in the clear, around the edge", func(t *testing.T) {
		response, err := http.Get("http://" + at(0) + "/v1/polls")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if content, _ := io.ReadAll(response.Body); response.StatusCode != 403 || !strings.Contains(string(content), `"tls-required"`) {
			t.Errorf("%s: %s", response.Status, content)
		}
	})
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run("scanners over "+protocol, func(t *testing.T) { scanners(t, e, protocol) })
		t.Run("forgers over "+protocol, func(t *testing.T) { forgers(t, e, protocol) })
	}
}

// crowd gives clients: each address asks no more than the edge lets one, and the server takes all for one network.
type crowd struct {
	e        *edge
	protocol string
	asked    int
	client   *http.Client
	address  string
}

// crowds counts addresses.
var crowds int

func (c *crowd) next(t *testing.T) *http.Client {
	if c.asked%40 == 0 {
		crowds++
		c.address = fmt.Sprintf("127.0.4.%d", crowds)
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: c.e.roots, ServerName: "vote.example.org", NextProtos: []string{c.protocol}},
			ForceAttemptHTTP2: c.protocol == "h2", DialContext: c.e.from(c.address),
		}
		t.Cleanup(transport.CloseIdleConnections)
		c.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	c.asked++
	return c.client
}

// scanners: whatever they send is refused with 4xx, by HAProxy or by the server.
func scanners(t *testing.T, e *edge, protocol string) {
	c := &crowd{e: e, protocol: protocol}
	sent := 0
	for _, one := range hostile.Requests() {
		request, err := http.NewRequestWithContext(t.Context(), one.Method, "https://vote.example.org"+one.Target, strings.NewReader(one.Body))
		if err != nil {
			t.Logf("%.60q: no client sends it: %v", one.Name, err)
			continue
		}
		request.URL.Host, request.Host = e.https, "vote.example.org"
		request.Header = one.Header
		response, err := c.next(t).Do(request)
		if err != nil {
			t.Errorf("%.60q: %v", one.Name, err)
			continue
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		sent++
		if err != nil || response.StatusCode < 400 || response.StatusCode > 499 || response.StatusCode == 429 {
			t.Errorf("%.60q: %s %s %v", one.Name, response.Status, content, err)
		}
	}
	if all := len(hostile.Requests()); sent < all*9/10 {
		t.Errorf("%d of %d requests were sent", sent, all)
	}
	t.Logf("%d requests in %d addresses", sent, (c.asked+39)/40)
}

var left = regexp.MustCompile(`^"challenge-network";r=(\d+);`)

// forgers: a request that claims another address, path or method is counted for the network it came from, and answered
// for what it asked; or it is refused.
func forgers(t *testing.T, e *edge, protocol string) {
	c := &crowd{e: e, protocol: protocol}
	// What one request takes from the network's allowance says whose network it was.
	allowance := func(answer *http.Response) int {
		found := left.FindStringSubmatch(answer.Header.Get("RateLimit"))
		if found == nil {
			t.Fatalf("%s has no allowance: %v", answer.Status, answer.Header)
		}
		n, _ := strconv.Atoi(found[1])
		return n
	}
	honest := func() *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+e.https+"/v1/challenge", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "vote.example.org"
		answer, err := c.next(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return answer
	}
	before := allowance(honest())
	taken, refused := 0, 0
	for _, one := range hostile.Forgeries("vote.example.org") {
		client := c.next(t)
		var answer *http.Response
		if protocol == "h2" {
			answer = overH2(t, e, client, one)
		} else {
			answer = overH1(t, e, c.address, one)
		}
		if answer == nil { // no such request is possible, or it got no answer
			if one.Sound && protocol != "h2" {
				t.Errorf("%s: there is no answer", one.Name)
			}
			continue
		}
		content, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode >= 400 && answer.StatusCode <= 499 && !one.Sound {
			refused++
			continue
		}
		var challenge struct{ Parameters struct{ Cost int } }
		if err := json.Unmarshal(content, &challenge); err != nil || answer.StatusCode != 200 || challenge.Parameters.Cost == 0 {
			t.Errorf("%s: %s %s", one.Name, answer.Status, content)
			continue
		}
		taken++
		now := allowance(answer)
		if now != before-1 {
			t.Errorf("%s: %d are left of %d: it was counted for somebody else", one.Name, now, before)
			now = allowance(honest())
		}
		before = now
	}
	if taken < 60 {
		t.Errorf("only %d forgeries were taken", taken)
	}
	t.Logf("%d taken and %d refused, of %d", taken, refused, len(hostile.Forgeries("vote.example.org")))
}

// overH1 sends a forgery as it is, from an address, and returns its answer; nil if there is none.
func overH1(t *testing.T, e *edge, address string, one hostile.Forgery) *http.Response {
	t.Helper()
	raw, err := e.from(address)(t.Context(), "tcp", e.https)
	if err != nil {
		t.Fatal(err)
	}
	connection := tls.Client(raw, &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org", NextProtos: []string{"http/1.1"}})
	t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(agents.Patience))
	if _, err := io.WriteString(connection, one.Text("GET", "/v1/challenge")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return nil
	}
	return answer
}

// overH2 sends those that HTTP/2 has a form for.
func overH2(t *testing.T, e *edge, client *http.Client, one hostile.Forgery) *http.Response {
	t.Helper()
	if one.Before != "" || one.Target != "" {
		return nil
	}
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+e.https+"/v1/challenge", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range one.Lines {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "host":
			request.Host = value
		case "connection", "proxy-connection", "keep-alive", "upgrade", "te", "trailer", "http2-settings":
			return nil // not of this protocol
		default:
			request.Header[name] = append(request.Header[name], value)
		}
	}
	answer, err := client.Do(request)
	if err != nil {
		if one.Sound {
			t.Errorf("%s: %v", one.Name, err)
		}
		return nil // Go's client sends no such thing, or HAProxy refused the stream
	}
	return answer
}
