// Package probe is a synthetic voter: it goes a voter's way through the public face again and again, and says
// how far it comes.
//
// What counts gets no vote of it. In a poll for tests, which says in its manifest that it is none that counts,
// it votes as people do; everywhere else it goes as far as an identity number that nobody has, which must be
// refused.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Edge is a way in. An empty address is where the origin's name leads.
type Edge struct{ Name, Address string }

// Config is what a prober does.
type Config struct {
	// Origin is what voters' browsers are given, such as https://vote.example.org.
	Origin *url.URL
	// Roots are who may have signed the certificate there; nil are the machine's.
	Roots *x509.CertPool
	// Poll is a poll for tests to vote in; empty for none.
	Poll string
}

// Deps are what a prober works with.
type Deps struct {
	// Edges are asked for before each round: machines come and go.
	Edges func() ([]Edge, error)
	// Phones are the origins of simulated phones to vote with, asked for as often; unused without a poll. A real
	// phone's number would be somebody's.
	Phones  func() ([]string, error)
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Prober probes.
type Prober struct {
	config Config
	deps   Deps

	edges     prometheus.Gauge
	success   *prometheus.GaugeVec
	expiry    *prometheus.GaugeVec
	durations *prometheus.HistogramVec
	failures  *prometheus.CounterVec
}

// New makes a prober.
func New(c Config, d Deps) *Prober {
	p := &Prober{
		config: c, deps: d,
		edges: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "popvote", Subsystem: "prober", Name: "edges", Help: "Edges that were probed in the last round; 0 means that none is known.",
		}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "popvote", Subsystem: "prober", Name: "last_success_timestamp_seconds", Help: "When a synthetic voter last came through, by edge.",
		}, []string{"edge"}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "popvote", Subsystem: "prober", Name: "certificate_expiry_timestamp_seconds", Help: "When the certificate that voters see ends, by edge.",
		}, []string{"edge"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "popvote", Subsystem: "prober", Name: "step_duration_seconds", Help: "What each step of a synthetic voter took that succeeded, by edge and step.",
			Buckets: prometheus.DefBuckets,
		}, []string{"edge", "step"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "popvote", Subsystem: "prober", Name: "failures_total", Help: "Synthetic voters who did not come through, by edge, the step that failed and why: a problem code, or no_connection, certificate, timeout, answer.",
		}, []string{"edge", "step", "code"}),
	}
	d.Metrics.MustRegister(p.edges, p.success, p.expiry, p.durations, p.failures)
	return p
}

// Run probes every edge at once, and again each interval, until the context ends.
func (p *Prober) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if _, err := p.Round(ctx); err != nil && ctx.Err() == nil {
			p.deps.Log.LogAttrs(ctx, slog.LevelError, "nothing was probed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Round probes every edge once. Its error is that there is none to probe.
func (p *Prober) Round(ctx context.Context) ([]*Walk, error) {
	edges, err := p.deps.Edges()
	if err == nil && len(edges) == 0 {
		err = errors.New("no edge is known")
	}
	p.edges.Set(float64(len(edges)))
	if err != nil {
		return nil, err
	}
	walks := make([]*Walk, len(edges))
	var all sync.WaitGroup
	for i, e := range edges {
		all.Go(func() { walks[i] = p.walk(ctx, e) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err() // what was cut short says nothing of the edge
	}
	for _, w := range walks {
		p.note(ctx, w)
	}
	return walks, nil
}

// note says how a walk went.
func (p *Prober) note(ctx context.Context, w *Walk) {
	for _, s := range w.Steps {
		p.durations.WithLabelValues(w.Edge, string(s.Step)).Observe(s.Seconds)
	}
	if !w.expires.IsZero() {
		p.expiry.WithLabelValues(w.Edge).Set(float64(w.expires.Unix()))
	}
	if w.Err == nil {
		p.success.WithLabelValues(w.Edge).SetToCurrentTime()
		return
	}
	p.failures.WithLabelValues(w.Edge, string(w.Failed), w.Code).Inc()
	p.deps.Log.LogAttrs(ctx, slog.LevelWarn, "a synthetic voter did not come through", slog.String("edge", w.Edge),
		slog.String("step", string(w.Failed)), slog.String("code", w.Code), slog.Any("error", w.Err))
}

// connect makes one connection as a browser does, and keeps when the certificate ends.
func (v *visit) connect(ctx context.Context) error {
	conn, err := v.dial(ctx, "tcp", origin(v.config.Origin))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it was only to be made
	if v.config.Origin.Scheme != "https" {
		return nil
	}
	secure := tls.Client(conn, v.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("couldn't agree on TLS: %w", err)
	}
	v.walk.expires = secure.ConnectionState().PeerCertificates[0].NotAfter
	return nil
}

func (v *visit) tls() *tls.Config {
	return &tls.Config{RootCAs: v.config.Roots, ServerName: v.config.Origin.Hostname(), MinVersion: tls.VersionTLS12}
}

// transport reaches the edge and nobody else, whatever name a request is for.
func (v *visit) transport() *http.Transport {
	return &http.Transport{DialContext: v.dial, TLSClientConfig: v.tls(), ForceAttemptHTTP2: true}
}

// origin is the host and port of an origin.
func origin(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
}
