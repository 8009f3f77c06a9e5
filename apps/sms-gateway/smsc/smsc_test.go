package smsc_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
)

// simulate starts an SMSC, and returns where it is.
func simulate(t *testing.T) (*smsc.SMSC, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smsc.New(smsc.Config{SystemID: "popvote", Password: "s3cret", RetryAfter: 10 * time.Millisecond}, smsc.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// client speaks SMPP by hand.
type client struct {
	t    *testing.T
	conn net.Conn
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t, conn}
}

func (c *client) write(p pdu.PDU) {
	c.t.Helper()
	if _, err := c.conn.Write(wire.Marshal(p)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() wire.Frame {
	c.t.Helper()
	f, err := wire.Read(c.conn)
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) bind(how pdu.BindingType, password string) data.CommandStatusType {
	c.t.Helper()
	b := pdu.NewBindRequest(how)
	b.SystemID, b.Password = "popvote", password
	c.write(b)
	return c.read().CommandStatus
}

func TestItLetsInWhoKnowsThePasswordAndListenersDoNotSend(t *testing.T) {
	_, address := simulate(t)
	c := dial(t, address)
	if got := c.bind(pdu.Transceiver, "wrong"); got != data.ESME_RBINDFAIL {
		t.Errorf("a wrong password: %v", got)
	}
	if _, err := wire.Read(c.conn); err == nil {
		t.Error("it is still there")
	}
	c = dial(t, address)
	c.write(pdu.NewSubmitSM())
	if got := c.read().CommandStatus; got != data.ESME_RINVBNDSTS {
		t.Errorf("before a bind: %v", got)
	}
	if got := c.bind(pdu.Receiver, "s3cret"); got != data.ESME_ROK {
		t.Fatal(got)
	}
	c.write(pdu.NewSubmitSM())
	if got := c.read().CommandStatus; got != data.ESME_RINVBNDSTS {
		t.Errorf("a receiver that sends: %v", got)
	}
	c.write(pdu.NewQuerySM())
	if f := c.read(); f.CommandID != data.GENERIC_NACK || f.CommandStatus != data.ESME_RINVCMDID {
		t.Errorf("what it does not know: %+v", f.Header)
	}
	c.write(pdu.NewUnbind())
	if got := c.read().CommandID; got != data.UNBIND_RESP {
		t.Errorf("the end: %v", got)
	}
}

// A text that is not acknowledged comes again, over whatever connection; one that is refused for good
// does not.
func TestItBringsATextUntilItIsTaken(t *testing.T) {
	s, address := simulate(t)
	if err := s.Text("+85291234567", "10850", "VOTE AB0D1234"); err != nil {
		t.Fatal(err)
	}
	for i, status := range []data.CommandStatusType{data.ESME_RX_T_APPN, -1, data.ESME_ROK} {
		c := dial(t, address)
		if got := c.bind(pdu.Transceiver, "s3cret"); got != data.ESME_ROK {
			t.Fatal(got)
		}
		f := c.read()
		m, err := f.Short()
		if err != nil || string(m.Data) != "VOTE AB0D1234" {
			t.Fatalf("try %d: %s, %v", i, m, err)
		}
		if status >= 0 {
			answer := pdu.NewDeliverSMResp().(*pdu.DeliverSMResp)
			answer.CommandStatus = status
			answer.SetSequenceNumber(f.SequenceNumber)
			c.write(answer)
			c.write(pdu.NewUnbind())
			if status != data.ESME_ROK {
				c.read()
			}
		}
		c.conn.Close()
	}
	for range 1000 {
		if s.Stats().Taken == 1 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := s.Stats(); got.Taken != 1 || got.Brought < 3 {
		t.Errorf("%+v", got)
	}
}

func TestItIsControlledOverHTTP(t *testing.T) {
	s, address := simulate(t)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	ask := func(method, path, body string, want int) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := web.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want {
			t.Errorf("%s %s: %d, %s, %v; want %d", method, path, response.StatusCode, content, err, want)
		}
		return string(content)
	}
	ask("PUT", "/faults", `{"throttle":2,"delay_min_ms":1,"delay_max_ms":2}`, 204)
	if got := s.Faults(); got != (smsc.Faults{Throttle: 2, DelayMin: 1, DelayMax: 2}) {
		t.Errorf("%+v", got)
	}
	ask("PUT", "/faults", `{"trottle":2}`, 400)
	ask("POST", "/texts", `{"from":"","to":"10850","text":"a"}`, 400)
	ask("POST", "/texts", `{"from":"+85291234567","to":"10850","text":"VOTE"}`, 202)

	c := dial(t, address)
	c.bind(pdu.Transceiver, "s3cret")
	if m, err := c.read().Short(); err != nil || string(m.Data) != "VOTE" {
		t.Errorf("the text: %s, %v", m, err)
	}
	submit := pdu.NewSubmitSM().(*pdu.SubmitSM)
	_ = submit.DestAddr.SetAddress("85291234567")
	_ = submit.Message.SetMessageWithEncoding("123456", data.GSM7BIT)
	for _, want := range []data.CommandStatusType{data.ESME_ROK, data.ESME_RTHROTTLED} {
		c.write(submit)
		if got := c.read().CommandStatus; got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got := ask("GET", "/inbox", "", 200); !strings.Contains(got, `"text":"123456"`) {
		t.Errorf("the inbox: %s", got)
	}
	if got := ask("GET", "/stats", "", 200); !strings.Contains(got, `"Submits":2,"Refused":1`) {
		t.Errorf("the figures: %s", got)
	}
	ask("DELETE", "/inbox", "", 204)
	if got := ask("GET", "/inbox", "", 200); strings.TrimSpace(got) != "[]" {
		t.Errorf("emptied: %s", got)
	}
}
