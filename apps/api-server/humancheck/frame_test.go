package humancheck

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newTestFrame(t *testing.T, provider string) *Frame {
	t.Helper()
	f, err := NewFrame(newChecker(t, provider, roundTrip(nil), io.Discard), []string{"https://vote.example", "https://mirror.example"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "https://check.example"+path, nil))
	return w
}

func TestTheFrameLoadsOneServiceAndNothingElse(t *testing.T) {
	for provider, c := range map[string]struct{ sources, script string }{
		"turnstile": {"https://challenges.cloudflare.com", `data-script="https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit"`},
		"hcaptcha":  {"https://hcaptcha.com https://*.hcaptcha.com", `data-script="https://js.hcaptcha.com/1/api.js?render=explicit&amp;hl=zh-TW"`},
	} {
		got := ask(newTestFrame(t, provider), "GET", "/human/zh-Hant-HK")
		want := "default-src 'none'; script-src 'self' " + c.sources + "; frame-src " + c.sources + "; connect-src " + c.sources + "; style-src 'self' " + c.sources +
			"; img-src 'self' data: " + c.sources + "; form-action 'none'; base-uri 'none'; frame-ancestors https://vote.example https://mirror.example; report-uri /reports; report-to csp"
		if policy := got.Header().Get("Content-Security-Policy"); policy != want {
			t.Errorf("%s: its policy is %s", provider, policy)
		}
		for _, part := range []string{`<html lang="zh-Hant-HK">`, c.script, `data-sitekey="0x4AAA-site_key"`, `data-parents="https://vote.example https://mirror.example"`} {
			if !strings.Contains(got.Body.String(), part) {
				t.Errorf("%s: there is no %s in %s", provider, part, got.Body)
			}
		}
		if strings.Contains(got.Body.String(), secret) {
			t.Error("the secret is in the page")
		}
	}
}

func TestNothingElseIsAtTheFramesOrigin(t *testing.T) {
	f := newTestFrame(t, "turnstile")
	for path, status := range map[string]int{
		"/human/en": 200, "/human/zh-Hans": 200, "/human/frame.js": 200, "/human/frame.css": 200,
		"/": 404, "/human/": 404, "/human/fr": 404, "/human/frame.html": 404, "/human/../frame/frame.js": 404, "/en/": 404, "/v1/polls": 404, "/plain/en/": 404,
	} {
		got := ask(f, "GET", path)
		if got.Code != status {
			t.Errorf("%s: %d, want %d", path, got.Code, status)
		}
		h := got.Header()
		if h.Get("Referrer-Policy") != "strict-origin" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, h)
		}
	}
	if got := ask(f, "POST", "/human/en"); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", got.Code, got.Header())
	}
}

// A strange script at the voter page's own host would have everything that the page has.
func TestTheFrameHasAHostOfItsOwn(t *testing.T) {
	c := newChecker(t, "turnstile", roundTrip(nil), io.Discard)
	for _, parent := range []string{"https://check.example", "http://check.example", "https://CHECK.example:8443"} {
		if _, err := NewFrame(c, []string{"https://vote.example", parent}); err == nil || !strings.Contains(err.Error(), "could read what voters type") {
			t.Errorf("framed by %s: %v", parent, err)
		}
	}
	f := newTestFrame(t, "turnstile")
	for host, want := range map[string]bool{"check.example": true, "Check.Example": true, "vote.example": false, "check.example.evil.example": false} {
		r := httptest.NewRequest("GET", "/human/en", nil)
		r.Host = host
		if f.Is(r) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}
