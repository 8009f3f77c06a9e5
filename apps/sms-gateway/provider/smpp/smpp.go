// Package smpp is a provider that speaks SMPP 3.4 with an SMSC: an operator's, or an aggregator's. It
// keeps one session bound (or two), sends with a window that never makes anybody wait, and brings what
// voters text and what became of our messages.
package smpp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/libs/sms"
)

// ErrNotBound is a provider without a session.
var ErrNotBound = errors.New("not bound to the SMSC")

// Provider is one SMSC. Safe for concurrent use.
type Provider struct {
	config             Config
	deps               provider.Deps
	sender             pdu.Address
	zone               *time.Location
	permanent, blocked []uint32
	// key makes ids of voters' messages, which have none, out of what is in them: whoever reads an id
	// must not be able to try numbers.
	key []byte

	links []*link
	refs  *refs
	parts *parts
	pause pause
	// reference is what the parts of the next long text have in common.
	reference atomic.Uint32
}

var _ provider.Provider = (*Provider)(nil)

// link is one way of being bound, over one session after the other.
type link struct {
	role pdu.BindingType

	mu sync.Mutex
	// guarded by mu; current is nil while there is none, and why then says why.
	current *session
	why     error
}

// New returns a provider that is not bound yet: Run does that.
func New(config Config, deps provider.Deps) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{config: config.filled(), deps: deps, key: make([]byte, 32), refs: newRefs(maxRefs), parts: newParts()}
	_, _ = rand.Read(p.key) // it never fails
	p.reference.Store(mathrand.Uint32())
	var err error
	if p.sender, err = sender(config.Sender); err != nil {
		return nil, err
	}
	if p.zone, err = time.LoadLocation(p.config.ReceiptZone); err != nil {
		return nil, err
	}
	if p.permanent, err = statuses(config.Permanent); err != nil {
		return nil, err
	}
	if p.blocked, err = statuses(config.Blocked); err != nil {
		return nil, err
	}
	for _, role := range map[string][]pdu.BindingType{
		bindTransceiver: {pdu.Transceiver}, bindTransmitter: {pdu.Transmitter}, bindReceiver: {pdu.Receiver},
		bindBoth: {pdu.Transmitter, pdu.Receiver},
	}[p.config.Bind] {
		p.links = append(p.links, &link{role: role, why: ErrNotBound})
	}
	return p, nil
}

// Run binds, and binds again whenever the session is lost, until the context ends. Then it waits for the
// answers that are under way, unbinds, and returns; nothing of it is left.
func (p *Provider) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range p.links {
		all.Go(func() { p.hold(ctx, l) })
	}
	all.Wait()
}

// Check says whether it is bound, every way it should be, and if not why.
func (p *Provider) Check(context.Context) error {
	for _, l := range p.links {
		l.mu.Lock()
		bound, why := l.current != nil, l.why
		l.mu.Unlock()
		if !bound {
			return fmt.Errorf("the SMSC of %s: %w", p.deps.Name, why)
		}
	}
	return nil
}

func (l *link) set(s *session, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.why = s, why
}

// hold keeps one link bound.
func (p *Provider) hold(ctx context.Context, l *link) {
	log := p.deps.Log.With(slog.String("provider", p.deps.Name))
	waits := backoff{first: p.config.RebindAfter, most: p.config.RebindAtMost}
	for ctx.Err() == nil {
		began := p.deps.Clock()
		s, err := p.bind(ctx, l.role)
		if err == nil {
			log.InfoContext(ctx, "bound to the SMSC")
			l.set(s, nil)
			err = s.run(ctx)
		}
		if ctx.Err() != nil {
			l.set(nil, ErrNotBound)
			return
		}
		l.set(nil, errors.Join(ErrNotBound, err))
		wait := waits.after(p.deps.Clock().Sub(began), errors.Is(err, ErrBind))
		after := wait/2 + mathrand.N(wait/2+1)
		log.WarnContext(ctx, "the SMSC is lost, or can't be had", slog.Any("error", err), slog.Duration("again_after", after))
		timer := time.NewTimer(after)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// backoff is how long to wait before binding again.
type backoff struct{ first, most, last time.Duration }

// after is the next wait: twice the last, unless the session held for longer than that; the longest after
// a refusal.
func (b *backoff) after(held time.Duration, refused bool) time.Duration {
	switch {
	case refused:
		b.last = b.most
	case held > b.last:
		b.last = b.first
	default:
		b.last = min(max(2*b.last, b.first), b.most)
	}
	return b.last
}

// transmitter is the session to send by; nil if there is none.
func (p *Provider) transmitter() *session {
	for _, l := range p.links {
		if l.role == pdu.Receiver {
			continue
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.current
	}
	return nil
}

// Send implements provider.Provider. A text longer than one segment goes out part by part; its receipt is
// the last part's. Once one part is with the SMSC, what fails later is sms.ErrUnknown.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("couldn't submit the SMS: %w: %w", sms.ErrUnavailable, err)
	}
	now := p.deps.Clock()
	validity, ok := validity(m.Deadline, now)
	if !ok {
		return "", fmt.Errorf("couldn't submit the SMS: %w: its deadline has passed", sms.ErrUnavailable)
	}
	to, ok := recipient(m.To)
	if !ok {
		return "", fmt.Errorf("couldn't submit the SMS: %w: it is not in E.164", sms.ErrPermanent)
	}
	text := wire.Encode(m.Text)
	if len(text.Segments) > maxParts {
		return "", fmt.Errorf("couldn't submit the SMS: %w: it has %d parts", sms.ErrUnavailable, len(text.Segments))
	}
	if left := p.pause.left(now); left > 0 {
		return "", fmt.Errorf("couldn't submit the SMS: %w", &sms.Throttled{After: left})
	}
	s := p.transmitter()
	if s == nil {
		return "", fmt.Errorf("couldn't submit the SMS: %w: %w", sms.ErrUnavailable, ErrNotBound)
	}
	place := wire.Part{Ref: uint16(p.reference.Add(1)), Total: byte(len(text.Segments))} //nolint:gosec // it goes round
	var ref string
	for i := range text.Segments {
		place.Number = byte(i + 1)
		submit, err := p.submission(text, place, to, validity)
		if err == nil {
			ref, err = s.submit(ctx, submit, m.To)
		}
		switch {
		case err == nil:
			p.pause.end()
			continue
		case errors.Is(err, sms.ErrThrottled) && !errors.As(err, new(*sms.Throttled)): // the SMSC's word, not our window's
			err = fmt.Errorf("%w: %w", &sms.Throttled{After: p.pause.begin(p.deps.Clock())}, err)
		}
		if i > 0 {
			err = fmt.Errorf("%w: part %d of %d is not out: %s", sms.ErrUnknown, i+1, place.Total, err.Error()) // not wrapped: it is about the part
		}
		return "", err
	}
	return ref, nil
}

// submission is the submit_sm for one part of a text.
func (p *Provider) submission(text wire.Text, place wire.Part, to pdu.Address, validity string) (*pdu.SubmitSM, error) {
	submit := pdu.NewSubmitSM().(*pdu.SubmitSM)
	submit.SourceAddr, submit.DestAddr, submit.ValidityPeriod = p.sender, to, validity
	if err := submit.Message.SetMessageDataWithEncoding(text.Segments[place.Number-1], text.Encoding); err != nil {
		return nil, fmt.Errorf("couldn't write the SMS: %w", sms.ErrUnavailable)
	}
	if place.Number == place.Total {
		submit.RegisteredDelivery = data.SM_SMSC_RECEIPT_REQUESTED
	}
	switch {
	case place.Total == 1:
	case p.config.Long == longSAR:
		for _, f := range place.SAR() {
			submit.RegisterOptionalParam(f)
		}
	default:
		submit.EsmClass |= wire.UserDataHeader
		submit.Message.SetUDH(place.Header())
	}
	return submit, nil
}

// validity is what is left until a deadline, as a relative time (SMPP 3.4, 7.1.1.2): ours and the SMSC's
// clocks need not agree. It is empty without a deadline, and not ok when less than a second is left.
func validity(deadline, now time.Time) (string, bool) {
	if deadline.IsZero() {
		return "", true
	}
	left := min(deadline.Sub(now), 28*24*time.Hour).Truncate(time.Second)
	if left < time.Second {
		return "", false
	}
	day := 24 * time.Hour
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", left/day, left%day/time.Hour, left%time.Hour/time.Minute, left%time.Minute/time.Second), true
}

// receipt passes on what became of a message of ours.
func (p *Provider) receipt(ctx context.Context, m wire.Short) {
	r, ok := readReceipt(m, p.zone)
	if !ok {
		p.deps.Log.WarnContext(ctx, "the SMSC sent a receipt without an id or a state", slog.String("provider", p.deps.Name))
		return
	}
	ref, news := p.refs.find(r.id, r.state != provider.Accepted, m.Source.Address(), m.Dest.Address())
	if !news {
		return
	}
	if r.at.IsZero() {
		r.at = p.deps.Clock()
	}
	p.deps.Receipts.Receipt(ctx, provider.Receipt{Provider: p.deps.Name, Ref: ref, State: r.state, Code: r.code, At: r.at})
}

// inbound brings a voter's message to the receiver, and returns the status for the SMSC: it brings again
// what the receiver did not take.
func (p *Provider) inbound(ctx context.Context, m wire.Short, body []byte) data.CommandStatusType {
	from, ok := voter(m.Source, p.config.Region)
	if !ok {
		return data.ESME_RX_R_APPN // a name, or nobody: there is no phone to meet
	}
	to, now := ours(m.Dest), p.deps.Clock()
	take := func(octets []byte, id string) error {
		return p.deps.Receiver.Receive(ctx, sms.Inbound{From: from, To: to, Text: wire.Decode(m.Coding, octets), ReceivedAt: now, ProviderID: p.idOf(id)})
	}
	var err error
	switch {
	case m.Part.Total > maxParts || len(m.Data) > maxOctets || m.Part.Total > 0 && len(m.Data) > data.SM_MSG_LEN:
		return data.ESME_RX_R_APPN // longer than any receiver takes (and nobody texts)
	case m.Part.Total == 0:
		err = take(m.Data, string(body))
	default:
		key := partsKey{from, to, m.Part.Ref, m.Part.Total}
		err = p.parts.add(ctx, key, m.Part.Number, m.Data, p.idOf(string(body)), now, take)
	}
	if err != nil {
		p.deps.Log.WarnContext(ctx, "couldn't take an SMS: the SMSC is to bring it again", slog.String("provider", p.deps.Name), slog.Any("error", err))
		return data.ESME_RX_T_APPN
	}
	return data.ESME_ROK
}

// idOf is the same for the same message that comes again.
func (p *Provider) idOf(content string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(content))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
