package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

const reported = `
currency: HKD
gateways: 2
spend: {hour: 100, day: 400}
block-hour: 50
slow: 2s
routes: [{name: first, kind: fake}, {name: second, kind: fake}]
countries:
  - prefix: "+852"
    routes: [{route: first, price: 0.5}, {route: second, price: 0.25}]
  - prefix: "+44"
    spend: {hour: 1, day: 2}
    routes: [{route: second, price: 0.25}]
`

// row is the report's of a route.
func row(t *testing.T, r sms.Report, name string) sms.RouteReport {
	t.Helper()
	for _, one := range r.Routes {
		if one.Name == name {
			return one
		}
	}
	t.Fatalf("there is no %s in %+v", name, r)
	return sms.RouteReport{}
}

func TestAReportSaysWhatBecameOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, reported)
		began := time.Now()
		time.Sleep(time.Minute)
		for range 4 {
			m := n.to("+85291234567")
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			n.Confirm(m.Conversation)
		}
		n.fakes["first"].fails(sms.ErrUnknown)
		_ = n.send(n.to("+85291234567"))
		n.fakes["first"].fails(sms.ErrPermanent)
		_ = n.send(n.to("+85291234567"))
		if got := row(t, n.Report(t.Context()), "first"); got.Trouble == nil || got.Trouble.What != "unknown" {
			t.Errorf("a wrong number is a route's trouble: %+v", got.Trouble)
		}
		time.Sleep(time.Second)
		at := time.Now()
		n.fakes["first"].fails(sms.ErrUnavailable)
		if err := n.send(n.to("+85291234567")); err != nil { // by the other
			t.Fatal(err)
		}
		if err := n.send(n.to("+4915112345678")); !errors.Is(err, ErrNotServed) {
			t.Fatal(err)
		}
		for _, state := range []provider.State{provider.Accepted, provider.Delivered, provider.Expired, provider.Rejected, provider.Undelivered, "?"} {
			for range 2 { // each says everything twice
				n.Receipt(t.Context(), provider.Receipt{Provider: "first", Ref: "r", State: state})
			}
		}
		r := n.Report(t.Context())
		if !r.Since.Equal(began) || !r.At.Equal(time.Now()) || r.Currency != "HKD" || len(r.Routes) != 2 || r.Refused["country"] != 1 || len(r.Refused) != len(reasons) {
			t.Errorf("%+v", r)
		}
		first := row(t, r, "first")
		if first.Kind != "fake" || first.Sent != 4 || first.Unknown != 1 || first.Failed != 2 || first.Calls != 0 || first.Delivered != 1 || first.Undelivered != 3 ||
			first.SpentHour != 2.5 || first.SpentDay != 2.5 || first.Faults != sms.BreakerClosed || first.Away || !first.RestsUntil.IsZero() {
			t.Errorf("first: %+v", first)
		}
		if first.Trouble == nil || first.Trouble.What != "unavailable" || !first.Trouble.At.Equal(at) {
			t.Errorf("the latest trouble: %+v", first.Trouble)
		}
		if second := row(t, r, "second"); second.Sent != 1 || second.SpentHour != 0.25 || second.Trouble != nil {
			t.Errorf("second: %+v", second)
		}
		want := []sms.Spending{
			{To: "all", Hour: 2.75, HourCap: 50, Day: 2.75, DayCap: 200},
			{To: "+852", Hour: 2.75, HourCap: 50, Day: 2.75, DayCap: 200},
			{To: "+44", HourCap: 0.5, DayCap: 1},
		}
		for i, is := range want {
			if i >= len(r.Spending) || r.Spending[i] != is {
				t.Fatalf("spent: %+v", r.Spending)
			}
		}
		time.Sleep(2 * time.Hour)
		if first := row(t, n.Report(t.Context()), "first"); first.SpentHour != 0 || first.SpentDay != 2.5 || first.Sent != 4 {
			t.Errorf("two hours later: %+v", first)
		}
	})
}

func TestAReportSaysWhoRestsAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, reported)
		n.fakes["first"].fails(sms.ErrUnavailable)
		for range faultsInRow {
			if err := n.send(n.to("+85291234567")); err != nil {
				t.Fatal(err)
			}
		}
		is := row(t, n.Report(t.Context()), "first")
		if is.Faults != sms.BreakerOpen || !is.RestsUntil.Equal(time.Now().Add(restFirst)) {
			t.Errorf("at rest: %+v", is)
		}
		time.Sleep(restFirst)
		for range 3 { // reading it is no trial
			if is := row(t, n.Report(t.Context()), "first"); is.Faults != sms.BreakerHalfOpen || !is.RestsUntil.IsZero() {
				t.Errorf("after it: %+v", is)
			}
		}
		n.fakes["first"].fails(nil)
		if err := n.send(n.to("+85291234567")); err != nil {
			t.Fatal(err)
		}
		if is := row(t, n.Report(t.Context()), "first"); is.Faults != sms.BreakerClosed || is.Trouble.What != "unavailable" {
			t.Errorf("when it works again: %+v", is)
		}
		n.fakes["first"].fails(&sms.Throttled{After: time.Minute})
		_ = n.send(n.to("+85291234567"))
		is = row(t, n.Report(t.Context()), "first")
		if is.Faults != sms.BreakerClosed || !is.RestsUntil.Equal(time.Now().Add(time.Minute)) || is.Trouble.What != "throttled" {
			t.Errorf("throttled: %+v", is)
		}
		time.Sleep(2 * time.Minute)
		n.fakes["first"].do(func(context.Context, int) error { time.Sleep(3 * time.Second); return nil })
		if err := n.send(n.to("+85291234567")); err != nil {
			t.Fatal(err)
		}
		if is := row(t, n.Report(t.Context()), "first"); is.Trouble.What != "slow" {
			t.Errorf("slow: %+v", is.Trouble)
		}
	})
}

func TestAReportSaysWhoseCodesNobodyUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, reported)
		for i := range minSample + 10 {
			m := n.to(fmt.Sprintf("+852912%d0000", i%10)) // each block has few
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				n.Confirm(m.Conversation)
			}
		}
		if is := row(t, n.Report(t.Context()), "first"); is.Settled != 0 || is.Conversion != sms.BreakerClosed {
			t.Errorf("before anybody has had the time: %+v", is)
		}
		time.Sleep(5 * time.Minute)
		if is := row(t, n.Report(t.Context()), "first"); is.Settled != minSample+10 || is.Used != 1./(minSample+10) {
			t.Errorf("after it: %+v", is)
		}
		_ = n.send(n.to("+85291210001"))
		if is := row(t, n.Report(t.Context()), "first"); is.Conversion != sms.BreakerOpen {
			t.Errorf("found out: %+v", is)
		}
	})
}

// away is a provider whose connection is down.
type away struct{ fake }

func (*away) Check(context.Context) error { return errors.New("it is not bound") }

func TestAReportSaysWhoKnowsThatItCannotSend(t *testing.T) {
	kinds := map[string]Kind{"away": KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) {
		return &away{fake{deps: deps}}, nil
	})}
	r, err := New(Free("line", "away", false), kinds, Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if is := row(t, r.Report(t.Context()), "line"); !is.Away || is.Kind != "away" {
		t.Errorf("%+v", is)
	}
	if r := r.Report(t.Context()); r.Currency != "" || r.Spending[0] != (sms.Spending{To: "all"}) {
		t.Errorf("what costs nothing: %+v", r)
	}
}

// TestAReportSaysNeitherWhomNorWhat: it goes to where operators are.
func TestAReportSaysNeitherWhomNorWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, reported)
		n.fakes["first"].fails(errors.New("no such number +85291234567"))
		for range 3 {
			_ = n.send(n.to("+85291234567"))
		}
		n.Receipt(t.Context(), provider.Receipt{Provider: "first", Ref: "ref-91234567", State: "+85291234567", Code: "91234567"})
		text, err := json.Marshal(n.Report(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []string{"9123", "123456", "\"c1\"", "no such number"} {
			if strings.Contains(string(text), private) {
				t.Errorf("it says %s: %s", private, text)
			}
		}
	})
}
