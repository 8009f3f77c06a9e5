package ratelimit

import (
	"bytes"
	"encoding/binary"
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
		// What is counted wherever it comes from has a row beside it that one network meets at a third. A proved
		// phone is nobody else's to use up.
		if l.On != Verify && (slices.Equal(l.By, []Dimension{Phone}) || slices.Equal(l.By, []Dimension{Block})) {
			beside := slices.IndexFunc(Table, func(one Limit) bool { return one.On == l.On && slices.Equal(one.By, []Dimension{l.By[0], Network}) })
			if beside < 0 || 3*Table[beside].Count > l.Count || Table[beside].Window != l.Window {
				t.Errorf("%s: one network could use it up", l.Name)
			}
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
//
// Neither does a stranger use up what a phone may prove, whatever they type: only Verify counts that, and it
// takes the phone.
func TestNobodyLocksOutSomebodyElse(t *testing.T) {
	l, err := NewLocal(Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	at := func(address string) Subject {
		return Subject{Client: netip.MustParseAddr(address), Phone: identity.PhoneTag{7}, Block: identity.BlockTag{7}, Voter: identity.VoterTag{7}, Poll: "p"}
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
	// Then they go on with the numbers beside it.
	refused := ""
	for n := byte(1); refused == "" && n < 100; n++ {
		who := at("192.0.2.1")
		who.Phone[1], who.Voter[1] = n, n
		for range 4 {
			if d, _ := l.Take(t.Context(), Send, who); !d.Allowed {
				refused = d.Limit.Name
			}
		}
	}
	if refused != "send-block" {
		t.Errorf("a stranger who sends to a block is refused by %q", refused)
	}
	victim := at("198.51.100.1")
	for _, action := range []Action{Session, Send, Check, Verify} {
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

// TestAPollHasNumbersOfItsOwn: they count there alone, are said there, and leave all other rows shared.
func TestAPollHasNumbersOfItsOwn(t *testing.T) {
	l, err := NewLocal(Config{
		Override: map[string]Rate{"send-network": {Count: 5, Window: time.Hour}},
		Polls: map[string]map[string]Rate{
			"staff":  {"send-network": {Count: 2, Window: time.Minute}, "session-poll": {Count: 3, Window: time.Minute}},
			"strict": {"send-network": {Count: 1, Window: time.Minute}},
		},
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	take := func(action Action, poll string) Decision {
		d, _ := l.Take(t.Context(), action, Subject{Client: netip.MustParseAddr("192.0.2.1"), Poll: poll})
		return d
	}
	if d := take(Send, "staff"); !d.Allowed || d.Policy() != `"send-network";q=2;w=60` || d.Header() != `"send-network";r=1;t=30` {
		t.Errorf("%s %s", d.Policy(), d.Header())
	}
	for poll, want := range map[string]int{"staff": 1, "strict": 1, "another": 5} { // one in staff is gone
		n := 0
		for take(Send, poll).Allowed {
			n++
		}
		if n != want {
			t.Errorf("%s: %d, want %d", poll, n, want)
		}
	}
	if d := take(Send, "yet-another"); d.Allowed || d.Policy() != `"send-network";q=5;w=3600` {
		t.Errorf("polls without numbers of their own don't count together: %+v", d)
	}
	l.Return(t.Context(), Send, Subject{Client: netip.MustParseAddr("192.0.2.1"), Poll: "strict"})
	if !take(Send, "strict").Allowed || take(Send, "staff").Allowed {
		t.Error("what one poll gave back is not its own")
	}
	if d := take(Session, "staff"); d.Policy() != `"session-poll";q=3;w=60` {
		t.Errorf("a row by poll: %s", d.Policy())
	}
	if d := take(Cast, "staff"); d.Policy() != take(Cast, "another").Policy() {
		t.Errorf("a row that was left alone: %s", d.Policy())
	}
}

// TestNoPollSwitchesALimitOff: nor says anything else about its limits that can't be meant.
func TestNoPollSwitchesALimitOff(t *testing.T) {
	hour := func(count int) Rate { return Rate{Count: count, Window: time.Hour} }
	for says, c := range map[string]Config{
		"sends of poll p is no limit":              {Polls: map[string]map[string]Rate{"p": {"sends": hour(1)}}},
		"no single poll goes without":              {Polls: map[string]map[string]Rate{"p": {"send-phone": hour(0)}}},
		"below 0":                                  {Polls: map[string]map[string]Rate{"p": {"send-phone": hour(-1)}}},
		"window of 0s":                             {Polls: map[string]map[string]Rate{"p": {"send-phone": {Count: 1}}}},
		"window of 2400h0m0s":                      {Polls: map[string]map[string]Rate{"p": {"send-phone": {Count: 1, Window: 2400 * time.Hour}}}},
		"more than 100 times the table's 8 in 1":   {Polls: map[string]map[string]Rate{"p": {"send-phone": hour(801)}}},
		"allows 800 in 1 minute: more than":        {Polls: map[string]map[string]Rate{"p": {"send-phone": {Count: 800, Window: time.Minute}}}},
		"counts all polls together":                {Polls: map[string]map[string]Rate{"p": {"send-global": hour(1)}}},
		"send-global-alone of poll p can't":        {Polls: map[string]map[string]Rate{"p": {"send-global-alone": hour(1)}}},
		"has not said in which poll":               {Polls: map[string]map[string]Rate{"p": {"challenge-network": hour(1)}}},
		"the limit is taken away for all polls":    {Polls: map[string]map[string]Rate{"p": {"send-phone": hour(1)}}, Override: map[string]Rate{"send-phone": {}}},
		`"P 1" is no poll's id`:                    {Polls: map[string]map[string]Rate{"P 1": {"send-phone": hour(1)}}},
		"send-voter of poll q has a count below 0": {Polls: map[string]map[string]Rate{"p": {"sends": hour(1)}, "q": {"send-voter": hour(-1)}}}, // all mistakes
	} {
		if _, err := NewLocal(c, time.Now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
	fine := Config{Polls: map[string]map[string]Rate{"2026-p": {"send-phone": hour(800), "verify-phone": {Count: 1, Window: longest}, "send-phone-alone": hour(1)}}}
	if _, err := NewLocal(fine, time.Now); err != nil {
		t.Error(err)
	}
	if (Config{Scale: 1}).Changed() || !fine.Changed() {
		t.Error("it doesn't know what is as documented")
	}
	off := Config{Override: map[string]Rate{"cast-global": {}, "send-phone": hour(1)}}
	if said := fmt.Sprint(off.LogValue()); !strings.Contains(said, "taken_away=[cast-global]") || !strings.Contains(said, "changed=[send-phone]") {
		t.Errorf("a limit is taken away in silence: %s", said)
	}
}

// TestASequentialPumpMeetsItsBlocks: one number after the other, a second each, from as many networks as it likes, for
// two hours. What it gets is the blocks' allowance, however many numbers there are; voters elsewhere notice nothing.
func TestASequentialPumpMeetsItsBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLocal(Config{}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		person := func(n uint32, block byte) Subject {
			who := Subject{Client: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 1}), Block: identity.BlockTag{1, block}, Poll: "p"}
			binary.BigEndian.PutUint32(who.Phone[:], n+1)
			binary.BigEndian.PutUint32(who.Voter[:], n+1)
			return who
		}
		const hours, blocks = 2, 4
		sent := map[byte]int{}
		for n := range uint32(hours * 3600) {
			pumped := person(n, byte(n%blocks))
			d, _ := l.Take(t.Context(), Send, pumped)
			if d.Allowed {
				sent[byte(n%blocks)]++
			} else if d.Limit.Name != "send-block-all" {
				t.Fatalf("number %d is refused by %s", n, d.Limit.Name)
			}
			if n%60 == 0 {
				if d, _ := l.Take(t.Context(), Send, person(1<<20+n, 100+byte(n/60))); !d.Allowed {
					t.Fatalf("an honest voter after %d s: %s", n, d.Limit.Name)
				}
			}
			time.Sleep(time.Second)
		}
		for block, n := range sent {
			// The whole allowance at once, and what grows back.
			if n < 180 || n > (hours+1)*180 {
				t.Errorf("block %d: %d sent, want at most %d", block, n, (hours+1)*180)
			}
		}
		if len(sent) != blocks {
			t.Errorf("%d blocks were sent anything", len(sent))
		}
		// Where the pump is alone in its network, a third of that.
		n := 0
		for i := range uint32(200) {
			who := person(1<<21+i, 99)
			who.Client = netip.MustParseAddr("192.0.2.1")
			if d, _ := l.Take(t.Context(), Send, who); d.Allowed {
				n++
			}
		}
		if n != 60 {
			t.Errorf("one network has %d sent to one block, want 60", n)
		}
	})
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
