package smpp_test

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/sms"
)

func TestItIsBoundAgainAfterEachDisconnect(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{DisconnectEvery: 5})
	p, _, _ := bound(t, config(t, address))
	unknown, sent := 0, 0
	for began := time.Now(); sent < 20; {
		if time.Since(began) > 15*time.Second {
			t.Fatalf("%d sent in 15 s", sent)
		}
		_, err := p.Send(t.Context(), message("123456"))
		switch {
		case err == nil:
			sent++
		case errors.Is(err, sms.ErrUnknown):
			unknown++ // it was on the way when the connection went
		case errors.Is(err, sms.ErrUnavailable):
			time.Sleep(5 * time.Millisecond)
		default:
			t.Fatal(err)
		}
	}
	stats := s.Stats()
	if got := len(s.Inbox()); got != sent {
		t.Errorf("%d were acknowledged, %d arrived", sent, got)
	}
	if unknown != stats.Submits-sent {
		t.Errorf("%d of %d submitted were acknowledged, and %d are unknown", sent, stats.Submits, unknown)
	}
	if stats.Binds < 4 || stats.Binds > 7 {
		t.Errorf("bound %d times", stats.Binds)
	}
}

func TestAnOutageIsNoticedAndBindingIsNotHurried(t *testing.T) {
	s, address := simulate(t)
	p, _, _ := bound(t, config(t, address))
	began := time.Now()
	s.Disconnect()
	eventually(t, "bound again", func() bool { return s.Stats().Binds == 2 })
	if took := time.Since(began); took < 5*time.Millisecond || took > 2*time.Second {
		t.Errorf("it took %s, want at least half of the first wait", took)
	}
	eventually(t, "well", func() bool { return p.Check(t.Context()) == nil })

	wrong := config(t, address)
	wrong.SystemID = "somebody"
	other, _, _ := started(t, wrong)
	eventually(t, "refused", func() bool { return errors.Is(other.Check(t.Context()), smpp.ErrBind) })
	if err := other.Check(t.Context()); strings.Contains(err.Error(), password) {
		t.Error("it says the password")
	}
	if _, err := other.Send(t.Context(), message("123456")); !errors.Is(err, sms.ErrUnavailable) {
		t.Errorf("sending while not bound: %v", err)
	}
}

// A connection that is open and says nothing is not a session.
func TestAFrozenSMSCIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	c := config(t, l.Addr().String())
	c.AnswerWithin = 100 * time.Millisecond
	_, _, stop := started(t, c)
	for range 3 {
		select {
		case conn := <-accepted:
			defer conn.Close()
		case <-time.After(5 * time.Second):
			t.Fatal("it waits for ever for the answer to its bind")
		}
	}
	stop()

	s, address := simulate(t)
	c = config(t, address)
	c.EnquireEvery, c.AnswerWithin = 50*time.Millisecond, 200*time.Millisecond
	_, _, _ = bound(t, c)
	eventually(t, "asked whether it is there", func() bool { return s.Stats().Enquiries > 3 })
	if got := s.Stats().Binds; got != 1 {
		t.Errorf("bound %d times to an SMSC that answers", got)
	}
}

func TestStoppingWaitsForAnswersAndLeavesNothing(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{DelayMin: 200, DelayMax: 200, Lose: true}) // whose receipts would find nobody
	before := runtime.NumGoroutine()
	p, _, stop := bound(t, config(t, address))
	outcome := make(chan error, 1)
	go func() {
		_, err := p.Send(t.Context(), message("123456"))
		outcome <- err
	}()
	eventually(t, "on the way", func() bool { return s.Stats().Submits == 1 })
	stop()
	if err := <-outcome; err != nil {
		t.Errorf("its answer was under way: %v", err)
	}
	if got := s.Stats().Unbinds; got != 1 {
		t.Errorf("unbound %d times", got)
	}
	if err := p.Check(t.Context()); !errors.Is(err, smpp.ErrNotBound) {
		t.Errorf("afterwards: %v", err)
	}
	eventually(t, "nothing left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestTheOtherWaysToBind(t *testing.T) {
	for bind, test := range map[string]struct {
		binds       int
		sends, ears bool
	}{
		"transmitter": {1, true, false}, "receiver": {1, false, true}, "both": {2, true, true},
	} {
		t.Run(bind, func(t *testing.T) {
			s, address := simulate(t)
			c := config(t, address)
			c.Bind = bind
			p, e, _ := bound(t, c)
			if got := s.Stats().Binds; got != test.binds {
				t.Errorf("bound %d times", got)
			}
			if _, err := p.Send(t.Context(), message("123456")); (err == nil) != test.sends {
				t.Error(err)
			}
			if err := s.Text(voter, shortCode, "VOTE AB0D1234"); err != nil {
				t.Fatal(err)
			}
			if test.ears {
				eventually(t, "heard", func() bool { return len(e.texts()) == 1 })
			}
		})
	}
}
