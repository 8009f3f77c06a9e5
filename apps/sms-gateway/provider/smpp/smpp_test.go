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
