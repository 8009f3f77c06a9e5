package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// state is what HAProxy's metrics say of its servers.
func (e *edge) state(backend string) (map[string]string, error) {
	response, err := http.Get("http://" + e.metrics + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	states := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^haproxy_server_status\{proxy="`+backend+`",server="([^"]*)",state="([^"]*)"\} 1$`).FindAllSubmatch(content, -1) {
		states[string(found[1])] = string(found[2])
	}
	return states, err
}

func (e *edge) await(t *testing.T, want map[string]string) {
	t.Helper()
	e.awaitAt(t, "api-server", want)
}

func (e *edge) awaitAt(t *testing.T, backend string, want map[string]string) {
	t.Helper()
	e.nomad.For(t).Await(fmt.Sprint(want), func() error {
		states, err := e.state(backend)
		if err == nil && fmt.Sprint(states) != fmt.Sprint(want) {
			err = fmt.Errorf("the servers are %v", states)
		}
		return err
	})
}

// overloaded: who says 503, however often, is asked again, and it is never HAProxy that answers for it.
func overloaded(t *testing.T, e *edge) {
	var client *http.Client
	for n := range 200 {
		if n%20 == 0 { // or one address would have too many
			client = e.voter(t)
		}
		if response, _ := e.must(t, client, 503, "POST", "/busy"); response.Header.Get("X-Backend") == "" {
			t.Fatalf("after %d such answers the servers are out", n)
		}
	}
	e.must(t, client, 200, "GET", "/v1/polls")
}

// frozen: the check that finds a server frozen is followed by one more. The longest way to be out is what the
// configuration says: until that check, its second of silence, until the next, and its.
func frozen(t *testing.T, e *edge, b *backend) {
	rendered := e.file("haproxy/local/haproxy.cfg")
	if !strings.Contains(rendered, "default-server check inter 1500ms fastinter 500ms") || !strings.Contains(rendered, "timeout check 1s") {
		t.Error("the configuration has other times: compute anew whether they make less than 6 s")
	}
	b.frozen.Store(true)
	began := time.Now()
	e.await(t, map[string]string{"a": "UP", "b": "DOWN"})
	t.Logf("out after %.1f s", time.Since(began).Seconds())
	if got := b.checks.Load(); got != 2 {
		t.Errorf("it was out after %d checks, want 2", got)
	}
	client := e.voter(t)
	for range 20 {
		if response, _ := e.must(t, client, 200, "GET", "/v1/polls"); response.Header.Get("X-Backend") != "a" {
			t.Fatal("a request went to the frozen server")
		}
	}
	b.frozen.Store(false)
	e.await(t, map[string]string{"a": "UP", "b": "UP"})
}

// reload: a server that comes is served to new connections; a stream that is held goes on, on the old process, and no
// request is lost meanwhile. A canary gets nobody. When Consul says that none is ready, all are asked.
func reload(t *testing.T, e *edge) {
	held, lines := e.open(t, e.voter(t), "X-Texts")
	if holder := held.Header.Get("X-Backend"); holder != "a" && holder != "b" {
		t.Fatalf("the stream is at %q", holder)
	}

	stop, lost := make(chan struct{}), make(chan error, 1)
	go func() {
		var failed error
		for n := 0; ; n++ {
			select {
			case <-stop:
				lost <- failed
				return
			case <-time.After(20 * time.Millisecond):
			}
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"},
				DialContext: e.from(fmt.Sprintf("127.0.3.%d", n%200+1)),
			}}
			if response, content, err := e.ask(t, client, "GET", "/v1/polls"); err != nil || response.StatusCode != 200 {
				failed = errors.Join(failed, fmt.Errorf("request %d: %w %s", n, err, content))
			}
		}
	}()

	c, canary := newBackend(t, "c"), newBackend(t, "d")
	e.register(canary, "cloud-b", "canary")
	e.register(c, "cloud-c")
	e.await(t, map[string]string{"a": "UP", "b": "UP", "c": "UP"})
	client := e.voter(t)
	e.nomad.For(t).Await("a request at the new one", func() error {
		time.Sleep(200 * time.Millisecond) // within the limit for an address
		if response, _ := e.must(t, client, 200, "GET", "/v1/polls"); response.Header.Get("X-Backend") != "c" {
			return errors.New("the others had it")
		}
		return nil
	})

	e.consul.Must("PUT", "/v1/agent/check/fail/c", nil, nil)
	e.await(t, map[string]string{"a": "UP", "b": "UP"})
	for _, one := range []string{"a", "b"} {
		e.consul.Must("PUT", "/v1/agent/check/fail/"+one, nil, nil)
	}
	e.await(t, map[string]string{"a": "UP", "b": "UP", "c": "UP"})

	close(stop)
	if err := <-lost; err != nil {
		t.Errorf("requests were lost while it reloaded: %v", err)
	}
	close(verified)
	lines.ReadString('\n')
	if line, err := lines.ReadString('\n'); line != "event: verified\n" {
		t.Errorf("the stream said %q, %v", line, err)
	}
}
