package server_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/server"
)

func TestALinkLogsInOnce(t *testing.T) {
	p := newPanel(t)
	token := p.token()
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")

	answer := p.post("/api/login", map[string]string{"token": token})
	p.want(answer, http.StatusOK, "")
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("the cookie is too loose: %+v", cookie)
	}
	p.want(p.post("/api/login", map[string]string{"token": token}), http.StatusForbidden, "link-spent")

	p.cookie = cookie
	p.want(p.get("/api/session"), http.StatusOK, "")
	if log := p.log.String(); strings.Contains(log, token) || strings.Contains(log, cookie.Value) {
		t.Error("a secret reached the log")
	}
}

func TestOfManyWhoUseALinkAtOnceOneGetsIn(t *testing.T) {
	p := newPanel(t)
	body := map[string]string{"token": p.token()}
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if p.post("/api/login", body).StatusCode == http.StatusOK {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in", in.Load())
	}
}

func TestANewLinkVoidsTheUnusedOne(t *testing.T) {
	p := newPanel(t)
	first, second := p.token(), p.token()
	p.want(p.post("/api/login", map[string]string{"token": first}), http.StatusForbidden, "link-spent")
	p.want(p.post("/api/login", map[string]string{"token": second}), http.StatusOK, "")
}

func TestALinkAgesAndSoDoesASession(t *testing.T) {
	p := newPanel(t, func(c *server.Config) { c.LinkTTL, c.SessionIdle, c.SessionMax = time.Hour, time.Hour, 3*time.Hour })
	token := p.token()
	p.clock.advance(time.Hour + time.Second)
	p.want(p.post("/api/login", map[string]string{"token": token}), http.StatusForbidden, "link-spent")

	p.logIn()
	p.clock.advance(59 * time.Minute)
	p.want(p.get("/api/session"), http.StatusOK, "")
	p.clock.advance(59 * time.Minute)
	p.want(p.get("/api/session"), http.StatusOK, "")
	p.clock.advance(61 * time.Minute)
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")

	p.logIn()
	for range 5 {
		p.clock.advance(35 * time.Minute)
		p.want(p.get("/api/session"), http.StatusOK, "")
	}
	p.clock.advance(10 * time.Minute)
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")
}

func TestLoggingOutEndsTheSessionOnTheServer(t *testing.T) {
	p := newPanel(t).logIn()
	if answer := p.post("/api/logout", struct{}{}); answer.StatusCode != http.StatusNoContent {
		t.Fatal(answer.StatusCode)
	}
	// The browser may still send the cookie; it opens nothing.
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")
}

func TestWhoIsInLetsAnotherDeviceIn(t *testing.T) {
	p := newPanel(t).logIn()
	body := p.want(p.post("/api/links", struct{}{}), http.StatusOK, "")
	_, token, _ := strings.Cut(body["link"].(string), "#login=")
	mine := p.cookie
	p.cookie = nil
	p.want(p.post("/api/login", map[string]string{"token": token}), http.StatusOK, "")
	p.cookie = mine
	p.want(p.get("/api/session"), http.StatusOK, "")
}

func TestOverTLSTheCookieIsBoundToItsHost(t *testing.T) {
	p := newPanel(t, func(c *server.Config) { c.PublicOrigin = "https://panel.example.hk" })
	link := p.server.LoginLink()
	if !strings.HasPrefix(link, "https://panel.example.hk/#login=") {
		t.Errorf("the link leads to %s", link)
	}
	answer := p.post("/api/login", map[string]string{"token": strings.TrimPrefix(link, "https://panel.example.hk/#login=")})
	cookie := answer.Cookies()[0]
	if !cookie.Secure || !strings.HasPrefix(cookie.Name, "__Host-") {
		t.Errorf("the cookie is not bound: %+v", cookie)
	}
	if answer.Header.Get("Strict-Transport-Security") == "" {
		t.Error("there is no HSTS")
	}
}

func TestAnOriginThatIsNoneIsRefused(t *testing.T) {
	for _, origin := range []string{"", "127.0.0.1:8081", "ftp://x", "http://", "http://x/path", "http://x?q", "http://x#f"} {
		if _, err := server.New(server.Config{PublicOrigin: origin}, server.Deps{}); err == nil {
			t.Errorf("%q was taken", origin)
		}
	}
}
