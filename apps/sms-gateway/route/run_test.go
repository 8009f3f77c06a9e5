package route

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// bound is a provider that keeps a connection.
type bound struct {
	fake
	began, ended chan struct{}
	why          error
}

func (b *bound) Run(ctx context.Context) {
	close(b.began)
	<-ctx.Done()
	close(b.ended)
}

func (b *bound) Check(context.Context) error { return b.why }

func TestProvidersRunAndSayHowTheyAre(t *testing.T) {
	b := &bound{began: make(chan struct{}), ended: make(chan struct{})}
	kinds := map[string]Kind{"bound": KindOf(func(_ struct{}, deps provider.Deps) (*bound, error) { b.deps = deps; return b, nil })}
	r, err := New(Free("only", "bound", false), kinds, Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	<-b.began
	if err := r.Health(t.Context()); err != nil {
		t.Error(err)
	}
	b.why = errors.New("not bound")
	if err := r.Health(t.Context()); !errors.Is(err, ErrNoRoute) || !strings.Contains(err.Error(), "not bound") {
		t.Errorf("%v", err)
	}
	b.why = nil
	b.fails(sms.ErrUnavailable)
	for range faultsInRow {
		_ = r.Send(t.Context(), sms.Message{ID: "m", To: phone})
	}
	if err := r.Health(t.Context()); !errors.Is(err, ErrNoRoute) {
		t.Errorf("all rest: %v", err)
	}
	stop()
	<-done
	select {
	case <-b.ended:
	default:
		t.Error("it did not wait for the provider")
	}
}
