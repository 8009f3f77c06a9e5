package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// panel is a panel under test with a browser that keeps cookies by hand.
type panel struct {
	t      *testing.T
	server *server.Server
	deps   server.Deps
	meters *prometheus.Registry
	http   *httptest.Server
	box    *box
	clock  *clock
	log    *safeBuffer
	cookie *http.Cookie
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newPanel(t *testing.T, change ...func(*server.Config)) *panel {
	t.Helper()
	return newPanelWith(t, func(c *server.Config, _ *server.Deps) {
		for _, f := range change {
			f(c)
		}
	})
}

func newPanelWith(t *testing.T, change func(*server.Config, *server.Deps)) *panel {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)}
	p := &panel{t: t, clock: c, box: newBox(c.Now), log: &safeBuffer{}}
	config := server.Config{PublicOrigin: "http://127.0.0.1:8081", StatsEvery: 5 * time.Millisecond, PartsEvery: 5 * time.Millisecond}
	deps := server.Deps{
		Admin: p.box, Clock: c.Now, Log: slog.New(slog.NewTextHandler(p.log, nil)),
		Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/missing.js" {
				http.NotFound(w, r)
				return
			}
			_, _ = io.WriteString(w, "the page at "+r.URL.Path)
		}),
	}
	change(&config, &deps)
	var err error
	if deps.Metrics == nil {
		p.meters = prometheus.NewRegistry()
		deps.Metrics = p.meters
	}
	p.deps = deps
	p.server, err = server.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	p.http = httptest.NewServer(p.server.Handler())
	t.Cleanup(func() { p.server.Close(); p.http.Close() })
	return p
}

// token is the secret of a fresh link.
func (p *panel) token() string {
	link := p.server.LoginLink()
	_, token, ok := strings.Cut(link, "/#login=")
	if !ok || len(token) != 43 {
		p.t.Fatalf("a log-in link should carry 256 bits in its fragment, got %s", link)
	}
	return token
}

func (p *panel) logIn() *panel {
	p.t.Helper()
	answer := p.post("/api/login", map[string]string{"token": p.token()})
	if answer.StatusCode != http.StatusOK {
		p.t.Fatalf("log in: %d", answer.StatusCode)
	}
	p.cookie = answer.Cookies()[0]
	return p
}

func (p *panel) do(method, path, body string, header map[string]string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.http.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if p.cookie != nil {
		r.AddCookie(p.cookie)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func (p *panel) post(path string, body any) *http.Response {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(http.MethodPost, path, string(text), nil)
}

func (p *panel) get(path string) *http.Response {
	p.t.Helper()
	return p.do(http.MethodGet, path, "", nil)
}

// want checks an answer's status and, for problems, its code, and returns the body.
func (p *panel) want(answer *http.Response, status int, code string) map[string]any {
	p.t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var body map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &body); err != nil {
			p.t.Fatalf("%d, not JSON: %s", answer.StatusCode, text)
		}
	}
	if answer.StatusCode != status || (code != "" && body["code"] != code) {
		p.t.Fatalf("got %d %s, want %d %s", answer.StatusCode, text, status, code)
	}
	if code != "" && answer.Header.Get("Content-Type") != "application/problem+json" {
		p.t.Errorf("a problem has the type %s", answer.Header.Get("Content-Type"))
	}
	return body
}

// election is a poll in the box whose trustees' shares the test holds.
type election struct {
	id     string
	scalar []byte
	shares []trustee.Share
}

func (p *panel) elect(id string, state poll.State) election {
	p.t.Helper()
	scalar, public, err := trustee.NewKey()
	if err != nil {
		p.t.Fatal(err)
	}
	shares, err := trustee.Split(scalar, 2, 3)
	if err != nil {
		p.t.Fatal(err)
	}
	sample, err := poll.Sample("lunch")
	if err != nil {
		p.t.Fatal(err)
	}
	d := sample.Seeded(public, p.clock.Now().Add(-time.Hour), p.clock.Now().Add(time.Hour))
	d.ID = id
	p.box.polls[id] = &kept{def: *d, state: state, sequence: 1}
	return election{id, scalar, shares}
}

func (e election) text(t *testing.T, i int) string {
	t.Helper()
	text, err := json.Marshal(e.shares[i])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decision(id string) map[string]any {
	return map[string]any{"confirm": id, "reason": "because the test says so"}
}

func with(m map[string]any, key string, value any) map[string]any {
	m[key] = value
	return m
}

// metric is the value of a counter with one label, as name{label="value"}.
func (p *panel) metric(name string) float64 {
	p.t.Helper()
	families, err := p.meters.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName()+"{"+l.GetName()+"=\""+l.GetValue()+"\"}" == name {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}
