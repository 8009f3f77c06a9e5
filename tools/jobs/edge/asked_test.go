package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func forging(t *testing.T, e *edge) {
	for _, protocol := range []string{"h2", "http/1.1"} {
		address := e.address()
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org", NextProtos: []string{protocol}},
			ForceAttemptHTTP2: protocol == "h2", DialContext: e.from(address), DisableKeepAlives: true,
		}}
		response, content := e.must(t, client, 200, "GET", "/v1/challenge",
			"X-Forwarded-For", "203.0.113.1", "X-Forwarded-For", "203.0.113.2, 127.0.0.1", "X-Real-Ip", "203.0.113.3",
			"Forwarded", "for=203.0.113.4", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "X-Forwarded-Port", "80",
			"True-Client-Ip", "203.0.113.5", "Cf-Connecting-Ip", "203.0.113.6", "X-Original-Url", "/v1/polls", "X-Rewrite-Url", "/v1/polls",
			"X-Http-Method-Override", "DELETE", "X_forwarded_for", "203.0.113.7", "X-Unknown", "stays")
		var got http.Header
		if err := json.Unmarshal(content, &got); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"h2": 2, "http/1.1": 1}[protocol]; response.ProtoMajor != want {
			t.Errorf("%s was spoken, want %s", response.Proto, protocol)
		}
		for name, want := range map[string][]string{
			"X-Forwarded-For": {address}, "X-Forwarded-Proto": {"https"}, "X-Real-Ip": nil, "Forwarded": nil, "X-Forwarded-Host": nil,
			"X-Forwarded-Port": nil, "True-Client-Ip": nil, "Cf-Connecting-Ip": nil, "X-Original-Url": nil, "X-Rewrite-Url": nil,
			"X-Http-Method-Override": nil, "X_forwarded_for": nil, "X-Unknown": {"stays"},
		} {
			if !slices.Equal(got[name], want) {
				t.Errorf("over %s, the server gets %s %q, want %q", protocol, name, got[name], want)
			}
		}
	}
}

func proxied(t *testing.T, e *edge) {
	through := func(address string) (*http.Response, []byte, error) {
		dial := e.from(address)
		return e.ask(t, &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"},
			DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
				connection, err := dial(ctx, network, to)
				if err == nil {
					_, err = io.WriteString(connection, "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n")
				}
				return connection, err
			},
		}}, "GET", "/v1/challenge")
	}
	_, content, err := through("127.0.9.1")
	if err != nil || !bytes.Contains(content, []byte(`"X-Forwarded-For":["203.0.113.7"]`)) {
		t.Errorf("through the balancer, the server gets %s, %v", content, err)
	}
	if response, _, err := through(e.address()); err == nil {
		t.Errorf("whoever says to be a balancer is one: %s", response.Status)
	}
}

func secure(t *testing.T, e *edge) {
	handshake := func(change func(*tls.Config)) error {
		config := &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"}
		change(config)
		connection, err := tls.Dial("tcp", e.https, config)
		if err == nil {
			connection.Close()
		}
		return err
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.0": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 },
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"TLS 1.2 with CBC": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			}
		},
		"TLS 1.2 without forward secrecy": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384}
		},
	} {
		// Refused by the other side, not by ours.
		if err := handshake(change); err == nil || !strings.Contains(err.Error(), "remote error") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.3": func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
		"TLS 1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"TLS 1.2 with ChaCha20": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		},
	} {
		if err := handshake(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// guarded: what HAProxy answers by itself is data to a browser, which comes back over TLS alone; what a server
// answers has the headers that the server gave it.
func guarded(t *testing.T, response *http.Response) {
	t.Helper()
	want := map[string]string{
		"Strict-Transport-Security":    "max-age=31536000; includeSubDomains",
		"Content-Security-Policy":      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
	}
	if response.Request.URL.Scheme == "http" {
		want["Strict-Transport-Security"] = "" // whoever is on the way could say it, so browsers don't listen
	}
	for name, value := range want {
		if response.Header.Get("X-Backend") != "" && name != "Strict-Transport-Security" {
			value = ""
		}
		if got := response.Header.Values(name); strings.Join(got, "|") != value {
			t.Errorf("%s has %s %q, want %q", response.Status, name, got, value)
		}
	}
}

// problem reads what HAProxy says of a request that it refused or that failed.
func problem(t *testing.T, response *http.Response, content []byte) (code, effect string) {
	t.Helper()
	guarded(t, response)
	var said struct {
		Type, Title, Code, Effect string
		Status                    int
	}
	if err := json.Unmarshal(content, &said); err != nil || response.Header.Get("Content-Type") != "application/problem+json" ||
		said.Status != response.StatusCode || said.Type == "" || said.Title == "" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s is no problem: %v %s", response.Status, response.Header, content)
	}
	return said.Code, said.Effect
}

// plain: over plain HTTP a page is sent on, and a call is refused in words.
func plain(t *testing.T, e *edge, backends ...*backend) {
	client := e.voter(t)
	for _, one := range []struct {
		method, path string
		refused      bool
	}{
		{"GET", "/en/?poll=x", false},
		{"HEAD", "/", false},
		{"GET", "/problems/tls-required", false},
		{"GET", "/v1/polls?x=1", true},
		{"POST", "/v1/ballots", true},
		{"OPTIONS", "/v1/ballots", true},
		{"POST", "/%761/ballots", true},
		{"POST", "/hooks/first", true},
	} {
		request, err := http.NewRequestWithContext(t.Context(), one.method, "http://"+e.http+one.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Test", t.Name())
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if !one.refused {
			if to := response.Header.Get("Location"); response.StatusCode != 308 || to != "https://"+e.http+one.path {
				t.Errorf("%s %s: %s to %q", one.method, one.path, response.Status, to)
			}
			guarded(t, response)
			continue
		}
		if code, effect := problem(t, response, content); response.StatusCode != 403 || code != "tls-required" || effect != "not_applied" {
			t.Errorf("%s %s: %s %s", one.method, one.path, response.Status, content)
		}
	}
	if got := asked(t.Name(), backends...); got != 0 {
		t.Errorf("the servers got %d requests", got)
	}
}

func retries(t *testing.T, e *edge, backends ...*backend) {
	for name, c := range map[string]struct {
		method, path string
		header       []string
		times        int
		status       int
	}{
		"a cast without a key":        {"POST", "/break", nil, 1, 502},
		"a question":                  {"GET", "/break", nil, 1, 502},
		"a cast with a key":           {"POST", "/break", []string{"Idempotency-Key", "k"}, 3, 502},
		"an answer that is no answer": {"POST", "/busy", []string{"Idempotency-Key", "k"}, 1, 503},
	} {
		t.Run(name, func(t *testing.T) {
			// The first request of a connection: where a later one gets no answer, HAProxy closes the connection without a
			// word, and over HTTP/2 always refuses the stream. It is the client then that repeats.
			client := e.voter(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
			response, content := e.must(t, client, c.status, c.method, c.path, c.header...)
			if got := asked(t.Name(), backends...); got != c.times {
				t.Errorf("the servers were asked %d times, want %d", got, c.times)
			}
			if c.status != 502 {
				guarded(t, response)
				return
			}
			if code, effect := problem(t, response, content); code != "internal" || effect != "unknown" || response.Header.Get("Retry-After") == "" {
				t.Errorf("it says %v: %s", response.Header, content)
			}
		})
	}
}

// open begins a stream at a server and reads its first event.
func (e *edge) open(t *testing.T, client *http.Client, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+e.https+"/v1/verification", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	for _, name := range header {
		request.Header.Set(name, "yes")
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); line != "retry: 1000\n" {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	return response, lines
}

// silence: the longest that any other request may take has passed, and the stream is still there. What is waited for
// is that other one, which begins later.
func silence(t *testing.T, e *edge) {
	for _, client := range []*http.Client{e.voter(t), e.voter(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })} {
		response, lines := e.open(t, client)
		read := make(chan string, 1)
		go func() {
			lines.ReadString('\n')
			line, err := lines.ReadString('\n')
			read <- fmt.Sprint(line, err)
		}()
		t.Run(response.Proto, func(t *testing.T) {
			t.Parallel()
			e.must(t, e.voter(t), 504, "GET", "/silent")
			select {
			case line := <-read:
				t.Errorf("the stream ended with %s", line)
			default:
			}
		})
	}
}

func unanswered(t *testing.T, e *edge) {
	response, content := e.must(t, e.voter(t), 504, "GET", "/silent")
	if code, effect := problem(t, response, content); code != "internal" || effect != "unknown" {
		t.Errorf("it says %s", content)
	}
}

// slow: a hundred clients that send a byte now and then hold nothing of a server, and end. It returns another one,
// while they are there.
func slow(t *testing.T, e *edge, backends ...*backend) *http.Client {
	request := "POST /slow HTTP/1.1\r\nHost: vote.example.org\r\nX-Test: " + t.Name() + "\r\nContent-Length: 1000\r\n"
	var all sync.WaitGroup
	for i := range 100 {
		sent, drip := request, "X: y\r\n" // never an end of the header
		if i%2 == 1 {
			sent, drip = request+"\r\n", "x" // never an end of the body
		}
		all.Go(func() {
			raw, err := e.from(fmt.Sprintf("127.0.2.%d", i+1))(context.Background(), "tcp", e.https)
			if err != nil {
				t.Error(err)
				return
			}
			connection := tls.Client(raw, &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"})
			defer connection.Close()
			io.WriteString(connection, sent)
			ended := make(chan string, 1)
			go func() {
				said, _ := io.ReadAll(connection)
				ended <- string(said)
			}()
			for {
				select {
				case said := <-ended:
					guarded := strings.Contains(said, "strict-transport-security: max-age=31536000") && strings.Contains(said, "nosniff")
					if !strings.HasPrefix(said, "HTTP/1.1 408 ") || i%2 == 1 && !guarded {
						t.Errorf("it was told %q", said)
					}
					return
				case <-time.After(time.Second):
					io.WriteString(connection, drip)
				}
			}
		})
	}
	t.Cleanup(func() {
		all.Wait()
		// The other's is all that came through.
		if got := asked(t.Name(), backends...); got != 1 {
			t.Errorf("the servers got %d requests", got)
		}
	})
	return e.voter(t)
}

func flood(t *testing.T, e *edge) {
	client, other := e.voter(t), e.voter(t)
	for i := range 51 {
		response, content, err := e.ask(t, client, "GET", "/v1/polls")
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == 429 {
			if i < 50 || response.Header.Get("Retry-After") == "" {
				t.Errorf("request %d: %s with %v", i+1, response.Status, response.Header)
			}
			if code, effect := problem(t, response, content); code != "rate-limited" || effect != "not_applied" {
				t.Errorf("it says %s", content)
			}
			e.must(t, other, 200, "GET", "/v1/polls")
			return
		}
	}
	// The rate is measured over sliding time: only if all of them took longer than that may none be refused.
	t.Error("51 requests from one address, and none was refused")
}
