package simulator

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

type receipts []provider.Receipt

func (r *receipts) Receipt(_ context.Context, one provider.Receipt) { *r = append(*r, one) }

func TestAsAProviderItDeliversOrSaysThatItDidNot(t *testing.T) {
	s, err := New(Config{Embedded: true, Addresses: []string{"127.0.0.1:1"}, InboundNumber: "+85264500000"},
		Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	var got receipts
	p := s.Provider(provider.Deps{Name: "sim", Receipts: &got, Clock: time.Now})
	ref, err := p.Send(t.Context(), sms.Message{ID: "m1", To: "+85291234567", Text: "123456"})
	if err != nil || len(got) != 1 || got[0].Provider != "sim" || got[0].Ref != ref || got[0].State != provider.Delivered {
		t.Errorf("%q, %v, %+v", ref, err, got)
	}
	if messages, _ := s.received("+85291234567", 0); len(messages) != 1 {
		t.Errorf("%d on the handset", len(messages))
	}
	caller, ok := p.(provider.Caller)
	if !ok || !caller.CanCall() {
		t.Fatal("it makes no calls")
	}
	if _, err := caller.Call(t.Context(), sms.Message{ID: "m3", Kind: sms.ByCall, To: "+85291234567", Text: "1, 2, 3"}); err != nil {
		t.Error(err)
	}
	if messages, _ := s.received("+85291234567", 0); len(messages) != 2 || !messages[1].Call || messages[0].Call {
		t.Errorf("%+v", messages)
	}
	got = got[:1]
	_, err = p.Send(t.Context(), sms.Message{ID: "m2", To: "+85291234567", Deadline: time.Now().Add(-time.Second)})
	if !errors.Is(err, sms.ErrUnavailable) || len(got) != 1 {
		t.Errorf("too late: %v, %d receipts", err, len(got))
	}
}
