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

const finer = `
currency: USD
spend: {hour: 100, day: 400}
block-hour: 50
routes: [{name: first, kind: fake}, {name: second, kind: fake}]
countries:
  - prefix: "+1"
    routes: [{route: first, price: 1}, {route: second, price: 1}]
  - prefix: "+1684733"
    spend: {hour: 10, day: 20}
    routes: [{route: first, price: 2}]
  - prefix: "+"
    routes: [{route: second, price: 3}]
`

func countryOf(t *testing.T, r sms.RouteReport, to string) sms.CountryReport {
	t.Helper()
	for _, one := range r.Countries {
		if one.To == to {
			return one
		}
	}
	t.Fatalf("there is no %s in %+v", to, r.Countries)
	return sms.CountryReport{}
}

// TestAReportSaysCountriesAndNothingFiner, and what became of messages to each.
func TestAReportSaysCountriesAndNothingFiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, finer)
		for _, number := range []string{"+12015550123", "+16847331234", "+447400123456", "+12015550124"} {
			m := n.to(number)
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			if number != "+12015550124" {
				n.Confirm(m.Conversation)
			}
		}
		n.fakes["second"].fails(sms.ErrPermanent)
		_ = n.send(n.to("+447400123456"))
		time.Sleep(5 * time.Minute)
		r := n.Report(t.Context())
		first, second := row(t, r, "first"), row(t, r, "second")
		if len(first.Countries) != 1 || len(second.Countries) != 2 {
			t.Fatalf("%+v", r.Routes)
		}
		us, there, elsewhere := countryOf(t, first, "+1"), countryOf(t, second, "+1"), countryOf(t, second, "+")
		if us.Sent != 3 || us.SpentHour != 4 || us.Settled != 3 || us.Used != 2./3 || us.Failed != 0 {
			t.Errorf("by the first to +1: %+v", us)
		}
		if there.Sent != 0 || there.Used != 1 || there.Settled != 0 || elsewhere.Sent != 1 || elsewhere.Failed != 1 || elsewhere.SpentDay != 3 {
			t.Errorf("by the second: %+v, %+v", there, elsewhere)
		}
		var to []string
		for _, one := range r.Spending {
			to = append(to, one.To)
		}
		if fmt.Sprint(to) != "[all +1 +1 +]" || r.Spending[2].HourCap != 10 {
			t.Errorf("spent: %+v", r.Spending)
		}
		text, err := json.Marshal(r)
		if err != nil || strings.Contains(string(text), "684") || strings.Contains(string(text), "+44") {
			t.Errorf("%v: %s", err, text)
		}
	})
}

// TestReceiptsFindTheirCountry: by the message, by what the provider says, or not at all; each counts once, also one
// that is here before the provider's own answer.
func TestReceiptsFindTheirCountry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, reported)
		tells := func(ref string, to sms.Number, state provider.State) {
			n.Receipt(t.Context(), provider.Receipt{Provider: "first", Ref: ref, To: to, State: state})
		}
		hk := func() (sms.RouteReport, sms.CountryReport) {
			r := row(t, n.Report(t.Context()), "first")
			return r, countryOf(t, r, "+852")
		}
		for range 3 {
			if err := n.send(n.to("+85291234567")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4 * time.Second)
		for range 2 {
			tells("first1", "", provider.Accepted)
			tells("first1", "", provider.Delivered)
			tells("first2", "+447400123456", provider.Expired) // it is known better here
		}
		time.Sleep(20 * time.Minute)
		tells("first3", "", provider.Delivered)
		if all, is := hk(); all.Delivered != 2 || all.Undelivered != 1 || is.Delivered != 2 || is.Undelivered != 1 ||
			fmt.Sprint(is.Delays) != "[{4 1} {0 1}]" || fmt.Sprint(all.Delays) != fmt.Sprint(is.Delays) {
			t.Errorf("of its own messages: %+v, %+v", all, is)
		}

		// Of another gateway's messages.
		for range 2 {
			tells("theirs1", "+85291234567", provider.Delivered)
			tells("theirs2", "", provider.Delivered)
			tells("theirs3", "+447400123456", provider.Rejected) // this route leads to no such country
			tells("theirs4", "+4915112345678", provider.Delivered)
		}
		if all, is := hk(); all.Delivered != 5 || all.Undelivered != 2 || is.Delivered != 3 || is.Undelivered != 1 || len(is.Delays) != 2 {
			t.Errorf("of another's: %+v, %+v", all, is)
		}

		// Before the answer: with the number, and without.
		for _, to := range []sms.Number{"", "+85291234567"} {
			n.fakes["first"].do(func(context.Context, int) error {
				time.Sleep(time.Second)
				tells(fmt.Sprint("first", len(n.fakes["first"].messages())), to, provider.Delivered)
				return nil
			})
			if err := n.send(n.to("+85291234567")); err != nil {
				t.Fatal(err)
			}
		}
		if all, is := hk(); all.Delivered != 7 || is.Delivered != 5 || fmt.Sprint(is.Delays) != "[{1 2} {4 1} {0 1}]" {
			t.Errorf("early: %+v, %+v", all, is)
		}
		time.Sleep(time.Hour)
		if all, is := hk(); len(is.Delays) != 0 || all.Delivered != 7 {
			t.Errorf("an hour later: %+v, %+v", all, is)
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
