package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/verification"
)

const (
	voter  = sms.Number("+85291234567")
	public = sms.Number("+85265000000")
)

var secret = [32]byte{1, 2, 3}

type secrets struct{ err error }

func (s secrets) Secret(_ context.Context, purpose keyring.Purpose, scope string) ([32]byte, error) {
	if purpose != keyring.Verification || scope != "" {
		return [32]byte{}, errors.New("not the gateway's secret")
	}
	return secret, s.err
}

// brokenBoard fails every hearing.
type brokenBoard struct{ verification.Board }

func (brokenBoard) Heard(context.Context, verification.Key, time.Time, time.Duration) error {
	return errors.New("redis is away")
}

type gateway struct {
	*Server
	board   verification.Board
	log     bytes.Buffer
	metrics *prometheus.Registry
}

func newGateway(board verification.Board, s keyring.Secrets) *gateway {
	g := &gateway{metrics: prometheus.NewRegistry(), board: board}
	g.Server = New(Config{}, Deps{
		Board: board, Secrets: s, Clock: time.Now, Metrics: g.metrics,
		Log: slog.New(slog.NewTextHandler(&g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return g
}

func working() *gateway { return newGateway(verification.NewMemory(time.Now), secrets{}) }

// heard returns when the text from the number arrived; false if it didn't.
func (g *gateway) heard(from sms.Number, text string) (time.Time, bool) {
	news, stop, err := g.board.Watch(context.Background(), verification.KeyOf(secret, from, text))
	if err != nil {
		return time.Time{}, false
	}
	defer stop()
	select {
	case got := <-news:
		return got.At, got.Err == nil
	default:
		return time.Time{}, false
	}
}

func TestAnSMSMeetsWhoWaitsForItHoweverItWasTyped(t *testing.T) {
	for _, body := range []string{"VOTE AB0D1234", "ｖｏｔｅ　ａｂ０ｄ１２３４", "pls vote abod-i234 thx"} {
		synctest.Test(t, func(t *testing.T) {
			g, at := working(), time.Now()
			time.Sleep(3 * time.Second) // on its way
			if err := g.Receive(t.Context(), sms.Inbound{From: voter, To: public, Text: body, ReceivedAt: at}); err != nil {
				t.Fatal(err)
			}
			if got, ok := g.heard(voter, "VOTE AB0D1234"); !ok || !got.Equal(at) {
				t.Errorf("%q: heard %v at %v, want at %v", body, ok, got, at)
			}
		})
	}
}

func TestAWrongTextAndAWrongPhoneMeetNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := working()
		for _, in := range []sms.Inbound{
			{From: voter, To: public, Text: "VOTE AB0D1235"},
			{From: voter, To: public, Text: "hello"},
			{From: "+85261234567", To: public, Text: "VOTE AB0D1234"},
		} {
			if err := g.Receive(t.Context(), in); err != nil {
				t.Errorf("%q: %v", in.Text, err)
			}
		}
		if _, ok := g.heard(voter, "VOTE AB0D1234"); ok {
			t.Error("it was taken for the right text from the right phone")
		}
	})
}

func TestTheSameMessageAgainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, first := working(), time.Now()
		in := sms.Inbound{From: voter, To: public, Text: "VOTE AB0D1234", ReceivedAt: first, ProviderID: "m1"}
		for range 3 {
			if err := g.Receive(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			in.ReceivedAt = time.Now()
		}
		if got, ok := g.heard(voter, "VOTE AB0D1234"); !ok || !got.Equal(first) {
			t.Errorf("heard %v at %v, want %v", ok, got, first)
		}
		// Another, and two whose network gives no ids.
		for _, id := range []string{"m2", "", ""} {
			in.ProviderID = id
			if err := g.Receive(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		for outcome, want := range map[string]float64{outcomeHeard: 4, outcomeAgain: 2} {
			if got := testutil.ToFloat64(g.inbound.WithLabelValues(outcome)); got != want {
				t.Errorf("%v were counted as %s, want %v", got, outcome, want)
			}
		}
	})
}

func TestAFloodOfMessagesTakesNoMoreMemory(t *testing.T) {
	c := newCounted()
	for i := range maxCounted + 100 {
		if c.again(sms.Inbound{From: voter, ProviderID: strconv.Itoa(i)}) {
			t.Fatalf("%d came before", i)
		}
	}
	if c.seen.Len() != maxCounted || !c.again(sms.Inbound{From: voter, ProviderID: "100"}) || c.again(sms.Inbound{From: voter, ProviderID: "99"}) {
		t.Errorf("%d are remembered, and not the latest", c.seen.Len())
	}
	if c.again(sms.Inbound{From: "+85261234567", ProviderID: "100"}) {
		t.Error("another phone's message is the same")
	}
}

func TestATimeOfArrivalIsNeverMissingOrInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []time.Time{{}, time.Now().Add(time.Hour)} {
			g := working()
			if err := g.Receive(t.Context(), sms.Inbound{From: voter, To: public, Text: "VOTE AB0D1234", ReceivedAt: at}); err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if got, ok := g.heard(voter, "VOTE AB0D1234"); !ok || !got.Equal(now) {
				t.Errorf("arrived %v: heard %v at %v", at, ok, got)
			}
		}
	})
}

func TestAbsurdMessagesAreRefused(t *testing.T) {
	g := working()
	for name, in := range map[string]sms.Inbound{
		"huge text":        {From: voter, To: public, Text: strings.Repeat("VOTE AB0D1234 ", 1000)},
		"no sender":        {To: public, Text: "VOTE AB0D1234"},
		"a word as sender": {From: "PopVote", To: public, Text: "VOTE AB0D1234"},
		"endless sender":   {From: "+" + sms.Number(strings.Repeat("1", 16)), To: public, Text: "VOTE AB0D1234"},
		"endless receiver": {From: voter, To: sms.Number(strings.Repeat("1", 17)), Text: "VOTE AB0D1234"},
		"endless id":       {From: voter, To: public, Text: "VOTE AB0D1234", ProviderID: strings.Repeat("x", 129)},
	} {
		if err := g.Receive(t.Context(), in); !errors.Is(err, sms.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := testutil.ToFloat64(g.inbound.WithLabelValues(outcomeRefused)); got != 6 {
		t.Errorf("%v were counted as refused", got)
	}
}

func TestWhatTheBoardDidNotTakeComesAgain(t *testing.T) {
	in := sms.Inbound{From: voter, To: public, Text: "VOTE AB0D1234"}
	for _, g := range []*gateway{
		newGateway(brokenBoard{}, secrets{}),
		newGateway(verification.NewMemory(time.Now), secrets{errors.New("sealed")}),
	} {
		if err := g.Receive(t.Context(), in); err == nil || errors.Is(err, sms.ErrRefused) {
			t.Errorf("got %v", err)
		}
		if got := testutil.ToFloat64(g.inbound.WithLabelValues(outcomeFailed)); got != 1 {
			t.Errorf("%v were counted as failed", got)
		}
	}
}

func TestNeitherNumberNorTextIsWrittenAnywhere(t *testing.T) {
	g := working()
	broken := newGateway(brokenBoard{}, secrets{})
	for _, text := range []string{"VOTE AB0D1234", "a private matter", strings.Repeat("VOTE AB0D1234 ", 1000)} {
		in := sms.Inbound{From: voter, To: public, Text: text}
		for _, one := range []*gateway{g, broken} {
			if err := one.Receive(t.Context(), in); err != nil {
				one.log.WriteString(err.Error()) // whoever gets it logs it
			}
		}
	}
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	written := g.log.String() + broken.log.String()
	for _, family := range families {
		written += family.String()
	}
	for _, private := range []string{"91234567", "AB0D1234", "private matter", "65000000"} {
		if strings.Contains(written, private) {
			t.Errorf("%q was written", private)
		}
	}
}
