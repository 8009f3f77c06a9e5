package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

// vendor plays Turnstile or hCaptcha without a network: what it says of a response is what the test has it say.
type vendor struct {
	mu    sync.Mutex
	says  string // of every response; empty for an error on the way
	asked []url.Values
	log   strings.Builder // what the server says of it
}

const passed = `{"success":true,"challenge_ts":%q,"hostname":"check.example","action":"session","cdata":"sends"}`

func (s *vendor) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says = text
}

// responses are those it was asked about, without the looks of the server's own.
func (s *vendor) responses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, form := range s.asked {
		if r := form.Get("response"); !strings.HasPrefix(r, "popvote-") {
			all = append(all, r)
		}
	}
	return all
}

// Write implements io.Writer, for the log.
func (s *vendor) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(line)
}

func (s *vendor) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// RoundTrip implements http.RoundTripper.
func (s *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, text := "application/json", s.says
	if r.Method == http.MethodGet {
		kind = "application/javascript"
	} else if err := r.ParseForm(); err == nil {
		s.asked = append(s.asked, r.PostForm)
	}
	if text == "" {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// newVendor starts one that passes everybody.
func (w *world) newVendor(provider string) *vendor {
	w.t.Helper()
	secret := filepath.Join(w.t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret-of-the-site"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	s := &vendor{says: fmt.Sprintf(passed, time.Now().UTC().Format(time.RFC3339))}
	human, err := humancheck.New(
		humancheck.Config{Provider: provider, SiteKey: "site-key", SecretFile: secret, Origin: "https://check.example"},
		humancheck.Deps{Clock: w.clock.now, Log: slog.New(slog.NewTextHandler(s, nil)), Transport: s},
	)
	if err != nil {
		w.t.Fatal(err)
	}
	w.human = human
	return s
}

// checked is a world whose voters pass Turnstile as well.
func checked(t *testing.T, change ...func(*world)) (*world, *vendor) {
	t.Helper()
	var s *vendor
	w := newWorld(t, append(change, func(w *world) { s = w.newVendor("turnstile") })...)
	return w, s
}

// withHuman is a request with a response beside its work.
func (w *world) withHuman(response string) object {
	w.t.Helper()
	body := w.sessionBody(w.someone())
	body["human_check"] = response
	return body
}

// refused wants a problem.
func (r reply) refused(t testing.TB, what string, status int, code problem.Code) {
	t.Helper()
	if p := r.problem(t); r.status != status || string(p.Code) != string(code) || p.Effect != "not_applied" {
		t.Errorf("%s: %d %s, want %d %s", what, r.status, p.Code, status, code)
	}
}

// told is what a challenge says of the human check.
func (w *world) told() *channelsapi.HumanCheck {
	w.t.Helper()
	return read[channelsapi.Challenge](w.t, w.call("GET", "/v1/challenge", nil), http.StatusOK).HumanCheck
}

func TestNobodyIsAskedForAHumanCheckByDefault(t *testing.T) {
	w := newWorld(t)
	if check := w.told(); check != nil {
		t.Errorf("it is asked for: %+v", check)
	}
	if got := w.begin(sends, w.sessionBody(w.someone())); got.status != http.StatusCreated {
		t.Errorf("%d %s", got.status, got.body)
	}
	r := w.call("GET", "/human/en", nil, func(r *http.Request) { r.Host = "check.example" })
	if r.status != http.StatusNotFound {
		t.Errorf("there is a page for it: %d", r.status)
	}
}

func TestAHumanCheckIsAskedForBesideTheWork(t *testing.T) {
	for _, provider := range []string{"turnstile", "hcaptcha"} {
		t.Run(provider, func(t *testing.T) {
			var far *vendor
			w := newWorld(t, func(w *world) { far = w.newVendor(provider) })
			check := w.told()
			if check == nil || string(check.Provider) != provider || check.Page != "https://check.example/human/" {
				t.Fatalf("it is told as %+v", check)
			}
			w.begin(sends, w.sessionBody(w.someone())).refused(t, "the work alone", http.StatusForbidden, problem.HumanCheckRequired)
			if n := len(far.responses()); n != 0 {
				t.Errorf("the service was asked %d times about nothing", n)
			}
			body := w.withHuman("a-response")
			body["challenge"] = "nonsense"
			w.begin(sends, body).refused(t, "the check alone", http.StatusForbidden, problem.ChallengeInvalid)
			if got := w.begin(sends, w.withHuman("a-response")); got.status != http.StatusCreated {
				t.Errorf("both: %d %s", got.status, got.body)
			}
			if got := far.responses(); len(got) != 1 || got[0] != "a-response" {
				t.Errorf("it was asked about %v", got)
			}
			for outcome, want := range map[string]float64{"passed": 1, "missing": 1} {
				if got := w.metric("popvote_api_human_checks_total outcome=" + outcome); got != want {
					t.Errorf("%s is counted %v times, want %v", outcome, got, want)
				}
			}
		})
	}
}

// What can't be a response costs nobody anything, and neither does none.
func TestAHumanCheckThatCantBeCostsNobodyElse(t *testing.T) {
	w, far := checked(t)
	_, c := w.counting()
	for name, change := range map[string]func(object){
		"none":        func(o object) { delete(o, "human_check") },
		"empty":       func(o object) { o["human_check"] = "" },
		"no response": func(o object) { o["human_check"] = "a&secret=b" },
		"too long":    func(o object) { o["human_check"] = strings.Repeat("x", 2049) },
	} {
		body := w.withHuman("a-response")
		change(body)
		board, limits := c.board.Load(), c.limits.Load()
		want := problem.HumanCheckFailed
		if name == "none" {
			want = problem.HumanCheckRequired
		}
		w.begin(sends, body).refused(t, name, http.StatusForbidden, want)
		if c.board.Load() != board || c.limits.Load() != limits || len(far.responses()) != 0 {
			t.Errorf("%s: Redis was asked %d times, limits %d, the service %d", name, c.board.Load()-board, c.limits.Load()-limits, len(far.responses()))
		}
	}
}

func TestAHumanCheckIsGoodOnce(t *testing.T) {
	w, far := checked(t)
	if got := w.begin(sends, w.withHuman("once")); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	// The service says again that it is good: that it was used is known here, and at every other server.
	w.server = w.start()
	w.begin(sends, w.withHuman("once")).refused(t, "again", http.StatusForbidden, problem.HumanCheckFailed)

	// One piece of work asks the service once.
	body := w.withHuman("first")
	if got := w.begin(sends, body); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	before := len(far.responses())
	for n := range 10 {
		body["human_check"] = "another-" + strconv.Itoa(n)
		w.begin(sends, body).refused(t, "the same work", http.StatusForbidden, problem.ChallengeSpent)
	}
	if n := len(far.responses()); n != before {
		t.Errorf("the service was asked %d times about one piece of work", n-before)
	}
}

func TestWhatTheServiceDoesNotPassHasNoSession(t *testing.T) {
	w, far := checked(t)
	now := time.Now().UTC()
	for name, says := range map[string]string{
		"a failure":       `{"success":false,"error-codes":["invalid-input-response"]}`,
		"a duplicate":     `{"success":false,"error-codes":["timeout-or-duplicate"]}`,
		"another host":    strings.Replace(fmt.Sprintf(passed, now.Format(time.RFC3339)), "check.example", "evil.example", 1),
		"another purpose": strings.Replace(fmt.Sprintf(passed, now.Format(time.RFC3339)), `"session"`, `"login"`, 1),
		"another poll":    strings.Replace(fmt.Sprintf(passed, now.Format(time.RFC3339)), `"sends"`, `"receives"`, 1),
		"an old one":      fmt.Sprintf(passed, now.Add(-7*time.Minute).Format(time.RFC3339)),
	} {
		far.say(says)
		w.begin(sends, w.withHuman("a-response")).refused(t, name, http.StatusForbidden, problem.HumanCheckFailed)
	}
	if refused, stale := w.metric("popvote_api_human_checks_total outcome=refused"), w.metric("popvote_api_human_checks_total outcome=stale"); refused != 4 || stale != 2 {
		t.Errorf("counted: refused %v, stale %v", refused, stale)
	}
	if w.human.Down() {
		t.Error("a service that judges is taken to be down")
	}
}

// While the service is away, and only then, work alone is enough, and it is more.
func TestWhileTheServiceIsAwayWorkIsEnough(t *testing.T) {
	for name, says := range map[string]string{"gone": "", "a page": "<title>Attention required</title>"} {
		t.Run(name, func(t *testing.T) {
			w, far := checked(t, func(w *world) { w.config.ChallengeCost, w.config.ChallengeMost = littleWork, 8 })
			early, usual := w.solve(), work(w.challenge(house))
			far.say(says)
			got := w.begin(sends, w.withHuman("a-response"))
			got.refused(t, "nothing is known", http.StatusServiceUnavailable, problem.HumanCheckUnavailable)
			if got.header.Get("Retry-After") == "" {
				t.Error("it does not say when to come back")
			}
			// The server looks for itself at once.
			for deadline := time.Now().Add(5 * time.Second); !w.human.Down(); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it is never found to be down")
				}
			}
			if check := w.told(); check != nil {
				t.Errorf("it is asked for: %+v", check)
			}
			if got := work(w.challenge(house)); got != timesAlone*usual {
				t.Errorf("the work is %d, want %d times %d", got, timesAlone, usual)
			}
			if got := w.begin(sends, w.sessionBody(w.someone())); got.status != http.StatusCreated {
				t.Errorf("work alone: %d %s", got.status, got.body)
			}
			// What was set while the check was in use was not set to be enough.
			body := w.withHuman("a-response")
			body["challenge"] = early
			w.begin(sends, body).refused(t, "the usual work", http.StatusServiceUnavailable, problem.HumanCheckUnavailable)
			delete(body, "human_check")
			w.begin(sends, body).refused(t, "the usual work alone", http.StatusForbidden, problem.HumanCheckRequired)
			if down, alone := w.metric("popvote_api_human_check_down"), w.metric("popvote_api_human_checks_total outcome=alone"); down != 1 || alone != 1 {
				t.Errorf("down is %v, and %v went on by work", down, alone)
			}
			if !strings.Contains(far.logged(), "voters go on by more work instead") {
				t.Error("the log does not say so")
			}
		})
	}
}

// Who has a place, or has read six digits, has done their part.
func TestPlacesAndDigitsNeedNoHumanCheck(t *testing.T) {
	w, far := checked(t, slow(10))
	for range 100 {
		if w.begin(sends, w.withHuman("r-"+strconv.Itoa(w.people))).status != http.StatusCreated {
			break
		}
	}
	me := w.someone()
	body := w.sessionBody(me)
	body["human_check"] = "mine"
	place := w.begin(sends, body).waits(t)
	for range place.Seconds + 30 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	before := len(far.responses())
	if got := w.begin(sends, withTicket(me, place.Ticket)); got.status != http.StatusCreated {
		t.Errorf("with a place: %d %s", got.status, got.body)
	}
	for range 30 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	b := w.browser().identify("en", sends, w.someone())
	if !strings.HasSuffix(b.at, "/phone") {
		t.Errorf("with digits: %d at %q", b.page.status, b.at)
	}
	if n := len(far.responses()); n != before {
		t.Errorf("the service was asked %d times", n-before)
	}
}

// The strange script has an origin of its own, and nothing of ours is there.
func TestTheHumanChecksPageHasAnOriginOfItsOwn(t *testing.T) {
	w, _ := checked(t)
	at := func(host, path string) reply {
		return w.call("GET", path, nil, func(r *http.Request) { r.Host = host })
	}
	if got := at("check.example", "/human/en"); got.status != http.StatusOK ||
		!strings.Contains(got.header.Get("Content-Security-Policy"), "frame-ancestors https://vote.example "+mirror+";") {
		t.Errorf("%d %v", got.status, got.header)
	}
	for _, path := range []string{"/plain/en/", "/en/", "/.well-known/security.txt"} {
		if got := at("check.example", path); got.status != http.StatusNotFound {
			t.Errorf("%s is there: %d", path, got.status)
		}
	}
	for _, path := range []string{"/v1/polls", "/v1/challenge"} {
		recorder := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(recorder, w.request("GET", path, nil, func(r *http.Request) { r.Host = "check.example" }))
		if recorder.Code != http.StatusNotFound {
			t.Errorf("the API is there: %s is %d", path, recorder.Code)
		}
	}
	if got := at("vote.example", "/human/en"); got.status != http.StatusNotFound || strings.Contains(got.header.Get("Content-Security-Policy"), "cloudflare") {
		t.Errorf("it is at the voters' origin: %d %v", got.status, got.header)
	}
}

func TestAHumanCheckNeedsToKnowThePagesThatFrameIt(t *testing.T) {
	w, _ := checked(t)
	for want, origin := range map[string]string{"without public_origin": "", "could read what voters type": "https://check.example"} {
		config := w.config
		config.PublicOrigin = origin
		config.AllowedOrigins = nil
		if s, err := New(t.Context(), config, w.server.deps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("origin %q: %v, want %q", origin, err, want)
			if s != nil {
				s.Close()
			}
		}
	}
}
