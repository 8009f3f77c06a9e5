package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/popvote/popvote/libs/problem"
)

// TestTheAPIIsRefusedInTheClear: only a listed proxy's word says that a request came over TLS. What came otherwise
// is told so where it could hold a token, and sent on where it asks for a page.
func TestTheAPIIsRefusedInTheClear(t *testing.T) {
	const proxy, stranger = "192.0.2.7:1234", "198.51.100.7:1234"
	w := newWorld(t, func(w *world) { w.config.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.7"} })
	deps := w.server.deps
	deps.Metrics = nil
	deps.Page = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the page") })
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func(method, path, from string, said ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr = from
		if len(said) > 0 {
			r.Header["X-Forwarded-Proto"] = said
		}
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		return rec
	}
	for name, c := range map[string]struct {
		from  string
		said  []string
		clear bool
	}{
		"the proxy says TLS":               {proxy, []string{"https"}, false},
		"another one, as IPv6 writes IPv4": {"[::ffff:10.1.2.3]:1", []string{"HTTPS"}, false},
		"the proxy says it was plain":      {proxy, []string{"http"}, true},
		"the proxy says nothing":           {proxy, nil, true},
		"the proxy says both":              {proxy, []string{"https", "http"}, true},
		"a list":                           {proxy, []string{"https, http"}, true},
		"around the proxy":                 {stranger, nil, true},
		"a stranger says TLS":              {stranger, []string{"https"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, one := range []struct {
				method, path string
				status       int // if it came over TLS
				api          bool
			}{
				{"GET", "/v1/polls", 200, true},
				{"POST", "/v1/ballots", 401, true},
				{"OPTIONS", "/v1/ballots", 405, true},
				{"POST", "/plain/en/sends/who", 0, true},
				{"GET", "/en/?poll=x", 200, false},
				{"HEAD", "/", 200, false},
				{"GET", "//evil.example/v1/", 200, false},
				{"GET", "/problems/internal", 200, false},
			} {
				got := ask(one.method, one.path, c.from, c.said...)
				switch {
				case !c.clear && one.status == 0: // whatever that page makes of an empty form
					if got.Code == http.StatusForbidden {
						t.Errorf("%s %s: refused", one.method, one.path)
					}
				case !c.clear:
					if got.Code != one.status {
						t.Errorf("%s %s: %d, want %d", one.method, one.path, got.Code, one.status)
					}
				case one.api:
					if p := (reply{got.Code, got.Header(), got.Body.Bytes()}).problem(t); got.Code != http.StatusForbidden || string(p.Code) != string(problem.TLSRequired) {
						t.Errorf("%s %s: %d %s", one.method, one.path, got.Code, got.Body)
					}
				default:
					if to := got.Header().Get("Location"); got.Code != http.StatusPermanentRedirect || to != "https://vote.example"+one.path {
						t.Errorf("%s %s: %d to %q", one.method, one.path, got.Code, to)
					}
				}
			}
		})
	}
}

// TestWhereNothingIsKnownNothingIsRefused: without an https origin, or a proxy whose word counts.
func TestWhereNothingIsKnownNothingIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no TLS":   func(c *Config) { c.PublicOrigin, c.TrustedProxies = "http://vote.example", []string{"192.0.2.7"} },
		"no proxy": func(c *Config) { c.PublicOrigin, c.TrustedProxies = "https://vote.example", []string{"none"} },
	} {
		w := newWorld(t, func(w *world) { change(&w.config) })
		if got := w.call("GET", "/v1/polls", nil); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}
