package humancheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const secret = "s3cret-of-the-site"

// far is a service on this machine that speaks as both do, at their own addresses.
type far struct {
	t testing.TB
	// siteverify answers for either; script for both.
	siteverify, script http.HandlerFunc
	server             *httptest.Server
}

func newFar(t testing.TB, siteverify http.HandlerFunc) *far {
	t.Helper()
	f := &far{t: t, siteverify: siteverify, script: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/javascript; charset=UTF-8")
		_, _ = io.WriteString(w, "window.turnstile={}")
	}}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.Host + r.URL.Path {
		case "POST challenges.cloudflare.com/turnstile/v0/siteverify", "POST api.hcaptcha.com/siteverify":
			f.siteverify(w, r)
		case "GET challenges.cloudflare.com/turnstile/v0/api.js", "GET js.hcaptcha.com/1/api.js":
			f.script(w, r)
		default:
			t.Errorf("somebody asks for %s %s%s", r.Method, r.Host, r.URL.Path)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(f.server.Close)
	return f
}

// RoundTrip implements http.RoundTripper: wherever a request goes, it arrives here.
func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		f.t.Errorf("asked in the clear: %s", r.URL)
	}
	here := r.Clone(r.Context())
	here.Host = r.URL.Host
	here.URL.Scheme, here.URL.Host = "http", strings.TrimPrefix(f.server.URL, "http://")
	return f.server.Client().Transport.RoundTrip(here)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func config(t testing.TB, provider string) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Provider: provider, SiteKey: "0x4AAA-site_key", SecretFile: path, Origin: "https://check.example"}
}

func newChecker(t testing.TB, provider string, transport http.RoundTripper, log io.Writer) *Checker {
	t.Helper()
	c, err := New(config(t, provider), Deps{Clock: time.Now, Log: slog.New(slog.NewTextHandler(log, nil)), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// good is a judgement that passes, of this moment, as a service writes it.
func good(provider string) string {
	if provider == "hcaptcha" {
		return fmt.Sprintf(`{"success":true,"challenge_ts":%q,"hostname":"check.example","credit":false}`, time.Now().UTC().Format("2006-01-02T15:04:05-0700"))
	}
	return fmt.Sprintf(`{"success":true,"error-codes":[],"challenge_ts":%q,"hostname":"check.example","action":"session","cdata":"a-poll","metadata":{"interactive":false}}`,
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}
}

func TestAResponseIsAskedAboutAsTheServicesWantIt(t *testing.T) {
	for provider, want := range map[string]url.Values{
		"turnstile": {"secret": {secret}, "response": {"XXXX.DUMMY_response-1"}},
		"hcaptcha":  {"secret": {secret}, "response": {"XXXX.DUMMY_response-1"}, "sitekey": {"0x4AAA-site_key"}},
	} {
		var asked url.Values
		c := newChecker(t, provider, newFar(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
				t.Errorf("%s: it is sent as %s", provider, got)
			}
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			asked = r.PostForm
			if r.URL.RawQuery != "" {
				t.Errorf("%s: something is in the address: %s", provider, r.URL.RawQuery)
			}
			says(good(provider))(w, r)
		}), io.Discard)
		if err := c.Check(t.Context(), "XXXX.DUMMY_response-1", "a-poll"); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
		// No address of a voter's, and nothing else of theirs.
		if asked.Encode() != want.Encode() {
			t.Errorf("%s was told %v, want %v", provider, asked, want)
		}
	}
}

func TestWhatTheServicesSay(t *testing.T) {
	stamp := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339) }
	judged := func(at, host, action string) string {
		return fmt.Sprintf(`{"success":true,"challenge_ts":%q,"hostname":%q,"action":%q,"cdata":"a-poll"}`, at, host, action)
	}
	failed := func(codes string) string { return `{"success":false,"error-codes":[` + codes + `]}` }
	for _, c := range []struct {
		provider, said string
		want           error
	}{
		{"turnstile", judged(stamp(0), "check.example", "session"), nil},
		{"turnstile", judged(stamp(0), "CHECK.example", "session"), nil},
		{"turnstile", judged(stamp(5*time.Minute), "check.example", "session"), nil},
		{"turnstile", judged(stamp(7*time.Minute), "check.example", "session"), ErrStale},
		{"turnstile", judged(stamp(-2*time.Minute), "check.example", "session"), ErrRefused},
		{"turnstile", judged("", "check.example", "session"), ErrRefused},
		{"turnstile", judged("yesterday", "check.example", "session"), ErrRefused},
		{"turnstile", judged(stamp(0), "evil.example", "session"), ErrRefused},
		{"turnstile", judged(stamp(0), "check.example.evil.example", "session"), ErrRefused},
		{"turnstile", judged(stamp(0), "", "session"), ErrRefused},
		{"turnstile", judged(stamp(0), "check.example", "login"), ErrRefused},
		{"turnstile", judged(stamp(0), "check.example", ""), ErrRefused},
		{"turnstile", strings.Replace(judged(stamp(0), "check.example", "session"), "a-poll", "another", 1), ErrRefused},
		{"turnstile", strings.Replace(judged(stamp(0), "check.example", "session"), "a-poll", "", 1), ErrRefused},
		{"hcaptcha", judged(stamp(0), "check.example", ""), nil}, // it knows no actions
		{"hcaptcha", judged(stamp(0), "evil.example", ""), ErrRefused},
		{"turnstile", `{}`, ErrRefused},
		{"turnstile", `{"success":false}`, ErrRefused},
		{"turnstile", failed(`"invalid-input-response"`), ErrRefused},
		{"turnstile", failed(`"missing-input-response"`), ErrRefused},
		{"turnstile", failed(`"timeout-or-duplicate"`), ErrStale},
		{"turnstile", failed(`"bad-request"`), ErrRefused},
		{"turnstile", failed(`"a-code-of-tomorrow"`), ErrRefused},
		{"turnstile", failed(`"internal-error"`), ErrDown},
		{"turnstile", failed(`"invalid-input-secret"`), ErrDown},
		{"turnstile", failed(`"timeout-or-duplicate","internal-error"`), ErrDown},
		{"hcaptcha", failed(`"expired-input-response"`), ErrStale},
		{"hcaptcha", failed(`"already-seen-response"`), ErrStale},
		{"hcaptcha", failed(`"invalid-or-already-seen-response"`), ErrStale},
		{"hcaptcha", failed(`"sitekey-secret-mismatch"`), ErrRefused}, // whoever sends another site's can have it said
		{"hcaptcha", failed(`"missing-input-secret"`), ErrDown},
	} {
		checker := newChecker(t, c.provider, newFar(t, says(c.said)), io.Discard)
		if err := checker.Check(t.Context(), "a-response", "a-poll"); !errors.Is(err, c.want) {
			t.Errorf("%s says %s: %v, want %v", c.provider, c.said, err, c.want)
		}
	}
}

// A service that does not judge has not judged, whatever it sends.
func TestAnAnswerThatIsNoJudgementIsNone(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an error with a judgement in it": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, good("turnstile"))
		},
		"too many requests": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"no content":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"a redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example/siteverify") // following it fails the test
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"nothing":      says(""),
		"a page":       says("<!doctype html><title>Attention required</title>"),
		"another type": says(`{"success":"true"}`),
		"a list":       says(`[true]`),
		"two values":   says(good("turnstile") + good("turnstile")),
		"too much":     says(strings.TrimSuffix(good("turnstile"), "}") + `,"x":"` + strings.Repeat("x", 1<<20) + `"}`),
		"a part": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, good("turnstile"))
		},
		"no end": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := newChecker(t, "turnstile", newFar(t, answer), &log)
			for range tolerated + 1 {
				if c.Down() {
					t.Error("it is down too soon")
				}
				err := c.Check(t.Context(), "the-voters-response", "a-poll")
				if !errors.Is(err, ErrDown) {
					t.Errorf("%v, want ErrDown", err)
				}
				if text := fmt.Sprint(err, log.String()); strings.Contains(text, secret) || strings.Contains(text, "the-voters-response") {
					t.Errorf("a secret is told: %s", text)
				}
			}
			if !c.Down() || !strings.Contains(log.String(), "voters go on by more work") {
				t.Errorf("it is not down after %d failures: %s", tolerated+1, log.String())
			}
		})
	}
}

func TestASlowServiceIsNotWaitedFor(t *testing.T) {
	c := newChecker(t, "turnstile", newFar(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
		<-r.Context().Done()
	}), io.Discard)
	began := time.Now()
	if err := c.Check(t.Context(), "a-response", "a-poll"); !errors.Is(err, ErrDown) {
		t.Errorf("%v, want ErrDown", err)
	}
	if took := time.Since(began); took > 2*wait {
		t.Errorf("it was waited for %s", took)
	}
}

func TestWhatCantBeAResponseIsNotAskedAbout(t *testing.T) {
	c := newChecker(t, "turnstile", roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the service was asked")
		return nil, errors.New("no")
	}), io.Discard)
	for _, junk := range []string{"", " ", "a b", "a&secret=b", "a\x00", "é", strings.Repeat("x", 2049)} {
		if err := c.Check(t.Context(), junk, "a-poll"); !errors.Is(err, ErrRefused) {
			t.Errorf("%.20q: %v", junk, err)
		}
	}
}

// Whoever sends junk, or hangs up, must not be able to switch the check off.
func TestNobodyMakesAServiceLookDown(t *testing.T) {
	c := newChecker(t, "turnstile", newFar(t, says(`{"success":false,"error-codes":["invalid-input-response"]}`)), io.Discard)
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 20 {
		if err := c.Check(t.Context(), "junk", "a-poll"); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
		if err := c.Check(gone, "junk", "a-poll"); !errors.Is(err, ErrDown) {
			t.Fatalf("who hung up was told %v", err)
		}
	}
	if c.Down() {
		t.Error("it is taken to be down")
	}
}

// still is a service without a network, for a clock that stands still.
type still struct {
	looks, scripts atomic.Int64
	broken         atomic.Bool // siteverify
	blocked        atomic.Bool // the script
}

func (s *still) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, kind, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	if r.Method == http.MethodGet {
		s.scripts.Add(1)
		if s.blocked.Load() {
			return answer(http.StatusOK, "text/html", "<h1>Blocked</h1>")
		}
		return answer(http.StatusOK, "application/javascript", "x")
	}
	s.looks.Add(1)
	if s.broken.Load() {
		return nil, errors.New("connection refused")
	}
	return answer(http.StatusOK, "application/json", `{"success":false,"error-codes":["invalid-input-response"]}`)
}

func running(t *testing.T, service http.RoundTripper) *Checker {
	t.Helper()
	c := newChecker(t, "turnstile", service, io.Discard)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return c
}

func TestItComesBackByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &still{}
		s.broken.Store(true)
		c := running(t, s)
		if err := c.Check(t.Context(), "a-response", "a-poll"); !errors.Is(err, ErrDown) {
			t.Fatal(err)
		}
		// The first failure has it look, and the look fails as well.
		synctest.Wait()
		if !c.Down() {
			t.Error("what fails twice is not down")
		}
		time.Sleep(time.Minute)
		if got := s.looks.Load(); got > 2+6 {
			t.Errorf("it looked %d times in a minute", got)
		}
		if !c.Down() {
			t.Error("it came back although nothing answers")
		}
		s.broken.Store(false)
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if c.Down() {
			t.Error("it has not come back")
		}
		before := s.looks.Load()
		time.Sleep(time.Hour)
		if s.looks.Load() != before {
			t.Error("a service that works is asked all the same")
		}
	})
}

func TestWhatVotersSayIsLookedAtAndNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &still{}
		c := running(t, s)
		for range 1000 {
			c.Doubt()
			time.Sleep(60 * time.Millisecond) // a minute in all
		}
		synctest.Wait()
		if c.Down() {
			t.Error("it was believed")
		}
		if got := s.looks.Load(); got == 0 || got > 8 {
			t.Errorf("it looked %d times in a minute", got)
		}
		// The script may be away where judgements are not.
		time.Sleep(2 * lookEvery)
		s.blocked.Store(true)
		c.Doubt()
		synctest.Wait()
		if !c.Down() {
			t.Error("nobody can load the script, and the check goes on")
		}
		s.blocked.Store(false)
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if c.Down() {
			t.Error("it has not come back")
		}
	})
}

func TestOnlyWhatIsWholeIsConfigured(t *testing.T) {
	if c, err := New(Config{}, Deps{}); c != nil || err != nil {
		t.Errorf("without a configuration: %v, %v", c, err)
	}
	for want, change := range map[string]func(*Config){
		"neither turnstile nor hcaptcha": func(c *Config) { c.Provider = "recaptcha" },
		"provider":                       func(c *Config) { c.Provider = "" },
		"site-key":                       func(c *Config) { c.SiteKey = "" },
		"no such key":                    func(c *Config) { c.SiteKey = `"><script>` },
		"secret-file: it is missing":     func(c *Config) { c.SecretFile = "" },
		"couldn't find a secret":         func(c *Config) { c.SecretFile += "-not" },
		"want 0600": func(c *Config) {
			if err := os.Chmod(c.SecretFile, 0o644); err != nil { //nolint:gosec // on purpose
				t.Fatal(err)
			}
		},
		"is no origin":           func(c *Config) { c.Origin = "https://check.example/" },
		"no origin":              func(c *Config) { c.Origin = "" },
		"such as":                func(c *Config) { c.Origin = "ftp://check.example" },
		"for this machine alone": func(c *Config) { c.Service = "http://proxy.example" },
		"service":                func(c *Config) { c.Service = "https://proxy.example/turnstile" },
	} {
		cfg := config(t, "hcaptcha")
		change(&cfg)
		if _, err := New(cfg, Deps{Clock: time.Now}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAProxyStandsInForTheServicesAddresses(t *testing.T) {
	for provider, want := range map[string]Addresses{
		"turnstile": {
			"https://proxy.example/turnstile/v0/siteverify", "https://proxy.example/turnstile/v0/api.js?render=explicit",
			"https://proxy.example https://challenges.cloudflare.com",
		},
		"hcaptcha": {"https://proxy.example/siteverify", "https://proxy.example/1/api.js?render=explicit", "https://proxy.example https://hcaptcha.com https://*.hcaptcha.com"},
	} {
		cfg := config(t, provider)
		cfg.Service = "https://proxy.example"
		c, err := New(cfg, Deps{Clock: time.Now})
		if err != nil || c.at != want {
			t.Errorf("%s: %+v, %v", provider, c.at, err)
		}
	}
	cfg := config(t, "turnstile")
	cfg.Service = "http://127.0.0.1:8090"
	if _, err := New(cfg, Deps{Clock: time.Now}); err != nil {
		t.Errorf("a stand-in on this machine: %v", err)
	}
}
