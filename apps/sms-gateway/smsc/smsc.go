// Package smsc is an SMSC that isn't: it speaks SMPP 3.4, keeps what it is sent for tests to read, sends
// receipts and what voters text, and misbehaves in whatever way it is told to. Nothing it takes reaches a
// phone.
package smsc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
)

// maxInbox is how many messages are kept; beyond that the oldest goes.
const maxInbox = 20_000

// Config is the SMSC.
type Config struct {
	// SystemID and Password are whom it lets in.
	SystemID, Password string
	// RetryAfter is how long it waits before it brings a message again that was not taken; 0 means 1 s.
	RetryAfter time.Duration
	// AnswerWithin is how long it waits for an answer; 0 means 10 s.
	AnswerWithin time.Duration
}

// Deps are what it works with.
type Deps struct {
	Clock func() time.Time
	Log   *slog.Logger
}

// Faults are how it misbehaves; the zero value is a good SMSC.
type Faults struct {
	// Throttle refuses every how manieth submit_sm with ESME_RTHROTTLED; 1 is all.
	Throttle int `json:"throttle,omitempty"`
	// Status refuses every submit_sm with it.
	Status uint32 `json:"status,omitempty"`
	// DelayMin and DelayMax are between what its answers are late, in milliseconds, evenly.
	DelayMin int `json:"delay_min_ms,omitempty"`
	DelayMax int `json:"delay_max_ms,omitempty"`
	// Lose takes messages that then reach nobody, and sends no receipt.
	Lose bool `json:"lose,omitempty"`
	// Silent takes messages, and never answers.
	Silent bool `json:"silent,omitempty"`
	// DuplicateReceipts sends each twice.
	DuplicateReceipts bool `json:"duplicate_receipts,omitempty"`
	// ReorderReceipts sends a word of its way after the word of its arrival.
	ReorderReceipts bool `json:"reorder_receipts,omitempty"`
	// Garbage is what comes before each answer to a submit_sm: GarbageCommand, GarbageBody or GarbageLength.
	Garbage string `json:"garbage,omitempty"`
	// DisconnectEvery closes the connection at every how manieth submit_sm, unanswered.
	DisconnectEvery int `json:"disconnect_every,omitempty"`
	// DecimalReceipts names messages in receipts by the decimal of their id, which is hexadecimal.
	DecimalReceipts bool `json:"decimal_receipts,omitempty"`
	// OptionReceipts says in options what else a receipt's text says.
	OptionReceipts bool `json:"option_receipts,omitempty"`
}

// The kinds of garbage.
const (
	GarbageCommand = "command" // a command that there is not
	GarbageBody    = "body"    // a deliver_sm that ends in the middle
	GarbageLength  = "length"  // a length that no PDU has, after which nothing can be read
)

// Message is a message that it was sent, whole.
type Message struct {
	ID   string `json:"id"`
	From string `json:"from"`
	To   string `json:"to"`
	Text string `json:"text"`
	// Coding is data_coding, Validity validity_period, Parts of how many it was.
	Coding   byte      `json:"coding"`
	Validity string    `json:"validity,omitempty"`
	Parts    int       `json:"parts"`
	At       time.Time `json:"at"`
}

// Stats count what happened.
type Stats struct {
	Binds, Unbinds, Submits, Refused, Enquiries, Nacks int
	// Brought counts deliver_sm, each time; Taken those that were answered with ESME_ROK, Rejected
	// with a status that asks not to come again.
	Brought, Taken, Rejected int
	// Strays are answers to what was not asked, or was answered before.
	Strays int
	// Outstanding is how many submit_sm waited for an answer on one connection at most.
	Outstanding int
}

// SMSC is one. Safe for concurrent use.
type SMSC struct {
	config Config
	deps   Deps
	// life ends with Serve; what is being delivered is done by running.
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex
	// guarded by mu
	faults   Faults
	stats    Stats
	inbox    []Message
	parts    map[string]map[byte][]byte
	last     uint64
	sessions map[*session]bool
	closed   bool
}

// ErrEnded is an SMSC that serves no more.
var ErrEnded = errors.New("the SMSC has ended")

// New returns an SMSC that serves nobody yet.
func New(config Config, deps Deps) *SMSC {
	if config.RetryAfter == 0 {
		config.RetryAfter = time.Second
	}
	if config.AnswerWithin == 0 {
		config.AnswerWithin = 10 * time.Second
	}
	s := &SMSC{config: config, deps: deps, parts: map[string]map[byte][]byte{}, last: 0xA0F, sessions: map[*session]bool{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Serve takes connections until the context ends, and closes the listener. It serves once.
func (s *SMSC) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			s.closed = true
			s.mu.Unlock()
			s.end()
			s.Disconnect()
			s.running.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("couldn't take connections: %w", err)
		}
		c := &session{smsc: s, conn: conn, ended: make(chan struct{}), waiting: map[int32]chan data.CommandStatusType{}}
		if !s.start(func() { c.serve() }) {
			_ = conn.Close() // nobody is there any more
		}
	}
}

// start runs something that Serve waits for.
func (s *SMSC) start(do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(do)
	return true
}

// Disconnect closes every connection, as it is.
func (s *SMSC) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		_ = c.conn.Close() // it may be closed
	}
}

// SetFaults makes it misbehave, from the next PDU on.
func (s *SMSC) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Faults are how it misbehaves now.
func (s *SMSC) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Stats are what happened so far.
func (s *SMSC) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *SMSC) count(add func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.stats)
}

// Inbox is what arrived, oldest first.
func (s *SMSC) Inbox() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message{}, s.inbox...)
}

// Empty forgets what arrived.
func (s *SMSC) Empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox = nil
}

// Text sends a text from a phone to whoever is bound, and brings it until it is taken.
func (s *SMSC) Text(from, to, text string) error {
	encoded := wire.Encode(text)
	place := wire.Part{Total: byte(min(len(encoded.Segments), 255))}
	if len(encoded.Segments) > 255 {
		return fmt.Errorf("couldn't send a text of %d parts", len(encoded.Segments))
	}
	s.mu.Lock()
	s.last++
	place.Ref = uint16(s.last) //nolint:gosec // it goes round
	s.mu.Unlock()
	for i, segment := range encoded.Segments {
		place.Number = byte(i + 1)
		d := pdu.NewDeliverSM().(*pdu.DeliverSM)
		d.SourceAddr, d.DestAddr = address(from), address(to)
		if err := d.Message.SetMessageDataWithEncoding(segment, encoded.Encoding); err != nil {
			return fmt.Errorf("couldn't write a text: %w", err)
		}
		if place.Total > 1 {
			d.EsmClass |= wire.UserDataHeader
			d.Message.SetUDH(place.Header())
		}
		if !s.start(func() { s.bring(d) }) {
			return ErrEnded
		}
	}
	return nil
}

func address(number string) pdu.Address {
	digits, kind := number, data.GSM_TON_UNKNOWN
	if number != "" && number[0] == '+' {
		digits, kind = number[1:], data.GSM_TON_INTERNATIONAL
	}
	a, err := pdu.NewAddressWithTonNpiAddr(kind, data.GSM_NPI_E164, digits)
	if err != nil {
		return pdu.NewAddress()
	}
	return a
}

// bring delivers to anybody bound who hears, until it is taken, refused for good, or nobody serves.
func (s *SMSC) bring(d *pdu.DeliverSM) {
	for s.life.Err() == nil {
		if c := s.listening(); c != nil {
			switch status, ok := c.deliver(d); {
			case ok && status == data.ESME_ROK:
				s.count(func(t *Stats) { t.Taken++ })
				return
			case ok && (status == data.ESME_RX_R_APPN || status == data.ESME_RX_P_APPN):
				s.count(func(t *Stats) { t.Rejected++ })
				return
			}
		}
		again := time.NewTimer(s.config.RetryAfter)
		select {
		case <-again.C:
		case <-s.life.Done():
			again.Stop()
		}
	}
}

// listening is a session that hears; nil if there is none.
func (s *SMSC) listening() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, hears := range s.sessions {
		if hears {
			return c
		}
	}
	return nil
}

// take keeps what a submit_sm holds, under a new id.
func (s *SMSC) take(m wire.Short, keep bool) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id = strconv.FormatUint(s.last, 16)
	if !keep {
		return id
	}
	octets, parts := m.Data, 1
	if m.Part.Total > 1 {
		key := fmt.Sprint(m.Source.Address(), m.Dest.Address(), m.Part.Ref, m.Part.Total)
		if s.parts[key] == nil {
			s.parts[key] = map[byte][]byte{}
		}
		s.parts[key][m.Part.Number] = m.Data
		if parts = len(s.parts[key]); parts < int(m.Part.Total) {
			return id
		}
		octets = nil
		for i := range m.Part.Total {
			octets = append(octets, s.parts[key][i+1]...)
		}
		delete(s.parts, key)
	}
	if len(s.inbox) == maxInbox {
		s.inbox = s.inbox[1:]
	}
	s.inbox = append(s.inbox, Message{
		ID: id, From: m.Source.Address(), To: "+" + m.Dest.Address(), Text: wire.Decode(m.Coding, octets),
		Coding: m.Coding, Validity: m.Validity, Parts: parts, At: s.deps.Clock().UTC(),
	})
	return id
}
