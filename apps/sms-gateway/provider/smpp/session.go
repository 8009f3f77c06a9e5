package smpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/libs/sms"
)

var (
	errUnbound = errors.New("the SMSC ended the session")
	errLeaving = errors.New("the session is ending")
	// ErrBind is an SMSC that does not let us in.
	ErrBind = errors.New("the SMSC does not let us in")
)

const (
	// maxDeliveries is how many voters' messages are with the receiver at a time; more are to come again.
	maxDeliveries = 64
	// maxBefore is how many PDUs are passed over before the answer to a bind.
	maxBefore = 16
)

// session is one bound connection. gosmpp's own is not used: it answers a deliver_sm before anybody took
// it, and from the loop that reads; it counts a request only after it is on the wire, so that a quick
// answer is lost and its place in the window with it; and it waits without end in its clean-up, its bind
// and its Submit (its issues 135, 151, 160, 170; as of v0.3.1).
type session struct {
	p    *Provider
	conn net.Conn
	// role is how it is bound.
	role pdu.BindingType

	// ended is closed when nothing is read any more; cause is why, and read after that only.
	ended chan struct{}
	cause error

	// writing is held while a PDU is written.
	writing sync.Mutex

	mu sync.Mutex
	// guarded by mu
	waiting  map[int32]*request
	sequence int32
	leaving  bool
	// idle is signalled when a request is settled.
	idle chan struct{}

	deliveries chan struct{}
	delivering sync.WaitGroup
}

// request is a submit_sm whose answer has not come.
type request struct {
	to     sms.Number
	answer chan answer
	timer  *time.Timer
}

// answer is what came of a request: an id, or an error of libs/sms.
type answer struct {
	ref string
	err error
}

// bind connects and binds.
func (p *Provider) bind(ctx context.Context, role pdu.BindingType) (_ *session, err error) {
	password, err := p.config.password()
	if err != nil {
		return nil, err
	}
	security, err := p.config.tls()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.AnswerWithin)
	defer cancel()
	var conn net.Conn
	if security == nil {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", p.config.Address)
	} else {
		conn, err = (&tls.Dialer{Config: security}).DialContext(ctx, "tcp", p.config.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't reach the SMSC: %w", err)
	}
	s := &session{
		p: p, conn: conn, role: role, ended: make(chan struct{}), waiting: map[int32]*request{},
		idle: make(chan struct{}, 1), deliveries: make(chan struct{}, maxDeliveries),
	}
	// A reading that hangs ends with the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = conn.Close()
			err = fmt.Errorf("couldn't bind to the SMSC: %w", err)
		}
	}()
	request := pdu.NewBindRequest(role)
	request.SystemID, request.Password, request.SystemType = p.config.SystemID, password, p.config.SystemType
	request.SetSequenceNumber(s.next())
	if _, err := s.write(request); err != nil {
		return nil, err
	}
	for range maxBefore {
		f, err := wire.Read(conn)
		switch {
		case err != nil:
			return nil, err
		case f.SequenceNumber != request.SequenceNumber || !f.IsResponse():
			continue
		case f.CommandStatus != data.ESME_ROK:
			return nil, fmt.Errorf("%w (status 0x%08X)", ErrBind, uint32(f.CommandStatus)) //nolint:gosec // the four bytes as they came
		case f.CommandID == bindResponses[role]:
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: it says everything but that", ErrBind)
}

var bindResponses = map[pdu.BindingType]data.CommandIDType{
	pdu.Transceiver: data.BIND_TRANSCEIVER_RESP, pdu.Transmitter: data.BIND_TRANSMITTER_RESP, pdu.Receiver: data.BIND_RECEIVER_RESP,
}

// next is a sequence number (SMPP 3.4, 5.1.4). Called with mu held, or before anybody else knows the session.
func (s *session) next() int32 {
	if s.sequence == math.MaxInt32 {
		s.sequence = 0
	}
	s.sequence++
	return s.sequence
}

// run is the session's life, until the context ends or the connection does.
func (s *session) run(ctx context.Context) error {
	go func() {
		s.cause = s.read(ctx)
		close(s.ended)
	}()
	defer s.bury()
	enquire := time.NewTicker(s.p.config.EnquireEvery)
	defer enquire.Stop()
	for {
		select {
		case <-s.ended:
			return s.cause
		case <-ctx.Done():
			s.leave()
			return nil
		case <-enquire.C:
			s.mu.Lock()
			number := s.next()
			s.mu.Unlock()
			q := pdu.NewEnquireLink()
			q.SetSequenceNumber(number)
			if _, err := s.write(q); err != nil {
				return err
			}
		}
	}
}

// leave ends the session in good order: answers that are under way are waited for, and what is being
// delivered is answered.
func (s *session) leave() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	patience := time.NewTimer(s.p.config.AnswerWithin)
	defer patience.Stop()
	for s.outstanding() > 0 {
		select {
		case <-s.idle:
		case <-s.ended:
			return
		case <-patience.C:
			return
		}
	}
	s.delivering.Wait() // each is bounded by the same time
	s.mu.Lock()
	number := s.next()
	s.mu.Unlock()
	unbind := pdu.NewUnbind()
	unbind.SetSequenceNumber(number)
	if _, err := s.write(unbind); err != nil {
		return
	}
	select {
	case <-s.ended:
	case <-patience.C:
	}
}

// bury closes the connection, and settles what will never be answered.
func (s *session) bury() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	_ = s.conn.Close() // it may be closed
	<-s.ended
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.waiting))
	s.mu.Unlock()
	for _, number := range left {
		s.settle(number, answer{err: fmt.Errorf("couldn't hear what became of the SMS: %w: the connection was lost", sms.ErrUnknown)})
	}
	s.delivering.Wait()
}

func (s *session) outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// write writes a PDU; it takes at most as long as an answer may. Without an error all of it is out of our
// hands. The number of bytes says whether the SMSC may have any.
func (s *session) write(p pdu.PDU) (int, error) {
	octets := wire.Marshal(p)
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(s.p.deps.Clock().Add(s.p.config.AnswerWithin)); err != nil {
		return 0, fmt.Errorf("couldn't write to the SMSC: %w", err)
	}
	n, err := s.conn.Write(octets)
	if err != nil {
		_ = s.conn.Close() // half a PDU makes nonsense of the next
		return n, fmt.Errorf("couldn't write to the SMSC: %w", err)
	}
	return n, nil
}

// submit sends a submit_sm, and returns what the SMSC says. It never waits for room: a full window is
// sms.ErrThrottled.
func (s *session) submit(ctx context.Context, p *pdu.SubmitSM, to sms.Number) (string, error) {
	r := &request{to: to, answer: make(chan answer, 1)}
	s.mu.Lock()
	if s.leaving {
		s.mu.Unlock()
		return "", fmt.Errorf("couldn't submit the SMS: %w: %w", sms.ErrUnavailable, errLeaving)
	}
	if len(s.waiting) >= s.p.config.Window {
		s.mu.Unlock()
		return "", fmt.Errorf("couldn't submit the SMS: %w", &sms.Throttled{})
	}
	// Before it is written: the answer may be here before the writing has returned.
	number := s.next()
	s.waiting[number] = r
	r.timer = time.AfterFunc(s.p.config.AnswerWithin, func() {
		s.settle(number, answer{err: fmt.Errorf("couldn't hear what became of the SMS: %w: no answer within %s", sms.ErrUnknown, s.p.config.AnswerWithin)})
	})
	s.mu.Unlock()
	p.SetSequenceNumber(number)
	if n, err := s.write(p); err != nil {
		kind := sms.ErrUnavailable // an SMSC can't take what it has nothing of
		if n > 0 {
			kind = sms.ErrUnknown
		}
		s.settle(number, answer{})
		return "", fmt.Errorf("couldn't submit the SMS: %w: %w", kind, err)
	}
	select {
	case a := <-r.answer:
		return a.ref, a.err
	case <-ctx.Done():
		// It keeps its place in the window until the answer: the SMSC counts it too.
		return "", fmt.Errorf("couldn't wait for what becomes of the SMS: %w: %w", sms.ErrUnknown, ctx.Err())
	}
}

// settle gives a request its answer; the first is the only one.
func (s *session) settle(number int32, a answer) {
	s.mu.Lock()
	r := s.waiting[number]
	delete(s.waiting, number)
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.timer.Stop()
	if a.err == nil && a.ref != "" {
		// Here, in the order of reading: its receipt may be the next PDU.
		s.p.refs.add(a.ref, r.to)
	}
	r.answer <- a
	select {
	case s.idle <- struct{}{}:
	default:
	}
}

// read handles what comes, until nothing can any more. It never waits for a receiver.
func (s *session) read(ctx context.Context) error {
	silence := s.p.config.EnquireEvery + s.p.config.AnswerWithin
	for {
		if err := s.conn.SetReadDeadline(s.p.deps.Clock().Add(silence)); err != nil {
			return fmt.Errorf("couldn't hear the SMSC: %w", err)
		}
		f, err := wire.Read(s.conn)
		if errors.Is(err, wire.ErrLength) {
			_ = s.respond(pdu.NewGenericNack(), f, data.ESME_RINVCMDLEN)
		}
		if err != nil {
			return fmt.Errorf("couldn't hear the SMSC: %w", err)
		}
		if err := s.handle(ctx, f); err != nil {
			return err
		}
	}
}

// handle deals with one PDU; an error ends the session.
func (s *session) handle(ctx context.Context, f wire.Frame) error {
	switch f.CommandID {
	case data.SUBMIT_SM_RESP, data.GENERIC_NACK:
		if f.CommandStatus != data.ESME_ROK {
			s.settle(f.SequenceNumber, answer{err: s.p.refusal(f.CommandStatus)})
		} else if f.CommandID == data.SUBMIT_SM_RESP {
			s.settle(f.SequenceNumber, answer{ref: f.MessageID()})
		}
	case data.DELIVER_SM:
		s.delivered(ctx, f)
	case data.ENQUIRE_LINK:
		return s.respond(pdu.NewEnquireLinkResp(), f, data.ESME_ROK)
	case data.UNBIND:
		_ = s.respond(pdu.NewUnbindResp(), f, data.ESME_ROK) // it ends either way
		return errUnbound
	case data.UNBIND_RESP:
		return errUnbound
	default:
		if !f.IsResponse() && f.CommandID != data.ALERT_NOTIFICATION && f.CommandID != data.OUTBIND {
			return s.respond(pdu.NewGenericNack(), f, data.ESME_RINVCMDID)
		}
	}
	return nil
}

// delivered answers a deliver_sm, each once: a receipt and nonsense at once, a voter's message when the
// receiver has taken it.
func (s *session) delivered(ctx context.Context, f wire.Frame) {
	m, err := f.Short()
	if err != nil {
		// It would be no better the next time.
		s.p.deps.Log.WarnContext(ctx, "the SMSC sent something that can't be read", slog.Any("error", err))
		s.answerDelivery(f, data.ESME_RX_R_APPN)
		return
	}
	if isReceipt(m) {
		s.p.receipt(ctx, m)
		s.answerDelivery(f, data.ESME_ROK)
		return
	}
	if !s.beginDelivery() {
		s.answerDelivery(f, data.ESME_RX_T_APPN)
		return
	}
	go func() {
		defer func() {
			<-s.deliveries
			s.delivering.Done()
		}()
		// Not ended with the session's context: what has begun is finished, and answered.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.p.config.AnswerWithin)
		defer cancel()
		s.answerDelivery(f, s.p.inbound(ctx, m, f.Body()))
	}()
}

// beginDelivery is whether there is room for one more; not at the end, which waits for those there are.
func (s *session) beginDelivery() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	select {
	case s.deliveries <- struct{}{}:
		s.delivering.Add(1)
		return true
	default:
		return false
	}
}

func (s *session) answerDelivery(f wire.Frame, status data.CommandStatusType) {
	// If the connection is gone, the SMSC brings it again.
	_ = s.respond(pdu.NewDeliverSMResp(), f, status)
}

// respond answers a PDU with its own sequence number.
func (s *session) respond(p pdu.PDU, to wire.Frame, status data.CommandStatusType) error {
	setStatus(p, status)
	p.SetSequenceNumber(to.SequenceNumber)
	_, err := s.write(p)
	return err
}

func setStatus(p pdu.PDU, status data.CommandStatusType) {
	switch p := p.(type) {
	case *pdu.DeliverSMResp:
		p.CommandStatus = status
	case *pdu.GenericNack:
		p.CommandStatus = status
	}
}
