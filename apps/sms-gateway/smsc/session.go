package smsc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
)

// errDone ends a session in good order.
var errDone = errors.New("the session is over")

// session is one connection to the SMSC.
type session struct {
	smsc  *SMSC
	conn  net.Conn
	ended chan struct{}
	// sends is whether it may submit; the reading goroutine's.
	sends bool

	writing sync.Mutex

	mu sync.Mutex
	// guarded by mu
	waiting     map[int32]chan data.CommandStatusType
	sequence    int32
	outstanding int
}

func (c *session) serve() {
	stop := context.AfterFunc(c.smsc.life, func() { _ = c.conn.Close() })
	defer func() {
		stop()
		_ = c.conn.Close() // it may be closed
		c.smsc.mu.Lock()
		delete(c.smsc.sessions, c)
		c.smsc.mu.Unlock()
		close(c.ended)
	}()
	for {
		f, err := wire.Read(c.conn)
		if err == nil {
			err = c.handle(f)
		}
		if err != nil {
			c.smsc.deps.Log.Debug("a session ended", slog.Any("error", err))
			return
		}
	}
}

func (c *session) handle(f wire.Frame) error {
	switch f.CommandID {
	case data.BIND_TRANSMITTER, data.BIND_RECEIVER, data.BIND_TRANSCEIVER:
		return c.bind(f)
	case data.SUBMIT_SM:
		return c.submitted(f)
	case data.DELIVER_SM_RESP, data.GENERIC_NACK:
		if f.CommandID == data.GENERIC_NACK {
			c.smsc.count(func(t *Stats) { t.Nacks++ })
		}
		c.mu.Lock()
		answer := c.waiting[f.SequenceNumber]
		delete(c.waiting, f.SequenceNumber)
		c.mu.Unlock()
		if answer != nil {
			answer <- f.CommandStatus
		} else if f.CommandID == data.DELIVER_SM_RESP {
			c.smsc.count(func(t *Stats) { t.Strays++ })
		}
	case data.ENQUIRE_LINK:
		c.smsc.count(func(t *Stats) { t.Enquiries++ })
		return c.respond(pdu.NewEnquireLinkResp(), f)
	case data.UNBIND:
		c.smsc.count(func(t *Stats) { t.Unbinds++ })
		return errors.Join(errDone, c.respond(pdu.NewUnbindResp(), f))
	default:
		if !f.IsResponse() {
			nack := pdu.NewGenericNack().(*pdu.GenericNack)
			nack.CommandStatus = data.ESME_RINVCMDID
			return c.respond(nack, f)
		}
	}
	return nil
}

func (c *session) bind(f wire.Frame) error {
	p, err := f.PDU()
	if err != nil {
		return err
	}
	request := p.(*pdu.BindRequest)
	answer := pdu.NewBindResp(*request)
	answer.SystemID = "smsc"
	if request.SystemID != c.smsc.config.SystemID || request.Password != c.smsc.config.Password {
		answer.CommandStatus = data.ESME_RBINDFAIL
		return errors.Join(errDone, c.respond(answer, f))
	}
	c.sends = request.BindingType != pdu.Receiver
	if err := c.respond(answer, f); err != nil {
		return err
	}
	c.smsc.mu.Lock()
	defer c.smsc.mu.Unlock()
	c.smsc.stats.Binds++
	c.smsc.sessions[c] = request.BindingType != pdu.Transmitter
	return nil
}

// submitted takes a submit_sm, or does what the faults say.
func (c *session) submitted(f wire.Frame) error {
	answer := pdu.NewSubmitSMResp().(*pdu.SubmitSMResp)
	m, err := f.Short()
	faults := c.smsc.Faults()
	c.mu.Lock()
	c.outstanding++
	outstanding := c.outstanding
	c.mu.Unlock()
	var number int
	c.smsc.count(func(t *Stats) {
		t.Submits++
		t.Outstanding = max(t.Outstanding, outstanding)
		number = t.Submits
	})
	switch {
	case !c.sends:
		answer.CommandStatus = data.ESME_RINVBNDSTS
	case err != nil:
		answer.CommandStatus = data.ESME_RSUBMITFAIL
	case faults.DisconnectEvery > 0 && number%faults.DisconnectEvery == 0:
		return errDone
	case faults.Status != 0:
		answer.CommandStatus = data.CommandStatusType(faults.Status) //nolint:gosec // four bytes either way
	case faults.Throttle > 0 && number%faults.Throttle == 0:
		answer.CommandStatus = data.ESME_RTHROTTLED
	default:
		answer.MessageID = c.smsc.take(m, !faults.Lose)
	}
	if answer.CommandStatus != data.ESME_ROK {
		c.smsc.count(func(t *Stats) { t.Refused++ })
	}
	if faults.Silent {
		return nil
	}
	respond := func() {
		if err := errors.Join(c.garbage(faults.Garbage), c.respond(answer, f)); err != nil {
			return // the client sees it
		}
		c.mu.Lock()
		c.outstanding--
		c.mu.Unlock()
		if answer.CommandStatus == data.ESME_ROK && m.Registered&data.SM_SMSC_RECEIPT_REQUESTED != 0 && !faults.Lose {
			c.smsc.receipts(m, answer.MessageID, faults)
		}
	}
	if faults.DelayMax <= 0 {
		respond()
		return nil
	}
	late := time.Duration(faults.DelayMin+rand.IntN(max(1, faults.DelayMax-faults.DelayMin+1))) * time.Millisecond
	c.smsc.start(func() {
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
			respond()
		case <-c.ended:
		}
	})
	return nil
}

// garbage writes what no SMSC should.
func (c *session) garbage(kind string) error {
	switch kind {
	case GarbageCommand:
		return c.write([]byte{0, 0, 0, 20, 0, 0, 0x77, 0x77, 0, 0, 0, 0, 0x7F, 0, 0, 1, 1, 2, 3, 4})
	case GarbageBody:
		return c.write([]byte{0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 0, 0x7F, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF})
	case GarbageLength:
		return c.write([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 5, 0, 0, 0, 0, 0x7F, 0, 0, 3})
	}
	return nil
}

// receipts sends what became of a message, as the faults will have it.
func (s *SMSC) receipts(m wire.Short, id string, faults Faults) {
	if faults.DecimalReceipts {
		if n, err := strconv.ParseUint(id, 16, 64); err == nil {
			id = fmt.Sprintf("%010d", n)
		}
	}
	s.start(func() {
		s.bring(s.receipt(m, id, "DELIVRD", 2, faults))
		if faults.DuplicateReceipts {
			s.bring(s.receipt(m, id, "DELIVRD", 2, faults))
		}
		if faults.ReorderReceipts {
			s.bring(s.receipt(m, id, "ENROUTE", 1, faults))
		}
	})
}

// receipt is a delivery receipt in the form of SMPP 3.4, appendix B.
func (s *SMSC) receipt(m wire.Short, id, stat string, state byte, faults Faults) *pdu.DeliverSM {
	at := s.deps.Clock().UTC().Format("0601021504")
	text := fmt.Sprintf("id:%s sub:001 dlvrd:001 submit date:%s done date:%s stat:%s err:000 text:", id, at, at, stat)
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.SourceAddr, d.DestAddr, d.EsmClass = m.Dest, m.Source, data.SM_SMSC_DLV_RCPT_TYPE
	if faults.OptionReceipts {
		text = ""
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: append([]byte(id), 0)})
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: []byte{state}})
	}
	_ = d.Message.SetMessageDataWithEncoding([]byte(text), data.GSM7BIT) // it is far from too long
	return d
}

// deliver sends a deliver_sm, and waits for its answer; not ok without one.
func (c *session) deliver(d *pdu.DeliverSM) (status data.CommandStatusType, ok bool) {
	answer := make(chan data.CommandStatusType, 1)
	c.mu.Lock()
	c.sequence++
	number := c.sequence
	c.waiting[number] = answer
	c.mu.Unlock()
	one := *d // the next try has another number
	one.SetSequenceNumber(number)
	c.smsc.count(func(t *Stats) { t.Brought++ })
	if err := c.write(wire.Marshal(&one)); err != nil {
		return 0, false
	}
	timer := time.NewTimer(c.smsc.config.AnswerWithin)
	defer timer.Stop()
	select {
	case status = <-answer:
		return status, true
	case <-c.ended:
	case <-timer.C:
	}
	return 0, false
}

func (c *session) respond(p pdu.PDU, to wire.Frame) error {
	p.SetSequenceNumber(to.SequenceNumber)
	return c.write(wire.Marshal(p))
}

func (c *session) write(octets []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(c.smsc.deps.Clock().Add(c.smsc.config.AnswerWithin)); err != nil {
		return fmt.Errorf("couldn't write: %w", err)
	}
	if _, err := c.conn.Write(octets); err != nil {
		return fmt.Errorf("couldn't write: %w", err)
	}
	return nil
}
