// Package server is the control panel: the page operators work in, and the JSON API behind it. It
// reaches polls only through ballotapi.Admin and never opens a database.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/apps/control-panel/page"
	"github.com/popvote/popvote/libs/ballotapi"
)

// Config is the panel's values.
type Config struct {
	// PublicOrigin is where operators open the panel, e.g. "http://127.0.0.1:8081". Required. With
	// https the session cookie is Secure and carries the __Host- prefix, and HSTS is sent.
	PublicOrigin string `koanf:"public_origin"`
	// LinkTTL is how long an unused log-in link works; default 12h.
	LinkTTL time.Duration `koanf:"link_ttl"`
	// SessionIdle ends a session without a request or an open stream; default 12h.
	SessionIdle time.Duration `koanf:"session_idle"`
	// SessionMax ends every session, busy or not; default 14 days, as long as the longest poll.
	SessionMax time.Duration `koanf:"session_max"`
	// StatsEvery is how often a watched poll is read, once for all who watch; default 1s.
	StatsEvery time.Duration `koanf:"stats_every"`
	// PartsEvery is how often the state of the parts is read while anybody watches; default 5s.
	PartsEvery time.Duration `koanf:"parts_every"`
	// RequirePasskey refuses what changes a poll, the clouds or who may enter to sessions without a passkey; default
	// false, which is for a machine of one's own. Sessions with one always confirm these by it.
	RequirePasskey bool `koanf:"require_passkey"`
	// OperatorsNeeded is how many operators it takes to open, close, extend and publish a poll and to destroy its
	// identity key: 1, the default, or 2, each with a passkey of their own.
	OperatorsNeeded int `koanf:"operators_needed"`
	// Drills is the directory into which popvote drill writes its reports; empty: none are shown.
	Drills string `koanf:"drills"`
}

// Deps is what the panel works with.
type Deps struct {
	Admin ballotapi.Admin
	// Parts says how every part of the system is; it must return promptly. Nil: only the ballot
	// server is shown. Safe for concurrent use.
	Parts func(ctx context.Context) []Part
	// Clouds are shown and changed; nil where nobody knows of any.
	Clouds Clouds
	// Gateways asks every SMS gateway how its routes do, and must return promptly; nil where none is to be asked. Safe
	// for concurrent use.
	Gateways func(ctx context.Context) []Gateway
	// Page serves the operators' page; nil for the embedded one.
	Page    http.Handler
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Server is the control panel.
type Server struct {
	admin          ballotapi.Admin
	parts          func(ctx context.Context) []Part
	clouds         Clouds // nil where nobody knows of any
	deeds          deeds
	gateways       func(ctx context.Context) []Gateway // nil where none is to be asked
	drills         string                              // empty for none
	clock          func() time.Time
	log            *slog.Logger
	origin         string
	sessions       *sessions
	live           *live
	requirePasskey bool
	needed         int
	joint          map[string]gin.HandlerFunc // what takes as many operators, by verb
	book           *operators.Book
	rp             *webauthn.WebAuthn // nil where the origin can have no passkeys
	pending        ceremonies
	refusals       refusalLog
	counts         counts
	handler        http.Handler
	metrics        metrics

	// ctx ends with Close: counts under way and streams stop with it, never with one operator's tab.
	ctx  context.Context
	stop context.CancelFunc
}

// New makes the panel and its first log-in link.
func New(config Config, deps Deps) (*Server, error) {
	origin, err := url.Parse(config.PublicOrigin)
	if err != nil || (origin.Scheme != "http" && origin.Scheme != "https") || origin.Host == "" ||
		(origin.Path != "" && origin.Path != "/") || origin.RawQuery != "" || origin.Fragment != "" {
		return nil, fmt.Errorf("couldn't use public_origin %q: it must be scheme://host[:port]", config.PublicOrigin)
	}
	if deps.Admin == nil || deps.Clock == nil || deps.Log == nil {
		return nil, errors.New("couldn't make the control panel: Admin, Clock and Log are required")
	}
	if deps.Page == nil {
		if deps.Page, err = page.Handler(); err != nil {
			return nil, fmt.Errorf("couldn't load the panel's page: %w", err)
		}
	}
	s := &Server{
		admin:          deps.Admin,
		parts:          deps.Parts,
		clouds:         deps.Clouds,
		gateways:       deps.Gateways,
		drills:         config.Drills,
		clock:          deps.Clock,
		log:            deps.Log,
		origin:         origin.Scheme + "://" + origin.Host,
		sessions:       newSessions(config, deps.Clock),
		requirePasskey: config.RequirePasskey,
		needed:         max(1, config.OperatorsNeeded),
		pending:        ceremonies{clock: deps.Clock, of: map[string]*ceremony{}},
		metrics:        newMetrics(deps.Metrics),
	}
	s.book = operators.NewBook(deps.Admin, func(n operators.Notice) { s.metrics.notices.WithLabelValues(n.Kind).Add(float64(n.Times)) })
	if s.rp, err = relyingParty(origin); err != nil {
		return nil, fmt.Errorf("couldn't use public_origin %q for passkeys: %w", config.PublicOrigin, err)
	}
	if config.OperatorsNeeded < 0 || config.OperatorsNeeded > 2 || s.needed > 1 && s.rp == nil {
		return nil, fmt.Errorf("couldn't have %d operators decide together: it is 1 or 2, and 2 need passkeys, for which public_origin has to be a name, with https or as localhost", config.OperatorsNeeded)
	}
	s.joint = map[string]gin.HandlerFunc{"extend": s.extend, "destroy-key": s.destroyKey}
	for _, m := range moves {
		if m.two {
			s.joint[m.verb] = s.move(m)
		}
	}
	if s.rp == nil && s.requirePasskey {
		return nil, fmt.Errorf("couldn't require passkeys: at %q there can be none: public_origin has to be a name, with https or as localhost", config.PublicOrigin)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.live = newLive(s.ctx, s, or(config.StatsEvery, time.Second), or(config.PartsEvery, 5*time.Second))
	go s.follow(or(config.PartsEvery, 5*time.Second))
	s.handler = s.routes(origin.Scheme == "https", deps.Page)
	return s, nil
}

// Handler serves the page and its API.
func (s *Server) Handler() http.Handler { return s.handler }

// LoginLink makes a fresh log-in link, and the unused one before it void. The secret is in the
// fragment, which browsers send to nobody, so that it reaches no log on the way.
//
// Once an operator has a passkey, no link is made: what comes back is where to sign in with it.
func (s *Server) LoginLink() string {
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	// A ballot server that is away is no reason to print nothing: whether the link is taken is decided when it is used.
	if state, err := s.book.Read(ctx); err == nil && state.InUse() {
		return s.origin + "/"
	}
	return s.linkTo(s.sessions.invite())
}

func (s *Server) linkTo(secret string) string { return LinkTo(s.origin, secret) }

// LogsIn says whether what LoginLink returned is a link that logs in.
func LogsIn(link string) bool { return strings.Contains(link, linkMark) }

const linkMark = "/#login="

// LinkTo is the address that hands a log-in link's secret to the panel of an origin.
func LinkTo(origin, secret string) string { return origin + linkMark + secret }

// Close ends every stream and every count under way.
func (s *Server) Close() { s.stop() }

func (s *Server) routes(https bool, pages http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.HandleMethodNotAllowed = true
	g.ContextWithFallback = true
	// Nothing of a client's address is used here; believing headers about it would be a trap.
	_ = g.SetTrustedProxies(nil)
	g.Use(s.recovered)

	api := g.Group("/api", s.private)
	api.POST("/login", s.logIn)
	api.GET("/sign-in", s.howToSignIn)
	api.POST("/sign-in", s.signIn)
	api.POST("/sign-in/begin", s.beginSignIn)
	begun := api.Group("", s.loggedIn)
	begun.GET("/session", s.whoAmI)
	begun.POST("/logout", s.logOut)
	begun.POST("/passkeys", s.provedMore, s.addPasskey)
	begun.POST("/passkeys/begin", s.beginPasskey)
	in := begun.Group("", s.whole)
	in.POST("/acts", s.beginAct)
	if s.needed > 1 {
		in.GET("/proposals", s.listProposals)
		in.POST("/proposals/confirm", s.proved, s.confirmProposal)
		in.POST("/proposals/withdraw", s.withdrawProposal)
	}
	in.GET("/notices", s.listNotices)
	in.POST("/notices/seen", s.seeNotices)
	in.GET("/passkeys", s.listPasskeys)
	in.POST("/passkeys/remove", s.proved, s.removePasskey)
	in.POST("/links", s.proved, s.makeLink)
	in.GET("/overview", s.overview)
	in.GET("/live", s.stream)
	in.POST("/drafts/check", s.checkDraft)
	in.POST("/drafts", s.saveDraft)
	one := in.Group("/polls/:poll")
	one.GET("", s.showPoll)
	one.GET("/stats", s.showStats)
	one.GET("/audit", s.showAudit)
	one.GET("/audit.csv", s.auditCSV)
	one.GET("/result", s.showResult)
	one.GET("/result.json", s.resultJSON)
	one.GET("/result.csv", s.resultCSV)
	one.GET("/result.nist.json", s.resultNIST)
	one.GET("/certificate.json", s.certificate)
	one.GET("/bundle.zip", s.bundle)
	one.GET("/turnout.csv", s.turnoutCSV)
	for _, move := range moves {
		if s.joint[move.verb] == nil {
			one.POST("/"+move.verb, s.proved, s.move(move))
		}
	}
	for verb, do := range s.joint {
		one.POST("/"+verb, s.proved, s.jointly(verb), do)
	}
	one.POST("/count", s.proved, s.count)
	if s.clouds != nil {
		for path := range cloudDeeds {
			in.POST(path, s.proved, s.changeClouds(path))
		}
	}
	if s.drills != "" {
		in.GET("/drills", s.listDrills)
		in.GET("/drills/:run", s.showDrill)
	}

	g.NoRoute(func(c *gin.Context) {
		if isAPI(c.Request.URL.Path) {
			s.private(c)
			s.fail(c, errNotFound)
			return
		}
		// Gin has put down 404 already; the page says for itself what is found.
		c.Status(http.StatusOK)
		pages.ServeHTTP(c.Writer, c.Request)
	})
	g.NoMethod(func(c *gin.Context) { s.private(c); s.fail(c, errMethod) })

	return headers(https, s.sameOrigin(g))
}

func or(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}
