package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// somePage answers what is not the API's.
var somePage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "the page's own", http.StatusNotFound) })

var started = time.Date(2026, time.November, 23, 19, 42, 1, 5, time.UTC)

func securityText(t *testing.T, w *world, method string) *http.Response {
	t.Helper()
	deps := w.server.deps
	deps.Metrics, deps.Page = nil, somePage
	deps.Clock = func() time.Time { return started }
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequest(method, "/.well-known/security.txt", nil))
	return answer.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWhoeverFindsAWeaknessIsToldWhomToTell, and nobody is told a contact that nobody gave.
func TestWhoeverFindsAWeaknessIsToldWhomToTell(t *testing.T) {
	w := newWorld(t)
	if r := securityText(t, w, "GET"); r.StatusCode != http.StatusNotFound || strings.Contains(body(t, r), "Contact") {
		t.Errorf("without a contact: %s", r.Status)
	}
	w.config.Security = Security{
		Contact:   []string{"mailto:security@vote.example", "https://vote.example/report?from=file", "tel:+85221234567"},
		Policy:    "https://vote.example/security",
		Languages: []string{"zh-Hant-HK", "en"},
	}
	want := "Contact: mailto:security@vote.example\nContact: https://vote.example/report?from=file\nContact: tel:+85221234567\n" +
		"Expires: 2027-05-22T00:00:00Z\nPolicy: https://vote.example/security\n" +
		"Preferred-Languages: zh-Hant-HK, en\nCanonical: https://vote.example/.well-known/security.txt\n"
	r := securityText(t, w, "GET")
	if got := body(t, r); r.StatusCode != http.StatusOK || got != want {
		t.Errorf("%s\n%s\nwant\n%s", r.Status, got, want)
	}
	if kind := r.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		t.Errorf("it is %s", kind)
	}
	if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("it lacks what every answer carries: %v", r.Header)
	}
	if r := securityText(t, w, "HEAD"); r.StatusCode != http.StatusOK || body(t, r) != "" {
		t.Errorf("HEAD: %s", r.Status)
	}
	if r := securityText(t, w, "POST"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s, %v", r.Status, r.Header)
	}

	// Where browsers come is not known, or not over TLS: then nothing is said of it.
	w.config.PublicOrigin, w.config.Security = "http://127.0.0.1:8080", Security{Contact: []string{"mailto:a@b.example"}}
	if got := body(t, securityText(t, w, "GET")); strings.Count(got, "\n") != 2 || strings.Contains(got, "Canonical") {
		t.Errorf("the least:\n%s", got)
	}
}

func TestASecurityContactThatIsNoneIsRefused(t *testing.T) {
	w := newWorld(t)
	good := []string{"mailto:a@b.example"}
	for _, c := range []Security{
		{Contact: []string{"security@vote.example"}},
		{Contact: []string{"http://vote.example/report"}},
		{Contact: []string{"mailto:"}},
		{Contact: []string{"https://"}},
		{Contact: []string{"mailto:a@b.example\nContact: mailto:evil@c.example"}},
		{Contact: []string{"mailto:a@b.example, mailto:c@d.example"}},
		{Contact: []string{""}},
		{Contact: good, Policy: "http://vote.example/security"},
		{Contact: good, Policy: "security.html"},
		{Contact: good, Languages: []string{"Chinese, English"}},
		{Policy: "https://vote.example/security"},
		{Languages: []string{"en"}},
	} {
		config := w.config
		config.Security = c
		s, err := New(context.Background(), config, w.server.deps)
		if err == nil || !strings.Contains(err.Error(), "security.txt") {
			t.Errorf("%+v: %v", c, err)
		}
		if s != nil {
			s.Close()
		}
	}
}
