package smpp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/sms"
)

const (
	voter     = "+85291234567"
	shortCode = "10850"
	systemID  = "popvote"
	password  = "s3cret"
)

// ends are the receiver and the receipts of a provider, which keep what they get.
type ends struct {
	mu sync.Mutex
	// guarded by mu
	in       []sms.Inbound
	receipts []provider.Receipt
	// refuse is how many messages fail before one is taken.
	refuse int
}

func (e *ends) Receive(_ context.Context, in sms.Inbound) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse > 0 {
		e.refuse--
		return errors.New("the board is away")
	}
	e.in = append(e.in, in)
	return nil
}

func (e *ends) Receipt(_ context.Context, r provider.Receipt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receipts = append(e.receipts, r)
}

func (e *ends) texts() []sms.Inbound {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.in)
}

func (e *ends) got() []provider.Receipt {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.receipts)
}

// output is a log that is read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// simulate starts the SMSC, and returns where it is.
func simulate(t *testing.T) (*smsc.SMSC, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smsc.New(smsc.Config{SystemID: systemID, Password: password, RetryAfter: 20 * time.Millisecond}, smsc.Deps{Clock: time.Now, Log: discard()})
	serve(t, func(ctx context.Context) {
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// serve runs something until the test is over, and sees that it ends.
func serve(t *testing.T, run func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("it does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func passwordFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func config(t *testing.T, address string) smpp.Config {
	t.Helper()
	return smpp.Config{
		Address: address, SystemID: systemID, PasswordFile: passwordFile(t), Sender: shortCode,
		AnswerWithin: 2 * time.Second, RebindAfter: 10 * time.Millisecond, RebindAtMost: 100 * time.Millisecond,
	}
}

// bound starts a provider, and waits until it is bound.
func bound(t *testing.T, c smpp.Config) (*smpp.Provider, *ends, func()) {
	t.Helper()
	p, e, stop := started(t, c)
	eventually(t, "bound", func() bool { return p.Check(t.Context()) == nil }, func() string { return fmt.Sprint(p.Check(t.Context())) })
	return p, e, stop
}

func started(t *testing.T, c smpp.Config) (*smpp.Provider, *ends, func()) {
	t.Helper()
	e := &ends{}
	p, err := smpp.New(c, provider.Deps{Name: "test", Receiver: e, Receipts: e, Clock: time.Now, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	return p, e, serve(t, p.Run)
}

func eventually(t *testing.T, what string, holds func() bool, why ...func() string) {
	t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, say := range why {
		t.Error(say())
	}
	t.Fatalf("not %s within 10 s", what)
}

func message(text string) sms.Message {
	return sms.Message{ID: "m", To: voter, Text: text, Deadline: time.Now().Add(2*time.Minute + 500*time.Millisecond)}
}

func TestAMessageArrivesAsItWasWrittenWithItsDeadline(t *testing.T) {
	long := strings.Repeat("Your code is 123456. ", 20)
	for name, test := range map[string]struct {
		text   string
		coding byte
		parts  int
		long   string
	}{
		"GSM":                       {"Your code: 123456\n@vote.example.hk #123456", 0, 1, ""},
		"its extension":             {strings.Repeat("€", 80), 0, 1, ""},
		"Chinese":                   {"【投票】驗證碼123456，10分鐘內有效", 8, 1, ""},
		"70 of them":                {strings.Repeat("投", 70), 8, 1, ""},
		"71 of them":                {strings.Repeat("投", 71), 8, 2, ""},
		"two units a character":     {strings.Repeat("🗳", 34), 8, 1, ""},
		"no character is cut":       {"投" + strings.Repeat("🗳", 50), 8, 2, ""},
		"three parts":               {long, 0, 3, ""},
		"three parts by SAR":        {long, 0, 3, "sar"},
		"an escape at a part's end": {strings.Repeat("a", 151) + "€" + strings.Repeat("b", 50), 0, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, address := simulate(t)
			c := config(t, address)
			c.Long = test.long
			p, e, _ := bound(t, c)
			ref, err := p.Send(t.Context(), message(test.text))
			if err != nil {
				t.Fatal(err)
			}
			in := s.Inbox()
			if len(in) != 1 || in[0].Text != test.text || in[0].To != voter || in[0].From != shortCode || in[0].Coding != test.coding || in[0].Parts != test.parts {
				t.Errorf("in the inbox: %+v", in)
			}
			if got := in[0].Validity; got != "000000000200000R" {
				t.Errorf("valid for %s, want two minutes", got)
			}
			eventually(t, "told of its arrival", func() bool { return len(e.got()) == 1 })
			if r := e.got()[0]; r.Ref != ref || r.Provider != "test" || r.State != provider.Delivered || time.Since(r.At) > 2*time.Minute {
				t.Errorf("the receipt of %s: %+v", ref, r)
			}
		})
	}
}

func TestEveryStatusHasItsOutcome(t *testing.T) {
	s, address := simulate(t)
	c := config(t, address)
	c.Permanent, c.Blocked = []string{"0x432"}, []string{"0x0403"}
	p, _, _ := bound(t, c)
	for status, want := range map[uint32]error{
		0x08: sms.ErrUnavailable, 0x0A: sms.ErrUnavailable, 0x0B: sms.ErrPermanent, 0x45: sms.ErrUnavailable,
		0xFF: sms.ErrUnavailable, 0x401: sms.ErrUnavailable, 0x432: sms.ErrPermanent, 0x403: sms.ErrBlocked,
	} {
		s.SetFaults(smsc.Faults{Status: status})
		_, err := p.Send(t.Context(), message("123456"))
		if !errors.Is(err, want) || errors.Is(err, sms.ErrUnknown) {
			t.Errorf("0x%X is %v, want %v", status, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "9123") || strings.Contains(err.Error(), "123456")) {
			t.Errorf("it says too much: %v", err)
		}
	}
	// These are about when, so each has an SMSC of its own: they keep the next message back.
	for _, status := range []uint32{0x14, 0x58} {
		s, address := simulate(t)
		p, _, _ := bound(t, config(t, address))
		s.SetFaults(smsc.Faults{Status: status})
		if _, err := p.Send(t.Context(), message("123456")); !errors.Is(err, sms.ErrThrottled) {
			t.Errorf("0x%X is %v", status, err)
		}
	}
}

func TestAThrottlingSMSCIsLeftAlone(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{Throttle: 1})
	p, _, _ := bound(t, config(t, address))
	for range 50 {
		_, err := p.Send(t.Context(), message("123456"))
		throttled, ok := errors.AsType[*sms.Throttled](err)
		if !ok || throttled.After <= 0 || throttled.After > time.Second {
			t.Fatalf("want to be told how long to wait, got %v", err)
		}
	}
	if got := s.Stats().Submits; got != 1 {
		t.Errorf("it was asked %d times in its pause", got)
	}
	s.SetFaults(smsc.Faults{})
	eventually(t, "sending again", func() bool {
		_, err := p.Send(t.Context(), message("123456"))
		return err == nil
	})
}

func TestNoAnswerIsUnknownAndAFullWindowAnswersAtOnce(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{Silent: true})
	c := config(t, address)
	c.Window, c.AnswerWithin = 3, 400*time.Millisecond
	p, _, _ := bound(t, c)

	outcomes := make(chan error, c.Window)
	for range c.Window {
		go func() {
			_, err := p.Send(t.Context(), message("123456"))
			outcomes <- err
		}()
	}
	eventually(t, "a full window", func() bool { return s.Stats().Submits == c.Window })
	began := time.Now()
	if _, err := p.Send(t.Context(), message("123456")); !errors.Is(err, sms.ErrThrottled) {
		t.Errorf("a fourth message: %v", err)
	}
	if took := time.Since(began); took > 200*time.Millisecond {
		t.Errorf("a full window took %s to say so", took)
	}
	for range c.Window {
		if err := <-outcomes; !errors.Is(err, sms.ErrUnknown) {
			t.Errorf("without an answer: %v", err)
		}
	}
	if got := s.Stats(); got.Outstanding > c.Window {
		t.Errorf("%d messages were on the way in a window of %d", got.Outstanding, c.Window)
	}
	s.SetFaults(smsc.Faults{})
	if _, err := p.Send(t.Context(), message("123456")); err != nil {
		t.Errorf("the window does not empty: %v", err)
	}
}

func TestWhoGivesUpDoesNotKnowAndKeepsItsPlaceInTheWindow(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{DelayMin: 300, DelayMax: 300})
	c := config(t, address)
	c.Window = 1
	p, _, _ := bound(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Send(ctx, message("123456")); !errors.Is(err, sms.ErrUnknown) {
		t.Errorf("who gave up: %v", err)
	}
	if _, err := p.Send(t.Context(), message("123456")); !errors.Is(err, sms.ErrThrottled) {
		t.Errorf("the SMSC still works on one: %v", err)
	}
	if _, err := p.Send(ctx, message("123456")); !errors.Is(err, sms.ErrUnavailable) {
		t.Errorf("who had given up before: %v", err)
	}
	late := message("123456")
	late.Deadline = time.Now()
	if _, err := p.Send(t.Context(), late); !errors.Is(err, sms.ErrUnavailable) {
		t.Errorf("whose deadline has passed: %v", err)
	}
	if got := s.Stats().Submits; got != 1 {
		t.Errorf("%d went out, want the first alone", got)
	}
}

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

func TestReceiptsAreMatchedWhateverTheSMSCDoes(t *testing.T) {
	for name, faults := range map[string]smsc.Faults{
		"in text":            {},
		"in options":         {OptionReceipts: true},
		"in decimal":         {DecimalReceipts: true},
		"decimal in options": {DecimalReceipts: true, OptionReceipts: true},
		"twice":              {DuplicateReceipts: true},
		"in another order":   {ReorderReceipts: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, address := simulate(t)
			s.SetFaults(faults)
			p, e, _ := bound(t, config(t, address))
			sent := map[string]bool{}
			for range 10 {
				ref, err := p.Send(t.Context(), message("123456"))
				if err != nil {
					t.Fatal(err)
				}
				sent[ref] = true
			}
			each := 1
			if faults.DuplicateReceipts || faults.ReorderReceipts {
				each = 2
			}
			eventually(t, "all acknowledged", func() bool { return s.Stats().Taken == each*len(sent) })
			for _, r := range e.got() {
				if !sent[r.Ref] || r.State != provider.Delivered {
					t.Errorf("%+v is of none of %v, or again", r, sent)
				}
				delete(sent, r.Ref)
			}
			if len(sent) > 0 {
				t.Errorf("no receipt for %v", sent)
			}
			if got := s.Stats().Strays; got > 0 {
				t.Errorf("%d were acknowledged twice", got)
			}
		})
	}
}

func TestALostMessageIsTakenAndHasNoReceipt(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{Lose: true})
	p, e, stop := bound(t, config(t, address))
	if ref, err := p.Send(t.Context(), message("123456")); err != nil || ref == "" {
		t.Errorf("%q, %v", ref, err)
	}
	stop()
	if len(s.Inbox()) > 0 || len(e.got()) > 0 {
		t.Error("something came of it")
	}
}

func TestGarbageIsSurvived(t *testing.T) {
	for kind, binds := range map[string]int{smsc.GarbageCommand: 1, smsc.GarbageBody: 1, smsc.GarbageLength: 2} {
		t.Run(kind, func(t *testing.T) {
			s, address := simulate(t)
			p, e, _ := bound(t, config(t, address))
			s.SetFaults(smsc.Faults{Garbage: kind})
			_, err := p.Send(t.Context(), message("123456"))
			// After an impossible length nothing can be read, the answer no more than the rest.
			if readable := kind != smsc.GarbageLength; readable && err != nil || !readable && !errors.Is(err, sms.ErrUnknown) {
				t.Error(err)
			}
			s.SetFaults(smsc.Faults{})
			eventually(t, "bound", func() bool { return s.Stats().Binds == binds && p.Check(t.Context()) == nil })
			eventually(t, "nacked", func() bool { return s.Stats().Nacks > 0 || kind == smsc.GarbageBody })
			if err := s.Text(voter, shortCode, "VOTE AB0D1234"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "heard", func() bool { return len(e.texts()) == 1 })
			if _, err := p.Send(t.Context(), message("123456")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatVotersTextIsBroughtUntilItIsTaken(t *testing.T) {
	for name, text := range map[string]string{
		"GSM":     "VOTE AB0D1234",
		"Chinese": "投票 VOTE AB0D1234 🗳",
		"parts":   strings.Repeat("polite words, ", 20) + "VOTE AB0D1234",
		"more":    strings.Repeat("投", 100) + strings.Repeat("🗳", 40),
	} {
		t.Run(name, func(t *testing.T) {
			s, address := simulate(t)
			_, e, _ := bound(t, config(t, address))
			e.mu.Lock()
			e.refuse = 3
			e.mu.Unlock()
			if err := s.Text(voter, shortCode, text); err != nil {
				t.Fatal(err)
			}
			eventually(t, "heard", func() bool { return len(e.texts()) == 1 })
			in := e.texts()[0]
			if in.From.Reveal() != voter || in.To.Reveal() != shortCode || in.Text != text || in.ProviderID == "" || in.ReceivedAt.IsZero() {
				t.Errorf("heard %+v of %q", in, in.Text)
			}
			if strings.Contains(in.ProviderID, "9123") {
				t.Error("its id says whose it is")
			}
			eventually(t, "acknowledged", func() bool { return s.Stats().Taken == s.Stats().Brought-3 })
			if got := s.Stats().Strays; got > 0 {
				t.Errorf("%d were acknowledged twice", got)
			}
		})
	}
}

func TestASlowReceiverKeepsNobodyElseWaiting(t *testing.T) {
	s, address := simulate(t)
	release := make(chan struct{})
	p, err := smpp.New(config(t, address), provider.Deps{Name: "slow", Receiver: blocked(release), Receipts: &ends{}, Clock: time.Now, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, p.Run)
	eventually(t, "bound", func() bool { return p.Check(t.Context()) == nil })
	for i := range 100 {
		if err := s.Text(fmt.Sprintf("+8529123%04d", i), shortCode, "VOTE AB0D1234"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all brought", func() bool { return s.Stats().Brought >= 100 })
	if _, err := p.Send(t.Context(), message("123456")); err != nil {
		t.Error(err)
	}
	if got := s.Stats().Taken; got > 1 { // the receipt
		t.Errorf("%d were acknowledged before anybody took them", got)
	}
	close(release)
	eventually(t, "all taken", func() bool { return s.Stats().Taken == 101 })
}

type blocked chan struct{}

func (b blocked) Receive(ctx context.Context, _ sms.Inbound) error {
	select {
	case <-b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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

func TestNothingOfAVoterIsLogged(t *testing.T) {
	s, address := simulate(t)
	var log output
	e := &ends{refuse: 1}
	p, err := smpp.New(config(t, address), provider.Deps{
		Name: "test", Receiver: e, Receipts: e, Clock: time.Now,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, p.Run)
	eventually(t, "bound", func() bool { return p.Check(t.Context()) == nil })
	s.SetFaults(smsc.Faults{Garbage: smsc.GarbageBody})
	if _, err := p.Send(t.Context(), message("123456")); err != nil {
		t.Fatal(err)
	}
	if err := s.Text(voter, shortCode, "VOTE AB0D1234"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "heard", func() bool { return len(e.texts()) == 1 })
	s.Disconnect()
	eventually(t, "bound again", func() bool { return s.Stats().Binds == 2 })
	said := log.String()
	for _, secret := range []string{"9123", "123456", "AB0D", password} {
		if strings.Contains(said, secret) {
			t.Errorf("the log has %q:\n%s", secret, said)
		}
	}
	if !strings.Contains(said, "bring it again") {
		t.Errorf("the log misses what went wrong:\n%s", said)
	}
}
