// Package humancheck asks another company's service whether somebody is a person: Cloudflare's Turnstile or hCaptcha,
// where an operator has chosen one. It is added to the proof of work and replaces nothing. The service's script runs in
// a page of its own, at an origin of its own, which the voter's page frames: it never comes near an identity number.
// While the service is away, Down says so, and voters go on by work alone.
package humancheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/secretfile"
)

// What an answer of the service's means.
var (
	// ErrRefused: it is no response of this service's for this site. Another may do.
	ErrRefused = errors.New("the human check's response is not good")
	// ErrStale: it was one, and is too old or was used before.
	ErrStale = errors.New("the human check's response is too old or was used before")
	// ErrDown: the service could not be asked. Nothing is known of the voter.
	ErrDown = errors.New("the human check's service can't be asked")
)

const (
	// Goodness is how long a response may be good for, from when it was made; both services say less.
	Goodness = 10 * time.Minute
	// oldest is the age of a challenge whose response is taken: both services take their own for two to five minutes.
	oldest = 5 * time.Minute
	// skew is how far the service's clock may be from ours.
	skew = time.Minute

	// wait is how long the service may take to judge one response.
	wait = 3 * time.Second
	// abreast is how many it is asked at once. Further voters wait for their turn within that time: a slow service is
	// soon one that is down, and never holds more than this.
	abreast = 64
	// tolerated failures in succession leave the service in use; with one more it is down.
	tolerated = 2
	// lookEvery is how often the server looks for itself, while it is down or voters say that it is.
	lookEvery = 10 * time.Second
	// longestAnswer is far above what either service answers, bytes.
	longestAnswer = 16 << 10

	// action is what Turnstile is told that the check is for, and says again with its judgement.
	action = "session"
)

// Config is an operator's choice. Its zero value is none: nobody is asked.
type Config struct {
	Provider   string `koanf:"provider" doc:"Whose check voters pass before a session begins, in addition to the proof of work: turnstile or hcaptcha. Their addresses are then seen by Cloudflare or by hCaptcha. Default: none (docs/human-check.md)."`
	SiteKey    string `koanf:"site-key" doc:"The site key that the service gave for the host of -human-check-origin. It is public."`
	SecretFile string `koanf:"secret-file" doc:"A file, of mode 0600, with the secret that belongs to the site key. Read at each use."`
	Origin     string `koanf:"origin" doc:"Where the check's page is, https://check.example.hk: another host than the voter page's, because the service's script could read a page of the same one. It leads to the same servers, which answer nothing else there."`
	Service    string `koanf:"service" doc:"Where the service's API and script are instead of at its own addresses: a proxy of it, https://proxy.example.hk, which is trusted like the service. Default: its own."`
}

// Provider is one company's service. Safe for concurrent use.
type Provider interface {
	// Name is what it is called in configuration and in the API.
	Name() string
	// Addresses are where it is: its own, or those at a proxy's origin where one is given.
	Addresses(proxy string) Addresses
	// Longest is the longest response it gives, bytes.
	Longest() int
	// Form is what it is asked. A voter's address is never in it.
	Form(secret, siteKey, response string) url.Values
	// Kinds says what its error codes mean: ErrStale, or ErrDown where it is we who are wrong, or the service. All others
	// are ErrRefused: whoever sends junk must not be able to make the service look as if it were down.
	Kinds() map[string]error
	// SaysPurpose reports whether its judgement repeats the action, and the poll.
	SaysPurpose() bool
}

// Addresses are where a service is.
type Addresses struct {
	// Siteverify is the URL that judges responses, and Script the URL of what the page loads.
	Siteverify, Script string
	// Sources are where its script may load from and connect to, as content security policies have them.
	Sources string
}

// providers is every service there is.
var providers = []Provider{turnstile{}, hcaptcha{}}

// Deps are what a Checker works with. Clock and Log are required.
type Deps struct {
	Clock func() time.Time
	Log   *slog.Logger
	// Transport carries requests to the service; nil is one of its own, which minds HTTPS_PROXY.
	Transport http.RoundTripper
}

// Checker asks one service. Safe for concurrent use.
type Checker struct {
	config   Config
	provider Provider
	at       Addresses
	host     string // of Config.Origin, as a request names it
	name     string // the same without its port
	clock    func() time.Time
	log      *slog.Logger
	http     http.Client
	// seats are for who is asking.
	seats chan struct{}
	// asked has room for one: a look at the service is wanted.
	asked chan struct{}

	mu       sync.Mutex
	failures int // in succession
	down     bool
}

// New returns a checker, or nil where none is configured.
func New(config Config, deps Deps) (*Checker, error) {
	if config == (Config{}) {
		return nil, nil //nolint:nilnil // no service is a choice, and the usual one
	}
	at := slices.IndexFunc(providers, func(p Provider) bool { return p.Name() == config.Provider })
	if at < 0 {
		return nil, fmt.Errorf("couldn't read the human check's provider: %q is neither turnstile nor hcaptcha; for no check leave all its settings out", config.Provider)
	}
	if config.SiteKey == "" || strings.ContainsFunc(config.SiteKey, func(r rune) bool { return !tokenRune(r) }) {
		return nil, errors.New("couldn't read the human check's site-key: it is missing, or no such key")
	}
	if config.SecretFile == "" {
		return nil, errors.New("couldn't read the human check's secret-file: it is missing")
	}
	if err := secretfile.Check(config.SecretFile); err != nil {
		return nil, fmt.Errorf("couldn't read the human check's secret-file: %w", err)
	}
	u, ok := readOrigin(config.Origin)
	if !ok {
		return nil, fmt.Errorf("couldn't read the human check's origin: %q is no origin such as https://check.example.hk", config.Origin)
	}
	if proxy, ok := readOrigin(config.Service); config.Service != "" && (!ok || (proxy.Scheme != "https" && !loopback(proxy.Hostname()))) {
		return nil, fmt.Errorf("couldn't read the human check's service: %q is no origin such as https://proxy.example.hk; the secret is sent there, so http is for this machine alone", config.Service)
	}
	transport := deps.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: wait,
			MaxIdleConnsPerHost: abreast, IdleConnTimeout: time.Minute,
		}
	}
	return &Checker{
		config: config, provider: providers[at], at: providers[at].Addresses(config.Service), host: u.Host, name: u.Hostname(), clock: deps.Clock, log: deps.Log,
		http: http.Client{
			Transport: transport,
			// The secret would go with it, and another host's judgement would count.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		seats: make(chan struct{}, abreast),
		asked: make(chan struct{}, 1),
	}, nil
}

// readOrigin reads a scheme and a host, with a port or without, and nothing after them.
func readOrigin(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, false
	}
	return u, u.Scheme+"://"+u.Host == text && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

// loopback says whether a host is this machine, by its address.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Name is the service's: turnstile or hcaptcha.
func (c *Checker) Name() string { return c.provider.Name() }

// Origin is where the frame's page is.
func (c *Checker) Origin() string { return c.config.Origin }

// Down says that the service does not work now, so that nobody should be made to use it.
func (c *Checker) Down() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

// Doubt has the checker look at the service soon, because a client says that it doesn't work. Anybody may say so: it
// looks for itself, and at most every ten seconds.
func (c *Checker) Doubt() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// Plausible says whether a text may be a response at all, for nothing.
func (c *Checker) Plausible(response string) bool {
	return response != "" && len(response) <= c.provider.Longest() && !strings.ContainsFunc(response, func(r rune) bool { return !tokenRune(r) })
}

// tokenRune is what keys and responses of both services are made of.
func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

// Check asks the service for its judgement on a response that was made for a poll, once: nil, ErrRefused, ErrStale or
// ErrDown. Whoever calls keeps responses from being used twice. If the context ends first, nothing is held against the
// service.
func (c *Checker) Check(ctx context.Context, response, poll string) error {
	if !c.Plausible(response) {
		return ErrRefused
	}
	err := c.ask(ctx, response, poll)
	if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrStale) {
		c.mu.Lock()
		c.failures = 0
		c.mu.Unlock()
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrDown, ctx.Err())
	}
	c.mu.Lock()
	c.failures++
	opens := c.failures > tolerated && !c.down
	c.down = c.down || opens
	c.mu.Unlock()
	if opens {
		c.tell(ctx, err)
	}
	c.Doubt()
	return err
}

// judgement is what both services answer.
type judgement struct {
	Success  bool     `json:"success"`
	At       string   `json:"challenge_ts"`
	Hostname string   `json:"hostname"`
	Action   string   `json:"action"`
	Poll     string   `json:"cdata"`
	Codes    []string `json:"error-codes"`
}

// ask asks about one response.
func (c *Checker) ask(ctx context.Context, response, poll string) error {
	secret, err := secretfile.Read(c.config.SecretFile)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case c.seats <- struct{}{}:
		defer func() { <-c.seats }()
	case <-ctx.Done():
		return fmt.Errorf("%w: too many wait for it", ErrDown)
	}
	form := c.provider.Form(secret, c.config.SiteKey, response).Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.at.Siteverify, strings.NewReader(form))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	body, err := c.do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	var j judgement
	if err := json.Unmarshal(body, &j); err != nil {
		return fmt.Errorf("%w: its answer is no judgement", ErrDown)
	}
	return c.judge(j, poll)
}

// do sends a request and returns what a 200 brought.
func (c *Checker) do(r *http.Request) ([]byte, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address says nothing new
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("its status is %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer broke off: %w", err)
	case len(body) > longestAnswer:
		return nil, errors.New("its answer is too long")
	}
	return body, nil
}

// judge reads a judgement. Success alone is not enough: it may be of another site, for another purpose, or of long ago.
func (c *Checker) judge(j judgement, poll string) error {
	if !j.Success {
		kinds := c.provider.Kinds()
		found := ErrRefused
		for _, code := range j.Codes {
			switch kind := kinds[code]; {
			case errors.Is(kind, ErrDown):
				return fmt.Errorf("%w: it says %s", ErrDown, code)
			case kind != nil:
				found = kind
			}
		}
		return found
	}
	at, err := readTime(j.At)
	switch now := c.clock(); {
	case !strings.EqualFold(j.Hostname, c.name):
		return fmt.Errorf("%w: it was made for another host", ErrRefused)
	case c.provider.SaysPurpose() && (j.Action != action || j.Poll != poll):
		return fmt.Errorf("%w: it was made for another purpose", ErrRefused)
	case err != nil:
		return fmt.Errorf("%w: it does not say when it was made", ErrRefused)
	case at.After(now.Add(skew)):
		return fmt.Errorf("%w: it is of the future", ErrRefused)
	case now.Sub(at) > oldest+skew:
		return ErrStale
	}
	return nil
}

// readTime reads ISO 8601 as both services write it, with the zone's colon or without.
func readTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05Z0700", text)
	}
	return at, err
}

// Run looks at the service while it is down or doubted, until the context ends.
func (c *Checker) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
		case <-tick.C:
			if !c.Down() {
				continue
			}
		}
		c.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
		}
	}
}

// nobody is a response that neither service ever gave. One that works says so.
const nobody = "popvote-looks-whether-you-are-there"

// look finds out whether the service judges, and whether voters would get its script.
func (c *Checker) look(ctx context.Context) {
	err := c.ask(ctx, nobody, "")
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrStale) {
		err = nil
	}
	if err == nil {
		err = c.fetchScript(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	changed := c.down != (err != nil)
	c.down, c.failures = err != nil, 0
	c.mu.Unlock()
	if changed {
		c.tell(ctx, err)
	}
}

// fetchScript asks for the script, and reads no more than its beginning.
func (c *Checker) fetchScript(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.at.Script, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	client := c.http
	client.CheckRedirect = nil // Turnstile's leads to its newest version; nothing secret goes along
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%w: its script: %w", ErrDown, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: its script's status is %d", ErrDown, answer.StatusCode)
	}
	if kind := answer.Header.Get("Content-Type"); !strings.Contains(kind, "javascript") {
		return fmt.Errorf("%w: its script is %q", ErrDown, kind)
	}
	if _, err := io.ReadFull(answer.Body, make([]byte, 1)); err != nil {
		return fmt.Errorf("%w: its script is empty", ErrDown)
	}
	return nil
}

// tell has the log say that the service went or came back.
func (c *Checker) tell(ctx context.Context, err error) {
	if err != nil {
		c.log.WarnContext(ctx, "the human check's service is down: voters go on by more work instead", slog.String("service", c.Name()), slog.Any("error", err))
		return
	}
	c.log.InfoContext(ctx, "the human check's service is back", slog.String("service", c.Name()))
}
