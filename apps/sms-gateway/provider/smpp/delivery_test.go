package smpp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/sms"
)

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
