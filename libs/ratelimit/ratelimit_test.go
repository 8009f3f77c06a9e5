package ratelimit

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/identity"
)

func TestTheTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range slices.Concat(Table, Reserve) {
		if seen[l.Name] || l.Count <= 0 || l.Window < time.Second || len(l.By) == 0 || l.Why == "" || !strings.HasPrefix(l.Name, string(l.On)+"-") {
			t.Errorf("row %+v", l)
		}
		seen[l.Name] = true
		if slices.Contains(l.By, Voter) && l.On != Cast && !slices.Contains(l.By, Network) {
			t.Errorf("%s: a stranger who knows a number could lock its voter out", l.Name)
		}
	}
}

func TestTheDocumentationIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(Markdown(Table))) || !bytes.Contains(page, []byte(Markdown(Reserve))) {
		t.Error("docs/limits.md does not show the tables: run go generate in libs/ratelimit")
	}
}

// TestAClassroomBehindOneAddress: forty voters at one moment, from one address, all the way.
func TestAClassroomBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLocal(Config{}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		for i := range byte(40) {
			who := Subject{Client: netip.MustParseAddr("192.0.2.1"), Phone: identity.PhoneTag{1, i}, Voter: identity.VoterTag{1, i}, Poll: "p"}
			for _, action := range []Action{Challenge, Attempt, Session, Send, Send, Send, Send, Wait, Wait, Check, Check, Check, Check, Check, Cast, Cast} {
				if d, _ := l.Take(t.Context(), action, who); !d.Allowed {
					t.Fatalf("voter %d: %s refused by %s", i, action, d.Limit.Name)
				}
			}
		}
	})
}

func limiter(t testing.TB, limits ...Limit) *Local {
	t.Helper()
	l, err := newLocal(limits, 0, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNobodyLocksOutSomebodyElse: a stranger who knows a voter's identity number and phone does all that is
// allowed with them, and the voter goes on. From one network, that is; it takes three to use a phone up.
func TestNobodyLocksOutSomebodyElse(t *testing.T) {
	l, err := NewLocal(Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	at := func(address string) Subject {
		return Subject{Client: netip.MustParseAddr(address), Phone: identity.PhoneTag{7}, Voter: identity.VoterTag{7}, Poll: "p"}
	}
	exhaust := func(who Subject) (n int) {
		for _, action := range []Action{Session, Send, Check} {
			for d, _ := l.Take(t.Context(), action, who); d.Allowed; d, _ = l.Take(t.Context(), action, who) {
				n++
			}
		}
		return n
	}
	if n := exhaust(at("192.0.2.1")); n < 50 {
		t.Errorf("a stranger did only %d things", n)
	}
	victim := at("198.51.100.1")
	for _, action := range []Action{Session, Send, Check} {
		if d, _ := l.Take(t.Context(), action, victim); !d.Allowed {
			t.Errorf("%v: the voter is locked out by %s", action, d.Limit.Name)
		}
	}
	for i := range 3 {
		exhaust(at(fmt.Sprintf("203.0.%d.1", i)))
	}
	if d, _ := l.Take(t.Context(), Send, victim); d.Allowed || d.Limit.Name != "send-phone-all" {
		t.Errorf("four networks flood a phone: %+v", d)
	}
}

func TestAnAllowanceGrowsBackEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, Limit{Name: "x", On: Cast, By: []Dimension{Poll}, Count: 3, Window: 30 * time.Second})
		take := func() Decision { d, _ := l.Take(t.Context(), Cast, Subject{Poll: "p"}); return d }
		for want := 2; want >= 0; want-- {
			if d := take(); !d.Allowed || d.Remaining != want {
				t.Fatalf("%+v, want %d left", d, want)
			}
		}
		refused := take()
		if refused.Allowed || refused.RetryAfter != 10*time.Second || refused.Policy() != `"x";q=3;w=30` || refused.Header() != `"x";r=0;t=30` {
			t.Fatalf("%+v %s %s", refused, refused.Policy(), refused.Header())
		}
		time.Sleep(refused.RetryAfter - time.Nanosecond)
		if take().Allowed {
			t.Fatal("allowed before Retry-After")
		}
		time.Sleep(time.Nanosecond)
		if !take().Allowed || take().Allowed {
			t.Fatal("at Retry-After there is one, and no more")
		}
		if d, _ := l.Take(t.Context(), Cast, Subject{Poll: "other"}); !d.Allowed {
			t.Fatal("another poll is not another poll")
		}
		l.Return(t.Context(), Cast, Subject{Poll: "p"})
		if !take().Allowed {
			t.Fatal("what was returned cannot be taken")
		}
	})
}

// TestARefusalCostsNothing: what one limit refuses, no other has counted.
func TestARefusalCostsNothing(t *testing.T) {
	l := limiter(t,
		Limit{Name: "wide", On: Cast, By: []Dimension{Global}, Count: 10, Window: time.Hour},
		Limit{Name: "narrow", On: Cast, By: []Dimension{Poll}, Count: 1, Window: time.Hour})
	take := func(poll string) Decision { d, _ := l.Take(t.Context(), Cast, Subject{Poll: poll}); return d }
	take("a")
	for range 100 {
		if d := take("a"); d.Allowed || d.Limit.Name != "narrow" {
			t.Fatalf("%+v", d)
		}
	}
	for i := range 9 {
		if d := take(fmt.Sprint("b", i)); !d.Allowed {
			t.Fatalf("refusals were counted: %+v", d)
		}
	}
	if d := take("c"); d.Allowed || d.Limit.Name != "wide" {
		t.Fatalf("%+v", d)
	}
	if d, _ := l.Take(t.Context(), Check, Subject{}); !d.Allowed || d.Policy() != "" || d.Header() != "" {
		t.Fatalf("an action without limits: %+v", d)
	}
}

// TestNeverMoreThanTheWindowAllows holds the limiter to what it promises: from quiet, at most twice the count
// in any window (a burst, and what grows back meanwhile), and never fewer than the count.
func TestNeverMoreThanTheWindowAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 20).Draw(t, "count")
		window := time.Duration(rapid.IntRange(1, 60).Draw(t, "window")) * time.Second
		now := time.Unix(1e9, 0)
		l, err := newLocal([]Limit{{Name: "x", On: Cast, By: []Dimension{Global}, Count: count, Window: window}}, 0, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		var allowed []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(window)/4).Draw(t, "wait")))
			d, _ := l.Take(nil, Cast, Subject{}) //nolint:staticcheck // the context is not used
			if d.Allowed {
				allowed = append(allowed, now)
			} else if len(allowed) < count {
				t.Fatalf("refused after %d of %d", len(allowed), count)
			}
			in := 0
			for _, at := range allowed {
				if now.Sub(at) < window {
					in++
				}
			}
			if in > 2*count {
				t.Fatalf("%d in one window, want at most %d", in, 2*count)
			}
		}
	})
}

func TestNetworksAndUnknowns(t *testing.T) {
	for a, b := range map[string]string{"192.0.2.1": "192.0.2.255", "2001:db8:1::1": "2001:db8:1:ffff::2", "::ffff:192.0.2.9": "192.0.2.10", "fe80::1%eth0": "fe80::2"} {
		if x, y := NetworkOf(netip.MustParseAddr(a)), NetworkOf(netip.MustParseAddr(b)); x != y || !x.IsValid() {
			t.Errorf("%s and %s: %v, %v", a, b, x, y)
		}
	}
	if NetworkOf(netip.MustParseAddr("192.0.2.1")) == NetworkOf(netip.MustParseAddr("192.0.3.1")) {
		t.Error("two networks are one")
	}
	l := limiter(t, Limit{Name: "x", On: Cast, By: []Dimension{Voter, Network}, Count: 1, Window: time.Hour})
	for range 3 { // a limit by what is not known does not count
		if d, _ := l.Take(t.Context(), Cast, Subject{Client: netip.MustParseAddr("192.0.2.1")}); !d.Allowed {
			t.Fatal("refused")
		}
	}
}

func TestManyAtOnceGetExactlyTheAllowance(t *testing.T) {
	l, err := newLocal([]Limit{{Name: "x", On: Cast, By: []Dimension{Global}, Count: 500, Window: 24 * time.Hour}}, 0, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var allowed atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				if d, _ := l.Take(t.Context(), Cast, Subject{}); d.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := allowed.Load(); n != 500 {
		t.Errorf("%d allowed, want 500", n)
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	l, err := newLocal([]Limit{{Name: "x", On: Cast, By: []Dimension{Poll}, Count: 1, Window: time.Hour}}, 1024, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		l.Take(t.Context(), Cast, Subject{Poll: fmt.Sprint(i)})
	}
	n := 0
	for i := range l.rows[Cast][0].shards {
		n += l.rows[Cast][0].shards[i].arrivals.Len()
	}
	if n > 1024 {
		t.Errorf("%d entries, want at most 1024", n)
	}
}

func TestTuning(t *testing.T) {
	tuned, err := Tune(Table, 10, map[string]Rate{"session-network": {Count: 3, Window: time.Hour}, "cast-global": {}})
	if err != nil || len(tuned) != len(Table)-1 {
		t.Fatalf("%v, %d rows", err, len(tuned))
	}
	for _, l := range tuned {
		if l.Name == "session-network" && (l.Count != 30 || l.Window != time.Hour) {
			t.Errorf("%+v", l)
		}
	}
	for says, c := range map[string]Config{
		"none called": {Override: map[string]Rate{"sessions": {Count: 1, Window: time.Second}}},
		"positive":    {Override: map[string]Rate{"cast-voter": {Count: 1}}},
		"scale is":    {Scale: -1},
	} {
		if _, err := NewLocal(c, time.Now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	l, err := NewLocal(Config{Scale: 1e6}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		who := Subject{Client: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), Phone: identity.PhoneTag{1, byte(i)}, Voter: identity.VoterTag{1, byte(i)}, Poll: "p"}
		if d, _ := l.Take(b.Context(), Session, who); !d.Allowed {
			b.Fatal(d.Limit.Name)
		}
	}
}
