package toll

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ratelimit"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// allowed is what the sample polls give a voter to prove the phone.
const allowed = 3 * time.Minute

// town is a toll with a clock of its own, in which people and bots ask for sessions.
type town struct {
	*Toll
	now  time.Time
	held float64
	// later is what happens in the seconds to come.
	later  map[int64][]func()
	people int
	chance *rand.Rand
}

func newTown(config Config) *town {
	w := &town{now: noon, later: map[int64][]func(){}, chance: rand.New(rand.NewPCG(1, 2))}
	if config.Most == 0 {
		config.Most = Highest
	}
	w.Toll = New(config, Deps{Clock: func() time.Time { return w.now }, Held: func() float64 { return w.held }})
	return w
}

// pass lets time pass, second by second; each calls what happens in every second.
func (w *town) pass(d time.Duration, each ...func()) {
	for range int(d / time.Second) {
		for _, f := range each {
			f()
		}
		for _, f := range w.later[w.now.Unix()] {
			f()
		}
		delete(w.later, w.now.Unix())
		w.now = w.now.Add(time.Second)
	}
}

func (w *town) in(d time.Duration, what func()) {
	at := w.now.Add(d).Unix()
	w.later[at] = append(w.later[at], what)
}

func (w *town) session() Session {
	w.people++
	return Session{ID: fmt.Sprint(w.people), Started: w.now, Allowed: allowed}
}

// bot begins a session and proves nothing.
func (w *town) bot(from netip.Prefix) { w.Began(from, w.session()) }

// person votes: some at once, some slowly, some lose their patience. After the cast nothing more is known of them.
func (w *town) person(from netip.Prefix) {
	s := w.session()
	w.Began(from, s)
	if w.chance.IntN(100) < 15 {
		return
	}
	w.in(time.Duration(10+w.chance.IntN(120))*time.Second, func() { w.Verified(from, s) })
}

// often calls what so many times a second, on average.
func (w *town) often(rate float64, what func(netip.Prefix), from netip.Prefix) func() {
	return func() {
		for left := rate; left > 0; left-- {
			if w.chance.Float64() < left {
				what(from)
			}
		}
	}
}

func netOf(text string) netip.Prefix { return ratelimit.NetworkOf(netip.MustParseAddr(text)) }

var (
	home    = netOf("192.0.2.7")
	school  = netOf("198.51.100.7")
	carrier = netOf("2001:db8:7::1")
	farm    = netOf("203.0.113.7")
)

func (w *town) want(t *testing.T, from netip.Prefix, want Step, when string) {
	t.Helper()
	if got := w.Own(from); got != want {
		t.Errorf("%s: %s is at step %d, want %d", when, from, got, want)
	}
}

// TestABotNetworkPaysTheMost, within minutes, while its neighbours pay what they paid; and when it stops it is
// forgiven.
func TestABotNetworkPaysTheMost(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	bots := w.often(2, w.bot, farm)
	people := w.often(3, w.person, carrier)
	w.pass(85*time.Second, bots, people)
	w.want(t, farm, 0, "before any of its sessions is due")
	w.pass(3*time.Minute, bots, people)
	w.want(t, farm, Highest, "after four and a half minutes")
	for _, other := range []netip.Prefix{carrier, home, netOf("203.0.112.7")} {
		w.want(t, other, 0, "meanwhile")
	}
	w.pass(time.Hour, bots, people)
	w.want(t, farm, Highest, "after an hour")
	w.want(t, carrier, 0, "after an hour")
	if got := w.Raised(); got != [Highest + 1]int{2, 0, 0, 1} { // the carrier's own is known twice
		t.Errorf("networks by step: %v", got)
	}
	w.pass(20*time.Minute, people)
	if got := w.Own(farm); got == 0 || got == Highest {
		t.Errorf("twenty minutes after it stopped it is at step %d", got)
	}
	w.pass(25*time.Minute, people)
	w.want(t, farm, 0, "three quarters of an hour after it stopped")
}

// TestACarrierOfHonestVotersPaysNoMore, from the opening minute on, though bots hide among them.
func TestACarrierOfHonestVotersPaysNoMore(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	bots := w.often(2, w.bot, carrier)
	// All at once, as a poll opens, and then fewer and fewer.
	for _, rate := range []float64{10, 10, 8, 5, 5, 5, 5} {
		people := w.often(rate, w.person, carrier)
		for range 120 {
			w.pass(time.Second, bots, people)
			if got := w.Own(carrier); got != 0 {
				t.Fatalf("after %s the carrier is at step %d", w.now.Sub(noon), got)
			}
		}
	}
}

// TestAClassVotesAtOnce: thirty of them, in the same minute, of whom many are slow.
func TestAClassVotesAtOnce(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	w.pass(30*time.Second, w.often(1, w.person, school))
	for range 600 {
		w.pass(time.Second)
		if got := w.Own(school); got != 0 {
			t.Fatalf("after %s the school is at step %d", w.now.Sub(noon), got)
		}
	}
}

// TestABotOfManyNetworks: it rents a server, and takes another of its provider's networks for each session. The
// provider next door has voters.
func TestABotOfManyNetworks(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	n := 0
	hop := func() {
		n++
		w.bot(netOf(fmt.Sprintf("2001:db8:%x::1", n)))
	}
	w.pass(10*time.Minute, hop, w.often(3, w.person, netOf("2a01:db8:7::1")), w.often(.1, w.bot, netOf("2a01:db8:8::1")))
	w.want(t, netOf("2001:db8:ffff::1"), Highest, "the next of its networks")
	w.want(t, netOf("2a01:db8:9::1"), 0, "a voter's of another provider")
	w.want(t, netOf("2a01:db8:7::1"), 0, "a voter's of another provider")
}

// TestAFewFailuresAreNoEvidence: sixteen sessions, and not one verified.
func TestAFewFailuresAreNoEvidence(t *testing.T) {
	w := newTown(Config{})
	for range 16 {
		w.bot(home)
	}
	w.pass(5 * time.Minute)
	w.want(t, home, 0, "after sixteen")
	for range 30 {
		w.bot(home)
	}
	w.pass(3 * time.Minute)
	if got := w.Own(home); got == 0 {
		t.Error("after half a hundred it is still at step 0")
	}
}

// TestVotersWinBackTheirNetworksName, while the bots go on with a smaller share.
func TestVotersWinBackTheirNetworksName(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	bots := w.often(1, w.bot, school)
	w.pass(10*time.Minute, bots)
	w.want(t, school, Highest, "bots alone")
	w.pass(15*time.Minute, bots, w.often(5, w.person, school))
	w.want(t, school, 0, "five voters to each bot")
}

// TestWhoIsVerifiedLateIsTakenOutAgain: a session counts as lost when half its time is over, and no more when it is
// verified after all.
func TestWhoIsVerifiedLateIsTakenOutAgain(t *testing.T) {
	w := newTown(Config{})
	for range 100 {
		s := w.session()
		w.Began(home, s)
		w.in(170*time.Second, func() { w.Verified(home, s) })
	}
	w.pass(150 * time.Second)
	if w.Own(home) == 0 {
		t.Error("a hundred sessions that nobody verified by half of their time count for nothing")
	}
	w.pass(time.Minute)
	w.want(t, home, 0, "after all were verified")
}

// TestOneSessionCountsOnce: one voter's token, used again and again, cleans no network's name.
func TestOneSessionCountsOnce(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	one := w.session()
	w.Began(farm, one)
	w.pass(10*time.Minute, w.often(2, w.bot, farm), func() {
		for range 10 {
			w.Verified(farm, one)
		}
	})
	w.want(t, farm, Highest, "with one of its voters verified six thousand times")
}

// TestFlowsTooFastForPeopleRaiseIt: real phones, and nobody who reads the question.
func TestFlowsTooFastForPeopleRaiseIt(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	w.pass(10*time.Minute, w.often(2, func(from netip.Prefix) {
		s := w.session()
		w.Began(from, s)
		w.in(time.Second, func() { w.Verified(from, s) })
		w.in(2*time.Second, func() { w.Hurried(from, s); w.Hurried(from, s) })
	}, farm), w.often(2, func(from netip.Prefix) {
		s := w.session()
		w.Began(from, s)
		w.in(time.Second, func() { w.Verified(from, s) })
	}, home))
	w.want(t, farm, Highest, "where ballots are cast in two seconds")
	w.want(t, home, 0, "where they are not")
}

// TestJunkAloneRaisesItByOneStep: it costs its sender nothing, so nobody makes their neighbours pay much by it.
func TestJunkAloneRaisesItByOneStep(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	junk := w.often(200, w.Junk, school)
	w.pass(10*time.Minute, junk)
	w.want(t, school, 1, "junk alone")
	w.pass(20*time.Minute, junk, w.often(5, w.person, school))
	w.want(t, school, 0, "junk among honest voters")
	w.Junk(home)
	w.want(t, home, 0, "one wrong number")
	w.pass(10*time.Minute, w.often(200, w.Junk, farm))
	w.pass(time.Hour)
	w.want(t, farm, 0, "an hour later")
}

// TestSessionsThatEndAtAnotherServer: of three servers that share a network's voters by lot, none holds against
// it what it saw begin and not end.
func TestSessionsThatEndAtAnotherServer(t *testing.T) {
	w := newTown(Config{Capacity: 1000})
	var servers []*Toll
	for range 3 {
		servers = append(servers, New(Config{Capacity: 1000, Most: Highest}, Deps{Clock: w.clock, Held: w.Toll.held}))
	}
	lot := func() *Toll { return servers[w.chance.IntN(len(servers))] }
	people := w.often(2, func(from netip.Prefix) {
		s := w.session()
		lot().Began(from, s)
		if w.chance.IntN(100) >= 15 {
			w.in(time.Duration(10+w.chance.IntN(120))*time.Second, func() { lot().Verified(from, s) })
		}
	}, carrier)
	bots := w.often(2, func(from netip.Prefix) { lot().Began(from, w.session()) }, farm)
	for range 1800 {
		w.pass(time.Second, people, bots)
		for i, s := range servers {
			if got := s.Own(carrier); got != 0 {
				t.Fatalf("after %s server %d has the carrier at step %d", w.now.Sub(noon), i, got)
			}
		}
	}
	for i, s := range servers {
		if got := s.Own(farm); got != Highest {
			t.Errorf("server %d has the farm at step %d", i, got)
		}
	}
}

// TestAMillionNetworksTakeNoMoreMemory, and don't push out the one that is known for bots.
func TestAMillionNetworksTakeNoMoreMemory(t *testing.T) {
	w := newTown(Config{Capacity: 1e9})
	w.pass(10*time.Minute, w.often(2, w.bot, farm))
	w.want(t, farm, Highest, "before the flood")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		one := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, byte(i >> 16), byte(i >> 8), byte(i)}), 48)
		if i%2 == 0 {
			w.Began(one, Session{ID: "flood", Started: w.now, Allowed: allowed})
		} else {
			w.Junk(one)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("a million networks take %d bytes more", grown)
	}
	w.want(t, farm, Highest, "after the flood")
	known := 0
	for _, n := range w.Raised() {
		known += n
	}
	if known > 1<<15 {
		t.Errorf("%d networks are remembered", known)
	}
	runtime.KeepAlive(w)
}

// TestWhoIsKnownLeastMakesRoom: in a table that is full, wherever in it the farm has come to be.
func TestWhoIsKnownLeastMakesRoom(t *testing.T) {
	for place := range ways {
		w := newTown(Config{Capacity: 1e9, Networks: ways})
		for i := range place {
			w.bot(netOf(fmt.Sprintf("10.0.%d.1", i)))
		}
		for range 300 {
			w.bot(farm)
		}
		for i := range 1000 {
			w.bot(netOf(fmt.Sprintf("10.1.%d.1", i%250)))
		}
		w.pass(3 * time.Minute)
		w.want(t, farm, Highest, fmt.Sprintf("at place %d", place))
	}
}

// TestTheLoadRaisesItInStepsAndDoesNotFlutter: sessions against the capacity, and connections held.
func TestTheLoadRaisesItInStepsAndDoesNotFlutter(t *testing.T) {
	w := newTown(Config{Capacity: 100})
	changes := func(d time.Duration, rate int) (n int) {
		last := w.Load()
		w.pass(d, func() {
			for range rate {
				w.Began(netip.Prefix{}, w.session())
			}
			if now := w.Load(); now != last {
				n, last = n+1, now
			}
		})
		return n
	}
	for _, c := range []struct {
		rate    int
		want    Step
		changes int
	}{
		{30, 0, 0},
		{55, 1, 1},
		{45, 1, 0}, // less, but not enough less
		{90, 2, 1},
		{70, 2, 0},
		{200, 2, 0}, // load alone asks no more than four times the work
		{50, 1, 1},
		{10, 0, 1},
	} {
		if n := changes(3*time.Minute, c.rate); w.Load() != c.want || n != c.changes {
			t.Errorf("at %d sessions a second: step %d after %d changes, want %d after %d", c.rate, w.Load(), n, c.want, c.changes)
		}
	}
	w.held = .6
	if got := w.Step(home); got != 1 {
		t.Errorf("with most connections held: step %d", got)
	}
	w.held = 0
	w.pass(time.Hour)
	if got := w.Step(home); got != 0 {
		t.Errorf("after an hour in which nobody came: step %d", got)
	}
	// A challenge costs nothing to fetch, so fetching many raises nothing.
	for range 100_000 {
		w.Step(farm)
	}
	if got := w.Load(); got != 0 {
		t.Errorf("after a flood of challenges that nobody solved: step %d", got)
	}
}

func TestLoadAndNameTogetherAskNoMoreThanTheMost(t *testing.T) {
	for most := range Highest + 1 {
		w := newTown(Config{Capacity: 2})
		w.most = most
		w.pass(10*time.Minute, w.often(5, w.bot, farm))
		if got := w.Step(farm); got != most {
			t.Errorf("step %d, want %d", got, most)
		}
		if got, want := w.Step(home), min(most, Step(len(levels))); got != want {
			t.Errorf("who has done nothing is at step %d, want %d", got, want)
		}
	}
}

func TestStepsMultiply(t *testing.T) {
	for times, want := range map[int]Step{1: 0, 2: 1, 4: 2, 8: 3} {
		if got, err := StepOf(times); err != nil || got != want || got.Times() != times {
			t.Errorf("%d: %d, %v", times, got, err)
		}
	}
	for _, times := range []int{0, -1, 3, 16} {
		if _, err := StepOf(times); err == nil {
			t.Errorf("%d is taken", times)
		}
	}
}

// TestAClockThatJumps: neither a long sleep nor a step back breaks the counts.
func TestAClockThatJumps(t *testing.T) {
	w := newTown(Config{})
	for range 200 {
		w.bot(farm)
	}
	w.now = w.now.Add(-time.Hour)
	w.bot(farm)
	w.Own(farm)
	w.now = w.now.Add(10 * time.Hour)
	w.want(t, farm, 0, "much later")
	for range 200 {
		w.bot(farm)
	}
	w.pass(3 * time.Minute)
	w.want(t, farm, Highest, "again")
}

func BenchmarkStep(b *testing.B) {
	w := newTown(Config{Capacity: 1000})
	w.pass(5*time.Minute, w.often(5, w.bot, farm))
	b.ReportAllocs()
	for b.Loop() {
		w.Step(farm)
	}
}

func BenchmarkRaised(b *testing.B) {
	w := newTown(Config{Capacity: 1000})
	for i := range 1 << 18 {
		w.Junk(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	for b.Loop() {
		w.now = w.now.Add(15 * time.Second)
		w.Raised()
	}
}
