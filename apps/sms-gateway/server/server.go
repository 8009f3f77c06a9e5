// Package server takes what voters text and leaves it on the verification board. It sees phone
// numbers and one-time texts, and writes neither anywhere: only their keyed hash goes further.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/verification"
)

const (
	// maxText is far above ten concatenated parts, 1,530 characters.
	maxText = 8 << 10
	// maxNumber is E.164's fifteen digits and the plus.
	maxNumber = 16
	// maxProviderID is the longest id of a message that any provider is known to use, twice over.
	maxProviderID = 128
)

// Config is how the gateway listens. The zero value works.
type Config struct {
	// HeardTTL is how long an arrived SMS is remembered; 0 means 15 minutes. It must be longer than
	// a voter may take from texting to being told, or a voter whose page was asleep texts again.
	HeardTTL time.Duration
}

// Deps are what the gateway works with.
type Deps struct {
	Board   verification.Hearer
	Secrets keyring.Secrets
	// Clock gives a message without a time of arrival one.
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Server is the receiving half of the gateway. Safe for concurrent use.
type Server struct {
	config  Config
	deps    Deps
	counted *counted
	inbound *prometheus.CounterVec
	behind  prometheus.Histogram
}

var _ sms.Receiver = (*Server)(nil)

// The outcomes of an inbound message, as the metric names them.
const (
	outcomeHeard   = "heard"
	outcomeAgain   = "again"
	outcomeNoText  = "no_text"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

// New returns a gateway, with its metrics registered.
func New(config Config, deps Deps) *Server {
	if config.HeardTTL == 0 {
		config.HeardTTL = 15 * time.Minute
	}
	s := &Server{
		config:  config,
		deps:    deps,
		counted: newCounted(),
		inbound: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_inbound_total",
			Help: "SMS from voters: heard, again (the same message, which changed nothing), no_text (nothing in it looks like a one-time text), refused, failed (the provider is to send it again).",
		}, []string{"outcome"}),
		behind: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "popvote_sms_inbound_delay_seconds",
			Help:    "From an SMS's arrival at the network to its being on the board.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	for _, outcome := range []string{outcomeHeard, outcomeAgain, outcomeNoText, outcomeRefused, outcomeFailed} {
		s.inbound.WithLabelValues(outcome) // alarms need the zero
	}
	deps.Metrics.MustRegister(s.inbound, s.behind)
	return s
}

// Receive implements sms.Receiver. Whatever the body may mean goes on the board under the sender's
// number, so an SMS with a wrong text or from a wrong phone meets nobody. The same message again
// finds its own record and changes nothing; its id is kept for the figures alone. An error other than
// sms.ErrRefused means that the board didn't take it, and that the provider should bring it again.
func (s *Server) Receive(ctx context.Context, in sms.Inbound) error {
	outcome, err := s.receive(ctx, in)
	s.inbound.WithLabelValues(outcome).Inc()
	return err
}

func (s *Server) receive(ctx context.Context, in sms.Inbound) (outcome string, err error) {
	if err := plausible(in); err != nil {
		return outcomeRefused, err
	}
	texts := sms.Texts(in.Text)
	if len(texts) == 0 {
		// Nothing to tell anybody: what people text to a published number is not our business.
		return outcomeNoText, nil
	}
	secret, err := s.deps.Secrets.Secret(ctx, keyring.Verification, "")
	if err != nil {
		return outcomeFailed, fmt.Errorf("couldn't get the verification key: %w", err)
	}
	now := s.deps.Clock()
	at := in.ReceivedAt
	if at.IsZero() || at.After(now) {
		at = now // a network's clock that runs ahead must not make an SMS late
	}
	for _, text := range texts {
		if err := s.deps.Board.Heard(ctx, verification.KeyOf(secret, in.From, text), at, s.config.HeardTTL); err != nil {
			return outcomeFailed, fmt.Errorf("couldn't put the SMS on the board: %w", err)
		}
	}
	if s.counted.again(in) {
		return outcomeAgain, nil
	}
	s.behind.Observe(s.deps.Clock().Sub(at).Seconds())
	s.deps.Log.DebugContext(ctx, "heard an SMS", slog.Int("candidates", len(texts)))
	return outcomeHeard, nil
}

func plausible(in sms.Inbound) error {
	from := in.From.Reveal()
	switch {
	case len(in.Text) > maxText:
		return fmt.Errorf("%w: its text has %d bytes", sms.ErrRefused, len(in.Text))
	case len(from) < 2 || len(from) > maxNumber || from[0] != '+':
		return fmt.Errorf("%w: its sender is not a number in E.164", sms.ErrRefused)
	case len(in.To.Reveal()) > maxNumber:
		return fmt.Errorf("%w: its receiver is not a number", sms.ErrRefused)
	case len(in.ProviderID) > maxProviderID:
		return fmt.Errorf("%w: its id has %d bytes", sms.ErrRefused, len(in.ProviderID))
	}
	return nil
}
