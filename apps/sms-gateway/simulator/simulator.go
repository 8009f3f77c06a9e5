// Package simulator is a phone network that isn't: a page and a JSON API in the place of a handset,
// so that a whole vote can be tried on one machine without a single SMS being paid for. Whoever can
// reach it can text from any number, so it refuses to exist anywhere but where it was asked for, in a
// process that listens on loopback alone, or in networks that were named as of nobody else.
package simulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/sms"
)

// ErrNotEmbedded is a simulated phone network where real voters might be.
var ErrNotEmbedded = errors.New("the simulated phone network works only where it is asked for, on loopback addresses or in networks that were named")

// ErrLate is a message whose deadline has passed.
var ErrLate = errors.New("the message's deadline has passed")

// Config is the network.
type Config struct {
	// Embedded says that somebody asked for it: by running everything in one process (popvote up), or
	// by -simulate. Must be true.
	Embedded bool
	// Addresses are all addresses the process listens on, public ones and this one, and where it has
	// the verification board. Each must be loopback, or in Networks; else anybody on the network could
	// verify with anybody's number, or anybody here for voters elsewhere.
	Addresses []string
	// Networks are those besides loopback where only whoever tries things out is; usually none.
	Networks []netip.Prefix
	// InboundNumber is what voters text to, in E.164 or a short code: only that reaches the
	// gateway, and it is what the page starts with.
	InboundNumber sms.Number
	// Region is where numbers without a country code are, ISO 3166-1 alpha-2; empty means "HK".
	Region string
	// Handsets is how many numbers' messages are kept; 0 means 20,000. Beyond that the handset
	// that has been silent longest is emptied.
	Handsets int
}

// Deps are what the network works with.
type Deps struct {
	// Receiver is the gateway.
	Receiver sms.Receiver
	Clock    func() time.Time
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// Simulator is the network: it takes what the simulated handset sends to the gateway, and shows the
// handset what the gateway sends. Safe for concurrent use.
type Simulator struct {
	config   Config
	deps     Deps
	messages *prometheus.CounterVec

	mu sync.Mutex
	// guarded by mu
	handsets *shelf
}

var _ sms.Sender = (*Simulator)(nil)

// Message is one SMS, as the page and GET /sms show it.
type Message struct {
	// ID is the same for the same message.
	ID string `json:"id"`
	// From and To are in E.164.
	From string `json:"from"`
	To   string `json:"to"`
	Text string `json:"text"`
	// Call says that the text was spoken in a call.
	Call bool `json:"call,omitempty"`
	// At is when the network took it, in UTC.
	At time.Time `json:"at"`
	// Number grows from message to message, also when the network is started anew: it says which
	// of two came later, and where to go on after a lost connection. 0 on what was sent.
	Number int64 `json:"number,omitempty"`
}

// New returns a network, or ErrNotEmbedded with what is wrong.
func New(config Config, deps Deps) (*Simulator, error) {
	if !config.Embedded {
		return nil, fmt.Errorf("%w: it was not asked for here", ErrNotEmbedded)
	}
	if len(config.Addresses) == 0 {
		return nil, fmt.Errorf("%w: it is not known where this process listens", ErrNotEmbedded)
	}
	for _, address := range config.Addresses {
		if !config.Near(address) {
			return nil, fmt.Errorf("%w: this process is at %s", ErrNotEmbedded, address)
		}
	}
	if config.Region == "" {
		config.Region = "HK"
	}
	if config.Handsets == 0 {
		config.Handsets = 20_000
	}
	s := &Simulator{
		config:   config,
		deps:     deps,
		handsets: newShelf(config.Handsets, deps.Clock().UnixMicro()),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_simulated_total",
			Help: "SMS through the simulated phone network, by direction: in (from the handset) and out (to it).",
		}, []string{"direction"}),
	}
	deps.Metrics.MustRegister(s.messages)
	deps.Log.Warn("the phone network is simulated: whoever reaches it can text from any number")
	return s, nil
}

// Near is whether only those who try things out are at an address, host:port.
func (c *Config) Near(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || slices.ContainsFunc(c.Networks, func(n netip.Prefix) bool { return n.Contains(ip.Unmap()) }))
}

// Send implements sms.Sender: the message is on the handset when it returns. The same id again is
// the same message.
func (s *Simulator) Send(_ context.Context, m sms.Message) error {
	now := s.deps.Clock()
	if !m.Deadline.IsZero() && now.After(m.Deadline) {
		return fmt.Errorf("couldn't send the message: %w", ErrLate)
	}
	s.deliver(Message{ID: m.ID, From: s.config.InboundNumber.Reveal(), To: m.To.Reveal(), Text: m.Text, Call: m.Kind == sms.ByCall, At: now.UTC()})
	return nil
}

// deliver puts a message on its handset.
func (s *Simulator) deliver(m Message) {
	s.mu.Lock()
	added := s.handsets.add(m)
	s.mu.Unlock()
	if added {
		s.messages.WithLabelValues("out").Inc()
	}
}

// text sends a message from a handset: to the gateway, or to another handset.
func (s *Simulator) text(ctx context.Context, from, to sms.Number, text string) (Message, error) {
	now := s.deps.Clock().UTC()
	m := Message{ID: rand.Text(), From: from.Reveal(), To: to.Reveal(), Text: text, At: now}
	s.messages.WithLabelValues("in").Inc()
	if to != s.config.InboundNumber {
		s.deliver(m)
		return m, nil
	}
	err := s.deps.Receiver.Receive(ctx, sms.Inbound{From: from, To: to, Text: text, ReceivedAt: now, ProviderID: m.ID})
	if err != nil {
		return Message{}, fmt.Errorf("couldn't deliver the SMS: %w", err)
	}
	return m, nil
}

// number reads a number as people type it. The number that voters text to may be a short code, which
// is no phone's number.
func (s *Simulator) number(typed string) (sms.Number, error) {
	if dial(typed) == dial(s.config.InboundNumber.Reveal()) {
		return s.config.InboundNumber, nil
	}
	return identity.ParsePhone(typed, s.config.Region)
}

// dial is what is dialled of a number: its digits.
func dial(typed string) string {
	digits := make([]byte, 0, len(typed))
	for i := range len(typed) {
		switch c := typed[i]; {
		case c >= '0' && c <= '9', c == '+' && len(digits) == 0:
			digits = append(digits, c)
		case c == ' ', c == '-', c == '(', c == ')':
		default:
			return typed
		}
	}
	return string(digits)
}
