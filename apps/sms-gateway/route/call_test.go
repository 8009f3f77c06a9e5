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

// caller is a fake that also calls, if it can.
type caller struct {
	*fake
	can   bool
	calls []sms.Message
}

func (c *caller) CanCall() bool { return c.can }

func (c *caller) Call(_ context.Context, m sms.Message) (string, error) {
	c.calls = append(c.calls, m)
	return "", nil
}

const calling = `
currency: HKD
spend: {hour: 10, day: 100}
block-hour: 10
routes: [{name: a, kind: fake}, {name: b, kind: caller}, {name: c, kind: caller}]
countries:
  - prefix: "+852"
    routes: [{route: a, weight: 1000000, price: 0.5}, {route: b, weight: 1, price: 0.6, call-price: 4}, {route: c, price: 1, call-price: 5}]
  - prefix: "+44"
    routes: [{route: a, weight: 1, price: 0.5}]
`

// callers starts a router of which b and c call.
func callers(table string, can bool) (*Router, map[string]*caller, *prometheus.Registry, error) {
	all, metrics := map[string]*caller{}, prometheus.NewRegistry()
	kinds := map[string]Kind{
		"fake": KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) { return &fake{deps: deps}, nil }),
		"caller": KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) {
			all[deps.Name] = &caller{fake: &fake{deps: deps}, can: can}
			return all[deps.Name], nil
		}),
	}
	parsed, err := Parse([]byte(table), kinds)
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := New(parsed, kinds, Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: metrics})
	return r, all, metrics, err
}

// TestACallGoesByARouteThatCalls, at its price, under the same caps, and as part of the same conversation.
func TestACallGoesByARouteThatCalls(t *testing.T) {
	r, all, metrics, err := callers(calling, true)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{Router: r, t: t, metrics: metrics}
	m := sms.Message{ID: "m", Kind: sms.ByCall, To: phone, Text: "1, 2, 3", Conversation: "c", Attempt: 2}
	for range 2 {
		if err := n.send(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.send(m); !errors.Is(err, ErrSpent) {
		t.Errorf("two calls cost all there is for an hour: %v", err)
	}
	b, c := all["b"], all["c"]
	if len(b.calls) != 1 || len(c.calls) != 1 || b.calls[0] != m || c.calls[0] != m || len(b.messages())+len(c.messages()) != 0 {
		t.Errorf("b called %v, c %v", b.calls, c.calls)
	}
	if got := n.metric("popvote_sms_spent", "to=all", "in=hour"); got != 9 {
		t.Errorf("%g spent", got)
	}
	for route, want := range map[string]float64{"a": 0, "b": 1, "c": 1} {
		if got := n.metric("popvote_sms_calls_total", "route="+route); got != want {
			t.Errorf("%g calls by %s", got, route)
		}
	}
	m.Kind = sms.ByText
	if err := n.send(m); err != nil {
		t.Errorf("an SMS costs less: %v", err)
	}
	m.Kind, m.To = sms.ByCall, "+447700900123"
	if err := n.send(m); !errors.Is(err, ErrNoRoute) {
		t.Errorf("nobody calls there: %v", err)
	}
}

func TestATableOfCallsIsChecked(t *testing.T) {
	for name, one := range map[string]struct {
		from, to string
		can      bool
		says     string
	}{
		"a kind that calls nobody": {"{route: a, weight: 1000000, price: 0.5}", "{route: a, weight: 1, call-price: 4}", true, "countries[0].routes[0].call-price"},
		"not set up to call":       {"", "", false, "countries[0].routes[1].call-price"},
		"dearer than a block":      {"call-price: 4", "call-price: 11", true, "block-hour"},
		"no price":                 {"call-price: 4", "call-price: -1", true, "amount"},
	} {
		if _, _, _, err := callers(strings.Replace(calling, one.from, one.to, 1), one.can); err == nil || !strings.Contains(err.Error(), one.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
