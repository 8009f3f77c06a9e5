package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/poll"
)

// changes are all requests that change something.
var changes = []string{
	"/api/login", "/api/sign-in", "/api/sign-in/begin", "/api/logout", "/api/links",
	"/api/passkeys", "/api/passkeys/begin", "/api/passkeys/remove", "/api/acts", "/api/notices/seen", "/api/drafts/check", "/api/drafts",
	"/api/polls/p/open", "/api/polls/p/pause", "/api/polls/p/resume", "/api/polls/p/close",
	"/api/polls/p/publish", "/api/polls/p/extend", "/api/polls/p/count", "/api/polls/p/destroy-key",
}

// doors are the first of them, which anybody may try.
const doors = 3

var reads = []string{
	"/api/session", "/api/passkeys", "/api/notices", "/api/overview", "/api/live", "/api/polls/p", "/api/polls/p/stats", "/api/polls/p/audit", "/api/polls/p/audit.csv",
	"/api/polls/p/turnout.csv", "/api/polls/p/result", "/api/polls/p/result.json", "/api/polls/p/result.csv", "/api/polls/p/result.nist.json",
	"/api/polls/p/certificate.json", "/api/polls/p/bundle.zip",
}

func TestNobodyGetsInWithoutASession(t *testing.T) {
	p := newPanel(t)
	p.elect("p", poll.Open)
	for _, path := range reads {
		p.want(p.get(path), http.StatusUnauthorized, "log-in-needed")
	}
	for _, path := range changes[doors:] {
		p.want(p.post(path, struct{}{}), http.StatusUnauthorized, "log-in-needed")
	}
	p.cookie = &http.Cookie{Name: "popvote_panel", Value: strings.Repeat("A", 43)}
	p.want(p.get("/api/overview"), http.StatusUnauthorized, "log-in-needed")
}

func TestAnotherSiteCanChangeNothing(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Draft)
	foreign := []map[string]string{
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "same-site"}, // the voter's page, on a sibling host
		{"Origin": "https://evil.example"},
		{"Origin": "http://127.0.0.1:8080"}, // the voter's page, on this very machine
		{"Origin": "null"},
	}
	for _, path := range changes {
		for _, header := range foreign {
			answer := p.do(http.MethodPost, path, `{"confirm":"p","reason":"mischief"}`, header)
			p.want(answer, http.StatusForbidden, "cross-origin")
		}
		// What a form can send is not JSON.
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
			answer := p.do(http.MethodPost, path, `{"confirm":"p","reason":"mischief"}`, map[string]string{"Content-Type": kind})
			p.want(answer, http.StatusUnsupportedMediaType, "wrong-content-type")
		}
		if answer := p.get(path); path != "/api/sign-in" && path != "/api/passkeys" && answer.StatusCode != http.StatusMethodNotAllowed && answer.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, answer.StatusCode)
		}
	}
	if state := p.box.polls["p"].state; state != poll.Draft {
		t.Errorf("the poll is %s", state)
	}
	own := p.do(http.MethodPost, "/api/polls/p/open", `{"confirm":"p","reason":"the time has come"}`, map[string]string{"Sec-Fetch-Site": "same-origin"})
	p.want(own, http.StatusOK, "")
}

func TestBodiesAreTakenStrictly(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Draft)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		``:                                     {http.StatusUnsupportedMediaType, "wrong-content-type"},
		`{`:                                    {http.StatusBadRequest, "malformed-json"},
		`nul`:                                  {http.StatusBadRequest, "malformed-json"},
		`{"confirm":"p","reason":"why not"}{}`: {http.StatusBadRequest, "malformed-json"},
		`{"confirm":"p","reason":"why not"} x`: {http.StatusBadRequest, "malformed-json"},
		`{"confirm":"p","confirm":"p","reason":"why not"}`:              {http.StatusBadRequest, "duplicate-field"},
		`{"confirm":"p","Confirm":"p","reason":"why not"}`:              {http.StatusBadRequest, "unknown-field"},
		`{"confirm":"p","reason":"why not","force":true}`:               {http.StatusBadRequest, "unknown-field"},
		`{"confirm":7,"reason":"why not"}`:                              {http.StatusBadRequest, "invalid-field"},
		`["p"]`:                                                         {http.StatusBadRequest, "invalid-field"},
		`{"confirm":"q","reason":"why not"}`:                            {http.StatusUnprocessableEntity, "confirmation-wrong"},
		`{"reason":"why not"}`:                                          {http.StatusUnprocessableEntity, "confirmation-wrong"},
		`{"confirm":"p"}`:                                               {http.StatusUnprocessableEntity, "reason-missing"},
		`{"confirm":"p","reason":"` + strings.Repeat("x", 501) + `"}`:   {http.StatusUnprocessableEntity, "reason-missing"},
		`{"confirm":"p","reason":"` + strings.Repeat("x", 9<<10) + `"}`: {http.StatusRequestEntityTooLarge, "body-too-large"},
	} {
		answer := p.do(http.MethodPost, "/api/polls/p/open", body, nil)
		got := p.want(answer, want.status, want.code)
		if got["effect"] != "not_applied" {
			t.Errorf("%.40s: effect %v", body, got["effect"])
		}
	}
	compressed := p.do(http.MethodPost, "/api/polls/p/open", `{}`, map[string]string{"Content-Encoding": "gzip"})
	p.want(compressed, http.StatusUnsupportedMediaType, "wrong-content-type")
	if len(p.box.polls["p"].chain) != 0 {
		t.Error("a malformed request reached the ballot server")
	}
}

func TestEveryAnswerCarriesItsGuards(t *testing.T) {
	p := newPanel(t).logIn()
	for _, path := range []string{"/api/overview", "/api/nothing", "/", "/api/login"} {
		h := p.get(path).Header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if strings.HasPrefix(path, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %q", path, h.Get("Cache-Control"))
		}
	}
	p.want(p.get("/api/nothing"), http.StatusNotFound, "not-found")
	p.want(p.get("/api/login"), http.StatusMethodNotAllowed, "method-not-allowed")
}

func TestEveryAddressOutsideTheAPIIsThePages(t *testing.T) {
	p := newPanel(t)
	for path, status := range map[string]int{"/": 200, "/polls/p/audit": 200, "/apiary": 200, "/missing.js": 404} {
		if answer := p.get(path); answer.StatusCode != status {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
}
