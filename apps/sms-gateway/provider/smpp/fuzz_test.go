package smpp

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/libs/sms"
)

// strict fails the test for what no receiver should be given.
type strict struct{ t *testing.T }

func (s strict) Receive(_ context.Context, in sms.Inbound) error {
	from := in.From.Reveal()
	if len(from) < 2 || len(from) > 1+maxNumber || from[0] != '+' || len(in.To.Reveal()) > 1+maxNumber || !utf8.ValidString(in.Text) || len(in.Text) > 8<<10 || len(in.ProviderID) != 32 {
		s.t.Errorf("a text from %q to %q, %d bytes, id %q", from, in.To.Reveal(), len(in.Text), in.ProviderID)
	}
	return nil
}

func (s strict) Receipt(_ context.Context, r provider.Receipt) {
	if r.Ref == "" || r.State == "" || r.At.IsZero() {
		s.t.Errorf("a receipt of nothing: %+v", r)
	}
}

// Whatever an SMSC sends once it is bound, nobody is given nonsense, and every deliver_sm has one answer.
func FuzzWhatAnSMSCSends(f *testing.F) {
	text := pdu.NewDeliverSM().(*pdu.DeliverSM)
	text.SourceAddr, _ = pdu.NewAddressWithTonNpiAddr(1, 1, "85291234567")
	_ = text.Message.SetMessageDataWithEncoding([]byte("VOTE AB0D1234"), data.GSM7BIT)
	receipt := pdu.NewDeliverSM().(*pdu.DeliverSM)
	receipt.EsmClass = typeReceipt
	_ = receipt.Message.SetMessageDataWithEncoding([]byte("id:1 stat:DELIVRD err:000 text:"), data.GSM7BIT)
	part := pdu.NewDeliverSM().(*pdu.DeliverSM)
	part.SourceAddr, part.EsmClass = text.SourceAddr, wire.UserDataHeader
	part.Message.SetUDH(wire.Part{Ref: 1, Total: 2, Number: 2}.Header())
	_ = part.Message.SetMessageDataWithEncoding([]byte{0x62, 0x95}, data.UCS2)
	f.Add(bytes.Join([][]byte{wire.Marshal(text), wire.Marshal(receipt), wire.Marshal(part), wire.Marshal(pdu.NewSubmitSMResp())}, nil))
	f.Add(bytes.Join([][]byte{wire.Marshal(pdu.NewEnquireLink()), wire.Marshal(pdu.NewQuerySM()), wire.Marshal(pdu.NewGenericNack()), wire.Marshal(pdu.NewUnbind())}, nil))
	f.Fuzz(func(t *testing.T, stream []byte) {
		p, err := New(Config{Address: "127.0.0.1:1", SystemID: "x"}, provider.Deps{
			Name: "fuzz", Receiver: strict{t}, Receipts: strict{t}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		answered := make(chan int, 1)
		go func() {
			n := 0
			for {
				frame, err := wire.Read(far)
				if err != nil {
					answered <- n
					return
				}
				if frame.CommandID == data.DELIVER_SM_RESP {
					n++
				}
			}
		}()
		s := &session{p: p, conn: near, waiting: map[int32]*request{}, deliveries: make(chan struct{}, maxDeliveries)}
		r, delivered := bytes.NewReader(stream), 0
		for {
			frame, err := wire.Read(r)
			if err != nil || s.handle(t.Context(), frame) != nil {
				break
			}
			if frame.CommandID == data.DELIVER_SM {
				delivered++
			}
		}
		s.delivering.Wait()
		_ = near.Close()
		if n := <-answered; n != delivered {
			t.Errorf("%d answers to %d", n, delivered)
		}
		_, _ = io.Copy(io.Discard, far)
	})
}
