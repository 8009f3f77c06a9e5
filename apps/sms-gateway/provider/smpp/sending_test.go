package smpp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/sms"
)

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
