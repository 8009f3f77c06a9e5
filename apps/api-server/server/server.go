// Package server is the Public Channels API: three steps to a vote, and the public reading of polls.
// It keeps no session (that is in the token) and opens no database. It sees no choice, but on the plain pages
// of a poll whose rules let the server seal.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/captcha"
	"github.com/popvote/popvote/apps/api-server/csp"
	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/apps/api-server/plain"
	"github.com/popvote/popvote/apps/api-server/room"
	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

// What the listener in front of a Server is to have.
const (
	// WriteTime is how long an answer may take: longer than a cast or a long poll waits, and time enough
	// for a slow phone to take one of the page's files. Streams and bundles set deadlines of their own.
	WriteTime = 30 * time.Second
	// MaxConnections is how many connections are held, unless an operator says otherwise: the default's
	// MaxWaiters, and half as many at work or idle.
	MaxConnections = 30_000
	// MaxWaiters is how many of them may be held for voters who wait, unless an operator says otherwise.
	MaxWaiters = 20_000
	// DefaultAdmissionRate is what two cores carry with as much left for everything else, in sessions a second.
	DefaultAdmissionRate = 1000
)

// Config is what an operator decides. Its zero value does not start: TrustedProxies must be set.
type Config struct {
	// TrustedProxies are the addresses or CIDR ranges whose X-Forwarded-For and X-Forwarded-Proto are
	// believed, or the one word "none" where clients connect directly. There is no default: a server that
	// guesses wrong lets every client choose its own address, or counts all voters as one. If PublicOrigin is
	// https, one of them has to say that a request came over TLS, or the API is refused.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// PublicOrigin is the origin of the voter's page as browsers see it ("https://vote.example.hk").
	// Default: none; then a request's own Host counts as the page's origin, SMS carry no
	// origin-bound line, and HSTS is not sent. An https origin sends HSTS.
	PublicOrigin string `koanf:"public_origin"`
	// AllowedOrigins are the other origins (mirrors, CDNs) whose pages may call this API. Default:
	// none. Exact: scheme, host and port; no wildcards.
	AllowedOrigins []string `koanf:"allowed_origins"`
	// InboundNumber is the number voters text in voter_sends polls, E.164 ("+85261234567"). Default:
	// none; then sessions of such polls are refused as unavailable.
	InboundNumber string `koanf:"inbound_number"`
	// PhoneRegion is the country (ISO 3166) of numbers typed without a country code. Default: HK.
	PhoneRegion string `koanf:"phone_region"`
	// PhoneCountries are what phone numbers may begin with ("+852"), or the one word "any". Default: the calling
	// code of PhoneRegion. Others are refused before anything is counted or spent.
	PhoneCountries []string `koanf:"phone_countries"`
	// ChallengeCost is the work of one proof-of-work try, PBKDF2 iterations; 256 tries on average. Default:
	// 1000, a fraction of a second on a phone. More deters more, and costs this server one try per
	// session. -1 asks for no work: benches only.
	ChallengeCost int `koanf:"challenge_cost"`
	// ChallengeMost is the most that ChallengeCost is multiplied by, near the server's limits and for networks
	// whose sessions come to nothing: 1 (never), 2, 4 or 8. Default: 8. A check costs the server no more.
	ChallengeMost int `koanf:"challenge_most"`
	// MaxWaiters is how many connections are held at once, streams and long polls. Default: 20000,
	// about 600 MB. Beyond it a client is told to come back.
	MaxWaiters int `koanf:"max_waiters"`
	// SendDelays are the waits before a six-digit code is sent again; after the last, no more in that
	// session. Default: 30s, 60s, 120s.
	SendDelays []time.Duration `koanf:"send_delays"`
	// Calls offers voters who had the code sent again to have it spoken in a call. Default: false. The gateways'
	// table then needs a call-price.
	Calls bool `koanf:"calls"`
	// CodeTries is how often one code may be tried. Default: 5. Guessing succeeds with a chance of
	// tries in a million.
	CodeTries int `koanf:"code_tries"`
	// CheckDelay is the wait between two tries. Default: 1s.
	CheckDelay time.Duration `koanf:"check_delay"`
	// CastTimeout is how long a cast waits for its outcome before it is called unknown. Default: 12s;
	// keep it under the listener's write timeout.
	CastTimeout time.Duration `koanf:"cast_timeout"`
	// AdmissionRate is how many sessions a second this server begins; whoever is beyond it waits their turn
	// (docs/waiting-room.md says how to choose it). Default: 1000. A burst of one second's worth goes through.
	// From half of it on everybody's proof of work gets dearer (docs/human-check.md).
	AdmissionRate float64 `koanf:"admission_rate"`
	// Security is what /.well-known/security.txt says. Default: there is none.
	Security Security `koanf:"security"`
}

// Deps are the parts this server works with. All are required but Sender, Confirmer, Human, Metrics and Page.
type Deps struct {
	Caster  ballotapi.Caster
	Reader  ballotapi.Reader
	Tokens  keyring.Tokens
	Secrets keyring.Secrets
	Board   verification.Board
	Limiter ratelimit.Limiter
	// Sender sends six-digit codes; without it voter_receives polls answer sms-unavailable.
	Sender sms.Sender
	// Confirmer is told whose code was right; nil tells nobody.
	Confirmer sms.Confirmer
	// Human is another company's check that voters pass beside the work; nil asks for none. It needs a PublicOrigin.
	Human *humancheck.Checker
	Clock func() time.Time
	Log   *slog.Logger
	// Metrics takes the server's metrics; nil keeps them unseen.
	Metrics prometheus.Registerer
	// Page answers what is neither the API's nor the plain pages'; nil answers not-found.
	Page http.Handler
}

// Server answers the Public Channels API. Safe for concurrent use.
type Server struct {
	config     Config
	deps       Deps
	log        *slog.Logger
	clock      func() time.Time
	tokens     *token.Codec
	challenges *challenge.Issuer
	toll       *toll.Toll
	captchas   *captcha.Issuer
	// notices and codes are the secrets of the verification board.
	notices, codes [32]byte
	polls          *polls
	answers        *answers
	leaves         *leaves
	operations     operations
	origins        *origins
	transport      *transport
	headers        *headers
	metrics        *metrics
	guessing       *guessing
	reports        reports
	entries        *prometheus.CounterVec
	room           *room.Room
	// frame is the page of Deps.Human, and human counts what came of it; both nil without.
	frame   *humancheck.Frame
	human   *prometheus.CounterVec
	handler http.Handler
	// countries are those whose phones are taken.
	countries identity.Countries
	// smsHost is the host of the origin-bound line in SMS, or empty.
	smsHost string
	// security is /.well-known/security.txt, or empty.
	security string

	waiters atomic.Int64
	// closing ends what is held: watched by every held connection and by the refreshing of polls.
	closing context.Context
	close   context.CancelFunc
	done    sync.WaitGroup
}

// New starts a server. It ends with ctx or Close, whichever comes first.
func New(ctx context.Context, config Config, deps Deps) (*Server, error) {
	config = config.withDefaults()
	if err := deps.check(); err != nil {
		return nil, err
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	s := &Server{config: config, deps: deps, log: deps.Log, clock: deps.Clock, tokens: token.NewCodec(deps.Tokens)}
	if config.PublicOrigin != "" {
		u, err := url.Parse(config.PublicOrigin)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("couldn't read public_origin: %q is not an origin such as https://vote.example.hk", config.PublicOrigin)
		}
		s.smsHost = u.Hostname()
	}
	var err error
	if s.countries, err = identity.ReadCountries(config.PhoneCountries, config.PhoneRegion); err != nil {
		return nil, fmt.Errorf("couldn't read phone_countries: %w", err)
	}
	var secrets [3][32]byte
	for i, purpose := range []keyring.Purpose{keyring.Verification, keyring.Codes, keyring.Challenges} {
		secret, err := deps.Secrets.Secret(ctx, purpose, "")
		if err != nil {
			return nil, fmt.Errorf("couldn't get the secret for %s: %w", purpose, err)
		}
		secrets[i] = secret
	}
	s.notices, s.codes = secrets[0], secrets[1]
	s.challenges = challenge.NewIssuer(secrets[2], deps.Clock)
	s.captchas = captcha.NewIssuer(secrets[2], deps.Clock)
	most, err := toll.StepOf(config.ChallengeMost)
	if err != nil {
		return nil, fmt.Errorf("couldn't read challenge_most: %w", err)
	}
	s.toll = toll.New(toll.Config{Capacity: config.AdmissionRate, Most: most}, toll.Deps{
		Clock: deps.Clock, Held: func() float64 { return float64(s.waiters.Load()) / float64(config.MaxWaiters) },
	})

	if s.operations, err = readOperations(); err != nil {
		return nil, err
	}
	if s.origins, err = newOrigins(config.PublicOrigin, config.AllowedOrigins, s.refuse); err != nil {
		return nil, err
	}
	proxies, err := trustedProxies(config.TrustedProxies)
	if err != nil {
		return nil, err
	}
	if s.transport, err = newTransport(config.PublicOrigin, proxies, s.refuse); err != nil {
		return nil, err
	}
	if s.security, err = config.Security.text(config.PublicOrigin, deps.Clock()); err != nil {
		return nil, err
	}
	if s.frame, s.human, err = s.newHuman(); err != nil {
		return nil, err
	}
	s.headers = newHeaders(s.secure())
	s.answers = newAnswers(deps.Clock)
	s.leaves = newLeaves()
	s.polls = newPolls(deps.Reader, deps.Secrets, deps.Clock, deps.Log)

	engine, err := s.engine(proxies)
	if err != nil {
		return nil, err
	}
	s.handler = s.front(engine)
	if s.metrics, err = newMetrics(deps.Metrics, func() float64 { return float64(s.waiters.Load()) }); err != nil {
		return nil, err
	}
	if err := deps.Metrics.Register(&tollMetrics{s.toll, challenge.Usual(config.ChallengeCost)}); err != nil {
		return nil, fmt.Errorf("couldn't register the metrics: %w", err)
	}
	s.room = room.New(config.AdmissionRate, deps.Clock)
	if s.entries, err = newEntries(deps.Metrics, s.room); err != nil {
		return nil, err
	}
	if s.guessing, err = newGuessing(deps.Metrics, deps.Clock, deps.Log); err != nil {
		return nil, err
	}

	s.closing, s.close = context.WithCancel(ctx)
	s.polls.refresh(s.closing) //nolint:errcheck // logged there, and tried again within a second
	s.done.Go(func() { s.polls.keepFresh(s.closing) })
	s.done.Go(func() { s.keepRoom(s.closing) })
	if deps.Human != nil {
		s.done.Go(func() { deps.Human.Run(s.closing) })
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	c.PhoneRegion = or(c.PhoneRegion, "HK")
	if c.ChallengeCost = or(c.ChallengeCost, challenge.DefaultCost); c.ChallengeCost < 0 {
		c.ChallengeCost = 0
	}
	c.ChallengeMost = or(c.ChallengeMost, toll.Highest.Times())
	c.MaxWaiters = or(c.MaxWaiters, MaxWaiters)
	c.AdmissionRate = or(c.AdmissionRate, DefaultAdmissionRate)
	c.CodeTries = or(c.CodeTries, 5)
	c.CheckDelay = or(c.CheckDelay, time.Second)
	c.CastTimeout = or(c.CastTimeout, 12*time.Second)
	if c.SendDelays == nil {
		c.SendDelays = []time.Duration{30 * time.Second, 60 * time.Second, 120 * time.Second}
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (d Deps) check() error {
	for _, dep := range []struct {
		name    string
		missing bool
	}{
		{"Caster", d.Caster == nil},
		{"Reader", d.Reader == nil},
		{"Tokens", d.Tokens == nil},
		{"Secrets", d.Secrets == nil},
		{"Board", d.Board == nil},
		{"Limiter", d.Limiter == nil},
		{"Clock", d.Clock == nil},
		{"Log", d.Log == nil},
	} {
		if dep.missing {
			return fmt.Errorf("couldn't start the API server: Deps.%s is missing", dep.name)
		}
	}
	return nil
}

// Handler returns the public face: the API, and the voter's page where one was given.
func (s *Server) Handler() http.Handler { return s.handler }

// Ready says whether the server can serve: it needs to have read the polls once.
func (s *Server) Ready(context.Context) error {
	if s.polls.snapshot() == nil {
		return errors.New("the polls have not been read yet")
	}
	return nil
}

// Close ends every held connection, so that their clients come back to another server, and stops the
// background work. The handler goes on answering what is short.
func (s *Server) Close() {
	s.close()
	s.done.Wait()
}

// front is what every request passes before the router, cheapest first (docs/shedding.md has the whole order).
func (s *Server) front(engine http.Handler) http.Handler {
	asked := s.origins.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && r.URL.Path != "/v1/verification" {
			// The router has no HEAD of its own; net/http drops the body of the answer.
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		engine.ServeHTTP(w, r)
	}))
	routed := s.transport.guard(s.origins.forgery.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == csp.Path {
			// Reports of a page that sends no referrer come from the origin "null".
			engine.ServeHTTP(w, r)
			return
		}
		if s.frame != nil && s.frame.Is(r) {
			// A strange script runs at that origin: nothing else but these reports is there.
			s.frame.ServeHTTP(w, r)
			return
		}
		if s.tellSecurity(w, r) {
			return
		}
		if s.isPage(r) {
			s.deps.Page.ServeHTTP(w, r)
			return
		}
		asked.ServeHTTP(w, r)
	})))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isPage(r) {
			s.headers.set(w.Header())
		}
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			// Where net/http and a proxy could differ about where this request ends, nothing follows it.
			w.Header().Set("Connection", "close")
		}
		if len(r.TransferEncoding) > 0 {
			s.refuse(w, errLength)
			return
		}
		routed.ServeHTTP(w, r)
	})
}

func (s *Server) isPage(r *http.Request) bool {
	return s.deps.Page != nil && !isAPI(r.URL.Path) && r.URL.Path != csp.Path && !strings.HasPrefix(r.URL.Path, plain.Prefix)
}

// refuse answers before there is a router.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	s.headers.set(w.Header())
	s.metrics.problems.WithLabelValues(string(writeProblem(w, err).Code)).Inc()
}

// secure says that browsers come over TLS.
func (s *Server) secure() bool { return strings.HasPrefix(s.config.PublicOrigin, "https://") }

func isAPI(path string) bool {
	return strings.HasPrefix(path, "/v1/") || path == "/v1" || strings.HasPrefix(path, "/problems/") || path == "/problems"
}

// engine is the router: the generated stub for every operation of the API description, and by hand
// what a generator cannot route.
func (s *Server) engine(proxies []string) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.ContextWithFallback = true
	e.RemoteIPHeaders = []string{"X-Forwarded-For"}
	if err := e.SetTrustedProxies(proxies); err != nil {
		return nil, fmt.Errorf("couldn't read trusted_proxies: %w", err)
	}
	e.Use(s.observe, s.recoverPanics)
	e.NoRoute(func(c *gin.Context) { s.fail(c, errNotFound) })
	e.NoMethod(func(c *gin.Context) { s.fail(c, errMethodNotAllowed) })

	strict := channelsapi.NewStrictHandlerWithOptions(api{s}, nil, channelsapi.StrictGinServerOptions{
		RequestErrorHandlerFunc:  s.failBinding,
		HandlerErrorFunc:         s.fail,
		ResponseErrorHandlerFunc: s.failWriting,
	})
	channelsapi.RegisterHandlersWithOptions(e, strict, channelsapi.GinServerOptions{
		Middlewares:  []channelsapi.MiddlewareFunc{s.admit},
		ErrorHandler: s.failParameter,
	})
	e.GET("/v1/polls/:poll/log/tile/*tile", s.getTile)
	plain.New(plain.Deps{
		API: e, Captchas: s.captchas, Tokens: s.deps.Tokens, Clock: s.clock, Client: client, Limit: s.limit, Secure: s.secure(),
		Sealed: func(poll string) { s.metrics.sealed.WithLabelValues(poll).Inc() },
	}).Register(e)
	e.POST(csp.Path, s.takeReport)
	e.GET("/problems/", s.problemIndex)
	e.GET("/problems/:code", s.problemPage)
	return e, nil
}

// api implements the generated strict server; its methods are in one file per resource.
type api struct{ *Server }

var _ channelsapi.StrictServerInterface = api{}

// trustedProxies insists on an explicit choice.
func trustedProxies(configured []string) ([]string, error) {
	switch {
	case len(configured) == 0:
		return nil, errors.New(`couldn't start without trusted_proxies: list the proxies' addresses, or say "none" where clients connect directly`)
	case len(configured) == 1 && configured[0] == "none":
		return nil, nil
	}
	return configured, nil
}

// client is the address that a request is counted by.
func client(c *gin.Context) netip.Addr {
	addr, _ := netip.ParseAddr(c.ClientIP())
	return addr
}

// routed returns the router's context of a request handled by the generated stub.
func routed(ctx context.Context) *gin.Context { return ctx.(*gin.Context) }
