package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// fake is a provider that does as it is told.
type fake struct {
	deps provider.Deps

	mu   sync.Mutex
	got  []sms.Message                    // guarded by mu
	does func(context.Context, int) error // guarded by mu; called without it
}

func (f *fake) Send(ctx context.Context, m sms.Message) (string, error) {
	f.mu.Lock()
	f.got = append(f.got, m)
	n, does := len(f.got), f.does
	f.mu.Unlock()
	if does != nil {
		if err := does(ctx, n); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(f.deps.Name, n), nil
}

func (f *fake) Handler() http.Handler { return http.NotFoundHandler() }

func (f *fake) do(does func(context.Context, int) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does = does
}

func (f *fake) fails(err error) { f.do(func(context.Context, int) error { return err }) }

func (f *fake) messages() []sms.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

// network is a router with its fakes by name.
type network struct {
	*Router
	t       *testing.T
	fakes   map[string]*fake
	metrics *prometheus.Registry
	n       int
}

func start(t *testing.T, table string) *network {
	t.Helper()
	n := &network{t: t, fakes: map[string]*fake{}, metrics: prometheus.NewRegistry()}
	kinds := map[string]Kind{"fake": KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) {
		n.fakes[deps.Name] = &fake{deps: deps}
		return n.fakes[deps.Name], nil
	})}
	parsed, err := Parse([]byte(table), kinds)
	if err != nil {
		t.Fatal(err)
	}
	n.Router, err = New(parsed, kinds, Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: n.metrics})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// to is a new conversation with a number.
func (n *network) to(number string) sms.Message {
	n.n++
	return sms.Message{ID: fmt.Sprint("m", n.n), To: sms.Number(number), Text: "123456", Conversation: fmt.Sprint("c", n.n)}
}

func (n *network) send(m sms.Message) error { return n.Send(n.t.Context(), m) }

// counts are how many messages each route was asked to send.
func (n *network) counts() map[string]int {
	all := map[string]int{}
	for name, f := range n.fakes {
		all[name] = len(f.messages())
	}
	return all
}

// metric is the value of a counter or gauge with these labels, "name{a=b}" without quotes.
func (n *network) metric(name string, labels ...string) float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetName()+"="+l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(has, l) }) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	n.t.Errorf("no metric %s %v", name, labels)
	return 0
}

const three = `
currency: HKD
spend: {hour: 1000, day: 10000}
block-hour: 1000
routes: [{name: a, kind: fake}, {name: b, kind: fake}, {name: c, kind: fake}]
countries:
  - prefix: "+852"
    routes: [{route: a, weight: 3, price: 0.5}, {route: b, weight: 1, price: 0.6}, {route: c, price: 1}]
`

const phone = "+85291234567"

func TestWeightsHoldOverManyMessages(t *testing.T) {
	n := start(t, strings.Replace(three, "{hour: 1000, day: 10000}\nblock-hour: 1000", "{hour: 10000, day: 10000}\nblock-hour: 10000", 1))
	const all = 8000
	for range all {
		if err := n.send(n.to(phone)); err != nil {
			t.Fatal(err)
		}
	}
	got := n.counts()
	if a := float64(got["a"]) / all; a < 0.73 || a > 0.77 || got["c"] != 0 {
		t.Errorf("%v, want three for one, and nothing for the one without a weight", got)
	}
}

// TestAResendGoesElsewhere: every sending of a session takes another route, whichever gateway it comes to.
func TestAResendGoesElsewhere(t *testing.T) {
	for conversation := range 50 {
		var ways []string
		for attempt := range 3 {
			n := start(t, three) // another gateway each time
			m := n.to(phone)
			m.Conversation, m.Attempt = fmt.Sprint("session", conversation), attempt
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			for name, count := range n.counts() {
				if count > 0 {
					ways = append(ways, name)
				}
			}
		}
		if slices.Sort(ways); !slices.Equal(ways, []string{"a", "b", "c"}) {
			t.Fatalf("conversation %d went by %v", conversation, ways)
		}
	}
}

// TestAResendGoesElsewhereAfterARecovery: which route comes first has changed meanwhile; the gateway that sent
// the first knows by which it was.
func TestAResendGoesElsewhereAfterARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 40 {
			n := start(t, three)
			m := n.to(phone)
			first := n.order(0, m)[0].by
			n.fakes[first.name].fails(&sms.Throttled{After: time.Minute})
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			n.fakes[first.name].do(nil)
			time.Sleep(2 * time.Minute)
			took := n.history.last(m.Conversation)
			m.Attempt = 1
			if next := n.order(0, m)[0].by; next == took {
				t.Fatalf("sent by %s, and again by %s", took.name, next.name)
			}
		}
	})
}

// TestWhatBecomesOfAMessage: by another route if and only if it certainly didn't go by the first and that helps.
func TestWhatBecomesOfAMessage(t *testing.T) {
	moving := strings.Replace(three, "routes: [{route", "blocked-moves-on: true\n    routes: [{route", 1)
	for name, c := range map[string]struct {
		table string
		first error
		asked int
		want  error
		costs float64
	}{
		"sent":                  {three, nil, 1, nil, 1},
		"permanent":             {three, sms.ErrPermanent, 1, sms.ErrPermanent, 0},
		"blocked":               {three, sms.ErrBlocked, 1, sms.ErrBlocked, 0},
		"blocked, and moved on": {moving, sms.ErrBlocked, 2, nil, 1},
		"throttled":             {three, &sms.Throttled{After: time.Second}, 2, nil, 1},
		"unavailable":           {three, fmt.Errorf("no route: %w", sms.ErrUnavailable), 2, nil, 1},
		"unknown":               {three, sms.ErrUnknown, 1, sms.ErrUnknown, 1},
		"not said":              {three, errors.New("EOF"), 1, sms.ErrUnknown, 1},
	} {
		n := start(t, c.table)
		m := n.to(phone)
		first := n.order(0, m)[0]
		n.fakes[first.by.name].fails(c.first)
		err := n.send(m)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		asked, paid := 0, 0.0
		for route, f := range n.fakes {
			for _, got := range f.messages() {
				if asked++; got != m {
					t.Errorf("%s: %s was given another message", name, route)
				}
			}
			if len(f.messages()) > 0 {
				paid += n.metric("popvote_sms_spent_total", "route="+route)
			}
		}
		spent := n.metric("popvote_sms_spent", "to=all", "in=hour")
		if asked != c.asked || (spent > 0) != (c.costs > 0) || paid != spent {
			t.Errorf("%s: %d routes asked, %g spent, %g paid", name, asked, spent, paid)
		}
	}
}

// TestFailoverWithinTenSeconds: a dead, a slow, a lying and a duplicating provider, each first in its line. No
// message goes out a second time unasked, none is paid for twice, and every voter has the code after one resend.
func TestFailoverWithinTenSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		does    func(context.Context, int) error
		unknown bool // what its messages come to
		costs   bool
		avoided bool // after a few
	}{
		"dead at once":      {func(context.Context, int) error { return sms.ErrUnavailable }, false, false, true},
		"dead after a dial": {func(context.Context, int) error { time.Sleep(3 * time.Second); return sms.ErrUnavailable }, false, false, true},
		"silent":            {func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, true, true, true},
		"slow":              {func(context.Context, int) error { time.Sleep(3500 * time.Millisecond); return nil }, false, true, true},
		"lying":             {func(context.Context, int) error { return nil }, false, true, false}, // found out by conversion alone
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failover(t, c.does, c.unknown, c.costs, c.avoided) })
		})
	}
}

func failover(t *testing.T, does func(context.Context, int) error, unknown, costs, avoided bool) {
	n := start(t, three)
	n.fakes["a"].do(does)
	for i := range 40 {
		m := n.to(phone)
		for m.Attempt = range 3 { // the voter asks again as long as nothing comes
			asked := time.Now()
			err := n.send(m)
			if took := time.Since(asked); took > 10*time.Second {
				t.Fatalf("message %d took %s", i, took)
			}
			if err == nil {
				break
			}
			if !unknown || !errors.Is(err, sms.ErrUnknown) || m.Attempt == 2 {
				t.Fatalf("message %d, attempt %d: %v", i, m.Attempt, err)
			}
		}
	}
	worth, paid, out := 0.0, 0.0, map[string]int{}
	for route, price := range map[string]float64{"a": 0.5, "b": 0.6, "c": 1} {
		paid += n.metric("popvote_sms_spent_total", "route="+route)
		for _, m := range n.fakes[route].messages() {
			if m.Text != "123456" {
				t.Fatal("another code went out")
			}
			if route != "a" || costs {
				worth += price
				out[fmt.Sprint(m.ID, " ", m.Attempt)]++
			}
		}
	}
	for id, times := range out {
		if times > 1 {
			t.Errorf("%s may have gone out %d times in one sending", id, times)
		}
	}
	booked := n.metric("popvote_sms_spent", "to=all", "in=hour")
	if math.Abs(paid-worth) > 1e-6 || math.Abs(booked-worth) > 1e-6 {
		t.Errorf("booked %g and paid %g for messages worth %g", booked, paid, worth)
	}
	if got := n.counts()["a"]; avoided && got > 12 {
		t.Errorf("it was asked %d times in 40 messages", got)
	}
}

func TestARouteThatFailsRestsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, strings.Replace(three, "{route: a, weight: 3", "{route: a, weight: 1000000", 1))
		a := n.fakes["a"]
		a.fails(sms.ErrUnavailable)
		for range 20 {
			if err := n.send(n.to(phone)); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(a.messages()); got != faultsInRow || n.metric("popvote_sms_route_state", "route=a", "by=faults") != open {
			t.Fatalf("it was asked %d times", got)
		}
		time.Sleep(restFirst)
		// One tries it; while that is under way nobody else does.
		a.do(func(context.Context, int) error { time.Sleep(time.Second); return nil })
		var group sync.WaitGroup
		for range 10 {
			m := n.to(phone)
			group.Go(func() {
				if err := n.send(m); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := len(a.messages()); got != faultsInRow+1 {
			t.Fatalf("%d asked it while it was tried", got-faultsInRow)
		}
		a.do(nil)
		before := len(a.messages())
		for range 10 {
			if err := n.send(n.to(phone)); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(a.messages()) - before; got < 9 || n.metric("popvote_sms_route_state", "route=a", "by=faults") != closed {
			t.Errorf("it works, and got %d of 10", got)
		}
	})
}

func TestAThrottledRouteIsLeftAloneAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, strings.Replace(three, "{route: a, weight: 3", "{route: a, weight: 1000000", 1))
		n.fakes["a"].fails(&sms.Throttled{After: 20 * time.Second})
		for range 19 {
			if err := n.send(n.to(phone)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got := n.counts()["a"]; got != 1 {
			t.Errorf("it was asked %d times", got)
		}
		n.fakes["a"].do(nil)
		time.Sleep(time.Second)
		if err := n.send(n.to(phone)); err != nil || n.counts()["a"] != 2 {
			t.Errorf("after its wait: %v, %v", err, n.counts())
		}
	})
}

func TestWhenNothingWorksItSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, three)
		for _, f := range n.fakes {
			f.fails(&sms.Throttled{After: time.Minute})
		}
		if err := n.send(n.to(phone)); !errors.Is(err, sms.ErrThrottled) {
			t.Errorf("all throttled: %v", err)
		}
		if err := n.send(n.to(phone)); !errors.Is(err, ErrNoRoute) || !errors.Is(err, sms.ErrUnavailable) {
			t.Errorf("all rest: %v", err)
		}
		if n.metric("popvote_sms_spent", "to=all", "in=day") != 0 || n.metric("popvote_sms_refused_total", "reason=no_route") != 1 {
			t.Error("it cost something, or isn't counted")
		}
		late := n.to(phone)
		late.Deadline = time.Now().Add(-time.Second)
		if err := n.send(late); !errors.Is(err, ErrNoRoute) {
			t.Errorf("after its deadline: %v", err)
		}
	})
}

func TestOnlyListedCountriesAndTheLongestPrefix(t *testing.T) {
	n := start(t, three+`
  - prefix: "+8526"
    routes: [{route: c, weight: 1, price: 1}]
`)
	for _, number := range []string{"+447700900123", "+8", "+85399", ""} {
		err := n.send(n.to(number))
		if !errors.Is(err, ErrNotServed) || !errors.Is(err, sms.ErrPermanent) {
			t.Errorf("%v", err)
		}
	}
	if got := n.counts(); got["a"]+got["b"]+got["c"] != 0 || n.metric("popvote_sms_spent", "to=all", "in=day") != 0 {
		t.Errorf("it cost something: %v", got)
	}
	if n.metric("popvote_sms_refused_total", "reason=country") != 4 {
		t.Error("it isn't counted")
	}
	for range 20 {
		if err := n.send(n.to("+85261234567")); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.counts(); got["c"] != 20 {
		t.Errorf("the shorter prefix counted: %v", got)
	}
}

const pumped = `
currency: HKD
gateways: 2
spend: {hour: 400, day: 2000}
block-hour: 60
routes: [{name: a, kind: fake}]
countries:
  - {prefix: "+852", routes: [{route: a, weight: 1, price: 0.5}]}
  - {prefix: "+44", spend: {hour: 100, day: 150}, routes: [{route: a, weight: 1, price: 0.5}]}
`

// TestAnSMSPumpSpendsNoMoreThanItsCaps: sequential numbers of many networks, one each second for a day and a
// half, with nobody who uses a code. Honest voters, here and abroad, get theirs all the time.
func TestAnSMSPumpSpendsNoMoreThanItsCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, pumped)
		spent, refused, honest := map[int64]float64{}, map[string]int{}, 0
		for second := range 36 * 3600 {
			abroad := n.to(fmt.Sprintf("+447%d%06d", second%40+10, second/40))
			here := n.to(fmt.Sprintf("+8526%d%05d", second%3, second/3%10000))
			for country, m := range map[string]sms.Message{"+44": abroad, "+852": here} {
				switch err := n.send(m); {
				case err == nil:
					if country == "+44" {
						spent[time.Now().Unix()/3600] += 0.5
					}
				case errors.Is(err, ErrSpent), errors.Is(err, ErrUnused):
					refused[country]++
				default:
					t.Fatal(err)
				}
			}
			if second%300 == 0 { // somebody of another block, who reads what comes
				m := n.to(fmt.Sprintf("+8529%d%06d", second/300%10, second))
				if err := n.send(m); err != nil {
					t.Fatalf("an honest voter after %d s: %v", second, err)
				}
				honest++
				time.Sleep(time.Second)
				n.Confirm(m.Conversation)
			}
			time.Sleep(time.Second)
			if hour := n.metricEvery(second); hour > 0 {
				t.Fatal("over a cap")
			}
		}
		total := 0.0
		for hour, sum := range spent {
			if total += sum; sum > 50 {
				t.Errorf("%g in hour %d abroad, of this gateway's 50", sum, hour)
			}
		}
		if total > 150 { // a day's cap, 75, in each of two days
			t.Errorf("%g spent abroad", total)
		}
		if refused["+44"] < 100_000 || refused["+852"] < 100_000 || honest < 400 {
			t.Errorf("refused %v, honest %d", refused, honest)
		}
		if n.metric("popvote_sms_refused_total", "reason=spent") == 0 || n.metric("popvote_sms_refused_total", "reason=unused") == 0 {
			t.Error("no alarm was raised")
		}
	})
}

// metricEvery looks at the figures now and then: how many windows are over their caps.
func (n *network) metricEvery(second int) (over float64) {
	if second%600 != 0 {
		return 0
	}
	for _, to := range []string{"all", "+852", "+44"} {
		for _, in := range []string{"hour", "day"} {
			if n.metric("popvote_sms_spent", "to="+to, "in="+in) > n.metric("popvote_sms_cap", "to="+to, "in="+in) {
				over++
			}
		}
	}
	return over
}

func TestMoneyComesBackWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, strings.Replace(three, "{hour: 1000, day: 10000}", "{hour: 2, day: 3}", 1))
		buy := func() (bought int) {
			for range 10 {
				if err := n.send(n.to(phone)); err == nil {
					bought++
				} else if !errors.Is(err, ErrSpent) {
					t.Fatal(err)
				}
			}
			return bought
		}
		if got := buy(); got < 3 || got > 4 {
			t.Errorf("%d in the first hour", got)
		}
		time.Sleep(59 * time.Minute)
		if got := buy(); got != 0 {
			t.Errorf("%d before it was over", got)
		}
		time.Sleep(10 * time.Minute)
		if got := buy(); got == 0 || got > 2 {
			t.Errorf("%d in the second, of what is left of the day", got)
		}
		time.Sleep(2 * time.Hour)
		if got := buy(); got != 0 {
			t.Errorf("%d more in a day than its cap", got)
		}
		time.Sleep(25 * time.Hour)
		if got := buy(); got < 3 {
			t.Errorf("%d on the next day", got)
		}
	})
}

// TestABlockThatUsesNothingIsSentNothing, until codes are used there again.
func TestABlockThatUsesNothingIsSentNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, three)
		var messages []sms.Message
		for i := range 60 {
			m := n.to(fmt.Sprintf("+8529123%04d", i))
			messages = append(messages, m)
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
		}
		n.Confirm(messages[0].Conversation)
		n.Confirm(messages[0].Conversation) // told twice, counted once
		if err := n.send(n.to("+85291239999")); err != nil {
			t.Fatalf("before the voters have had the time: %v", err)
		}
		time.Sleep(4 * time.Minute)
		if err := n.send(n.to("+85291239999")); !errors.Is(err, ErrUnused) || !errors.Is(err, sms.ErrBlocked) {
			t.Fatalf("1 of 60 used: %v", err)
		}
		if err := n.send(n.to("+85291249999")); err != nil {
			t.Errorf("the next block: %v", err)
		}
		time.Sleep(10 * time.Minute)
		tried := 0
		for range 30 {
			m := n.to("+85291239999")
			err := n.send(m)
			if err == nil {
				tried++
			}
		}
		if tried != trial {
			t.Fatalf("%d were sent to see", tried)
		}
		time.Sleep(3 * time.Minute)
		if err := n.send(n.to("+85291239999")); !errors.Is(err, ErrUnused) {
			t.Fatalf("none of those used: %v", err)
		}
		time.Sleep(20 * time.Minute)
		m := n.to("+85291239999")
		if err := n.send(m); err != nil {
			t.Fatal(err)
		}
		n.Confirm(m.Conversation)
		for range 30 {
			m := n.to("+85291239999")
			if err := n.send(m); err != nil {
				t.Fatalf("one was used: %v", err)
			}
			n.Confirm(m.Conversation)
		}
	})
}

// TestARouteThatLiesComesLast: it takes every message and delivers none. When no other is left it is asked all
// the same: whoever has codes sent and uses none must not be able to close them all.
func TestARouteThatLiesComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, three)
		send := func(i int) {
			m := n.to(fmt.Sprintf("+8529%03d%04d", i%100, i))
			if err := n.send(m); err != nil {
				t.Fatal(err)
			}
			if n.history.last(m.Conversation).name != "a" {
				n.Confirm(m.Conversation)
			}
			time.Sleep(time.Second)
		}
		for i := range 400 {
			send(i)
		}
		if n.metric("popvote_sms_route_state", "route=a", "by=conversion") != open {
			t.Fatal("it isn't found out")
		}
		before := n.counts()
		for i := range 100 {
			send(i)
		}
		if after := n.counts(); after["a"] != before["a"] || after["b"] == before["b"] {
			t.Errorf("%v, then %v", before, after)
		}
		n.fakes["b"].fails(sms.ErrUnavailable)
		n.fakes["c"].fails(sms.ErrUnavailable)
		send(1)
		if after := n.counts(); after["a"] != before["a"]+1 {
			t.Error("nothing else works, and it wasn't asked")
		}
	})
}

func TestAReceiptCountsOnce(t *testing.T) {
	n := start(t, three)
	for range 3 {
		for _, state := range []provider.State{provider.Delivered, provider.Accepted, "dunno"} {
			n.Receipt(t.Context(), provider.Receipt{Provider: "a", Ref: "r1", State: state})
		}
	}
	n.Receipt(t.Context(), provider.Receipt{Provider: "nobody", Ref: "r1", State: provider.Delivered})
	for state, want := range map[string]float64{"delivered": 1, "accepted": 1, "unknown": 1} {
		if got := n.metric("popvote_sms_receipts_total", "route=a", "state="+state); got != want {
			t.Errorf("%s: %g", state, got)
		}
	}
	if got := testutil.CollectAndCount(n.figures.receipts); got != 3 {
		t.Errorf("%d series: whoever sends receipts can make more", got)
	}
}

func TestWhatIsUnderWayIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, three)
		for _, f := range n.fakes {
			f.do(func(context.Context, int) error { time.Sleep(time.Second); return nil })
		}
		var group sync.WaitGroup
		for range 5 {
			m := n.to(phone)
			group.Go(func() { _ = n.send(m) })
		}
		all := func() (all float64) {
			synctest.Wait()
			for route := range n.fakes {
				all += n.metric("popvote_sms_sending", "route="+route)
			}
			return all
		}
		if got := all(); got != 5 {
			t.Errorf("%g are under way", got)
		}
		group.Wait()
		if got := all(); got != 0 {
			t.Errorf("%g are under way, afterwards", got)
		}
	})
}

// TestManyAtOnce: concurrent messages, confirmations and receipts keep the books right.
func TestManyAtOnce(t *testing.T) {
	n := start(t, three)
	n.fakes["a"].do(func(_ context.Context, i int) error {
		return []error{nil, sms.ErrUnavailable, sms.ErrUnknown, sms.ErrBlocked}[i%4]
	})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 200 {
				m := sms.Message{ID: "m", To: phone, Conversation: fmt.Sprint(worker, i), Attempt: i % 3}
				_ = n.Send(context.Background(), m)
				n.Confirm(m.Conversation)
				n.Receipt(context.Background(), provider.Receipt{Provider: "a", Ref: m.Conversation, State: provider.Delivered})
				if i%50 == 0 {
					_, _ = n.metrics.Gather()
				}
			}
		})
	}
	group.Wait()
	paid := 0.0
	for name := range maps.Keys(n.fakes) {
		paid += n.metric("popvote_sms_spent_total", "route="+name)
	}
	if spent := n.metric("popvote_sms_spent", "to=all", "in=hour"); spent-paid > 0.001 || paid-spent > 0.001 {
		t.Errorf("%g booked, %g spent", paid, spent)
	}
}

func TestNoErrorSaysWhomOrWhat(t *testing.T) {
	n := start(t, three)
	for _, f := range n.fakes {
		f.fails(sms.ErrUnavailable)
	}
	if err := n.send(n.to(phone)); err == nil || strings.Contains(err.Error(), "9123") || strings.Contains(err.Error(), "123456") {
		t.Errorf("%v", err)
	}
}
