package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ratelimit"
)

// discard is a connection nobody looks at.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestAServerThatDoesNotKnowItsProxiesDoesNotStart(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		proxies, origins []string
		public, says     string
	}{
		{nil, nil, "", "trusted_proxies"},
		{[]string{"none", "10.0.0.1"}, nil, "", "trusted_proxies"},
		{[]string{"everyone"}, nil, "", "trusted_proxies"},
		{[]string{"none"}, []string{"*"}, "", "allowed_origins"},
		{[]string{"none"}, []string{"https://*.example"}, "", "allowed_origins"},
		{[]string{"none"}, []string{"https://mirror.example/"}, "", "allowed_origins"},
		{[]string{"none"}, []string{"null"}, "", "allowed_origins"},
		{[]string{"none"}, nil, "vote.example", "public_origin"},
	} {
		config := w.config
		config.TrustedProxies, config.AllowedOrigins, config.PublicOrigin = c.proxies, c.origins, c.public
		s, err := New(context.Background(), config, w.server.deps)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want a word about %s", c, err, c.says)
		}
		if s != nil {
			s.Close()
		}
	}
	if _, err := New(context.Background(), w.config, Deps{}); err == nil || !strings.Contains(err.Error(), "Caster") {
		t.Errorf("without parts: %v", err)
	}
}

// TestNobodyChoosesTheirOwnAddress: X-Forwarded-For counts only from a proxy on the list.
func TestNobodyChoosesTheirOwnAddress(t *testing.T) {
	for _, c := range []struct {
		name    string
		proxies []string
		from    string
		want    []int // statuses of two requests that claim two addresses
	}{
		{"no proxies", []string{"none"}, "192.0.2.7:1", []int{200, 429}},
		{"from the proxy", []string{"192.0.2.0/24"}, "192.0.2.7:1", []int{200, 200}},
		{"around the proxy", []string{"192.0.2.0/24"}, "198.51.100.7:1", []int{200, 429}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.config.TrustedProxies, w.config.PublicOrigin = c.proxies, "http://vote.example" // or who goes around the proxy is refused
				w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"challenge-network": {Count: 1, Window: time.Hour}}}
			})
			for i, forged := range []string{"203.0.113.1", "203.0.114.1"} {
				got := w.call("GET", "/v1/challenge", nil, func(r *http.Request) {
					r.RemoteAddr = c.from
					r.Header.Set("X-Forwarded-For", forged)
					r.Header.Set("X-Real-Ip", forged)
					r.Header.Set("Forwarded", "for="+forged)
				})
				if got.status != c.want[i] {
					t.Errorf("request %d: %d, want %d", i+1, got.status, c.want[i])
				}
			}
		})
	}
}

func TestOnlyListedOriginsMayAsk(t *testing.T) {
	w := newWorld(t)
	for _, origin := range []string{mirror, "https://vote.example", "http://example.com"} { // httptest asks example.com
		site := "same-origin"
		if origin == mirror {
			site = "cross-site"
		}
		got := w.call("POST", sessionsPath, w.sessionBody(w.someone()), with("Origin", origin), with("Sec-Fetch-Site", site))
		if got.status != http.StatusCreated {
			t.Errorf("%s: %d %s", origin, got.status, got.body)
		}
		want := ""
		if origin == mirror {
			want = mirror
		}
		if allow := got.header.Get("Access-Control-Allow-Origin"); allow != want || got.header.Get("Vary") != "Origin" || got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allowed %q, want %q", origin, allow, want)
		}
	}
	preflight := w.call("OPTIONS", "/v1/ballots", nil, with("Origin", mirror), with("Access-Control-Request-Method", "POST"), with("Access-Control-Request-Headers", "authorization,idempotency-key"))
	if preflight.status != http.StatusNoContent || preflight.header.Get("Access-Control-Allow-Origin") != mirror ||
		!strings.Contains(preflight.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") || !strings.Contains(preflight.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %d %v", preflight.status, preflight.header)
	}
	// A mirror's page reads problems too, and when to come back.
	refused := w.call("POST", sessionsPath, "{", with("Origin", mirror))
	if refused.header.Get("Access-Control-Allow-Origin") != mirror || !strings.Contains(refused.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("a problem for a mirror: %v", refused.header)
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v1/polls", "/v1/nothing", "/v1/challenge", "/problems/internal", "/elsewhere"} {
		h := w.call("GET", path, nil).header
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") ||
			h.Get("Referrer-Policy") != "no-referrer" || !strings.HasPrefix(h.Get("Strict-Transport-Security"), "max-age=31536000") || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	if opener := w.call("GET", "/problems/internal", nil).header.Get("Cross-Origin-Opener-Policy"); opener != "same-origin" {
		t.Errorf("a page for people: Cross-Origin-Opener-Policy is %q", opener)
	}
	if allow := w.call("DELETE", "/v1/ballots", nil).header.Get("Allow"); allow != "POST" {
		t.Errorf("Allow is %q, want POST", allow)
	}
}

func TestLimitsAreSaid(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"session-voter": {Count: 2, Window: time.Minute}}}
	})
	p := w.someone()
	first := w.call("POST", sessionsPath, w.sessionBody(p))
	if first.header.Get("RateLimit-Policy") != `"session-voter";q=2;w=60` || first.header.Get("RateLimit") != `"session-voter";r=1;t=30` {
		t.Errorf("%q, %q", first.header.Get("RateLimit-Policy"), first.header.Get("RateLimit"))
	}
	w.call("POST", sessionsPath, w.sessionBody(p))
	third := w.call("POST", sessionsPath, w.sessionBody(p))
	if third.status != http.StatusTooManyRequests || third.header.Get("Retry-After") != "30" {
		t.Errorf("%d, Retry-After %q", third.status, third.header.Get("Retry-After"))
	}
	// A stranger's tries do not lock the voter out.
	if got := w.call("POST", sessionsPath, w.sessionBody(p), func(r *http.Request) { r.RemoteAddr = "198.51.100.1:1" }); got.status != http.StatusCreated {
		t.Errorf("from another network: %d", got.status)
	}
}

func TestThePageIsBesideTheAPI(t *testing.T) {
	w := newWorld(t)
	deps := w.server.deps
	deps.Metrics = nil
	deps.Page = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the page") })
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, page := range map[string]bool{"/": true, "/en/": true, "/v1x": true, "/v1/polls": false, "/v1/": false, "/problems/internal": false} {
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if got := rec.Body.String() == "the page"; got != page {
			t.Errorf("%s is the page: %v, want %v", path, got, page)
		}
	}
}

func TestReadyOnceThePollsAreRead(t *testing.T) {
	w := newWorld(t, func(w *world) { w.box.failRead = io.ErrUnexpectedEOF })
	if w.server.Ready(t.Context()) == nil {
		t.Error("ready without polls")
	}
	w.box.breakReads(nil)
	w.clock.advance(refreshLate)
	w.call("GET", "/v1/polls/sends", nil)
	if err := w.server.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
