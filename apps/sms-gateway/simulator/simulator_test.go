package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/sms"
)

const (
	inbound = sms.Number("+85265000000")
	voter   = sms.Number("+85291234567")
)

// inbox keeps what the gateway would get.
type inbox struct {
	mu   sync.Mutex
	got  []sms.Inbound
	fail error
}

func (i *inbox) Receive(_ context.Context, in sms.Inbound) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, in)
	return i.fail
}

func deps(receiver sms.Receiver) Deps {
	return Deps{Receiver: receiver, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}

func working(t *testing.T, receiver sms.Receiver) *Simulator {
	t.Helper()
	s, err := New(Config{Embedded: true, Addresses: []string{"127.0.0.1:8082"}, InboundNumber: inbound}, deps(receiver))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestItRefusesToRunWhereRealVotersMightBe(t *testing.T) {
	for name, config := range map[string]Config{
		"not embedded":           {Addresses: []string{"127.0.0.1:8082"}},
		"addresses not known":    {Embedded: true},
		"every address":          {Embedded: true, Addresses: []string{":8082"}},
		"every IPv4 address":     {Embedded: true, Addresses: []string{"0.0.0.0:8082"}},
		"every IPv6 address":     {Embedded: true, Addresses: []string{"[::]:8082"}},
		"a private network":      {Embedded: true, Addresses: []string{"192.168.1.10:8082"}},
		"one of two is public":   {Embedded: true, Addresses: []string{"127.0.0.1:8082", "203.0.113.5:8080"}},
		"a name":                 {Embedded: true, Addresses: []string{"vote.example:8082"}},
		"a name like localhost":  {Embedded: true, Addresses: []string{"localhost.example:8082"}},
		"an address like a loop": {Embedded: true, Addresses: []string{"127.0.0.1.example:8082"}},
		"not an address":         {Embedded: true, Addresses: []string{"127.0.0.1"}},
		"beside a named network": {Embedded: true, Addresses: []string{"10.1.3.1:8082"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")}},
	} {
		if s, err := New(config, deps(&inbox{})); !errors.Is(err, ErrNotEmbedded) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	networks := []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")}
	for _, address := range []string{"127.0.0.1:0", "127.9.9.9:8082", "[::1]:8082", "localhost:8082", "10.1.2.3:8082"} {
		if _, err := New(Config{Embedded: true, Addresses: []string{address}, Networks: networks}, deps(&inbox{})); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestSendingTheSameMessageTwiceDeliversOne(t *testing.T) {
	s := working(t, &inbox{})
	for range 3 {
		if err := s.Send(t.Context(), sms.Message{ID: "a", To: voter, Text: "123456"}); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := s.received(voter, 0)
	if len(got) != 1 || got[0].Text != "123456" || got[0].From != inbound.Reveal() || got[0].To != voter.Reveal() {
		t.Errorf("on the handset: %+v", got)
	}
}

func TestALateMessageIsNotSent(t *testing.T) {
	s := working(t, &inbox{})
	err := s.Send(t.Context(), sms.Message{ID: "a", To: voter, Text: "123456", Deadline: time.Now().Add(-time.Second)})
	if got, _ := s.received(voter, 0); !errors.Is(err, ErrLate) || len(got) != 0 {
		t.Errorf("got %v, and %d messages", err, len(got))
	}
}

func TestAHandsetKeepsItsNewestMessages(t *testing.T) {
	s := working(t, &inbox{})
	for i := range perHandset + 3 {
		if err := s.Send(t.Context(), sms.Message{ID: fmt.Sprint(i), To: voter, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := s.received(voter, 0)
	if len(got) != perHandset || got[0].Text != "3" || got[perHandset-1].Text != fmt.Sprint(perHandset+2) {
		t.Errorf("%d messages, from %q to %q", len(got), got[0].Text, got[len(got)-1].Text)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Number <= got[i-1].Number {
			t.Fatalf("message %d is numbered %d after %d", i, got[i].Number, got[i-1].Number)
		}
	}
}

func TestHandsetsDoNotGrowWithoutBound(t *testing.T) {
	shelf := newShelf(2, 0)
	_, watched := shelf.at("a"), shelf.at("a").changed
	shelf.add(Message{ID: "1", To: "b"})
	shelf.add(Message{ID: "2", To: "c"})
	if len(shelf.byNumber) != 2 || shelf.recent.Len() != 2 {
		t.Errorf("%d and %d handsets", len(shelf.byNumber), shelf.recent.Len())
	}
	select {
	case <-watched:
	default:
		t.Error("who watched the handset that went doesn't know")
	}
	if got := shelf.at("c").after(0); len(got) != 1 {
		t.Errorf("the newest handset has %d messages", len(got))
	}
}

func TestOnlyThePublicNumberReachesTheGateway(t *testing.T) {
	gateway := &inbox{}
	s := working(t, gateway)
	if _, err := s.text(t.Context(), voter, "+85261234567", "hello"); err != nil {
		t.Fatal(err)
	}
	if len(gateway.got) != 0 {
		t.Error("a text to somebody else went to the gateway")
	}
	if got, _ := s.received("+85261234567", 0); len(got) != 1 || got[0].Text != "hello" {
		t.Errorf("somebody else got %+v", got)
	}
	m, err := s.text(t.Context(), voter, inbound, "VOTE AB0D1234")
	if err != nil {
		t.Fatal(err)
	}
	if len(gateway.got) != 1 || gateway.got[0].From != voter || gateway.got[0].To != inbound ||
		gateway.got[0].Text != "VOTE AB0D1234" || gateway.got[0].ProviderID != m.ID || gateway.got[0].ReceivedAt.IsZero() {
		t.Errorf("the gateway got %d messages: %+v", len(gateway.got), gateway.got)
	}
}
