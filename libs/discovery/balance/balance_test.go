package balance

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/discovery"
)

// finder finds what it was last told.
type finder struct {
	mu    sync.Mutex
	found []discovery.Instance
}

func (f *finder) Find(string) []discovery.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.found)
}

func (f *finder) tell(found ...discovery.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = found
}

func in(cloud string, addresses ...string) (all []discovery.Instance) {
	for _, a := range addresses {
		all = append(all, discovery.Instance{Address: a, Cloud: cloud})
	}
	return all
}

// world is a balancer whose time stands still.
type world struct {
	*Balancer
	t     *testing.T
	found *finder
	now   time.Time
}

func newWorld(t *testing.T, cloud string, found ...discovery.Instance) *world {
	w := &world{t: t, found: new(finder), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	w.found.tell(found...)
	w.Balancer = New(Config{Finder: w.found, Service: "ballot-server", Cloud: cloud, Clock: func() time.Time { return w.now }})
	return w
}

// take gets a certain instance, though it rests.
func (w *world) take(address string) *Instance {
	w.t.Helper()
	in, _ := w.choose(0, nil)
	if in != nil {
		w.Release(in, Refused, 0)
	}
	if w.known[address] == nil {
		w.t.Fatalf("%s is not known", address)
	}
	return w.Again(w.known[address])
}

func (w *world) fail(address string, times int) {
	w.t.Helper()
	for range times {
		w.Release(w.take(address), Failed, 0)
	}
}

// drawn counts who is picked, each released at once.
func (w *world) drawn(times int) map[string]int {
	counts := map[string]int{}
	for range times {
		if in := w.Pick(); in != nil {
			counts[in.Address]++
			w.Release(in, Refused, 0)
		}
	}
	return counts
}

// expect says who may be picked, and that each of them is.
func (w *world) expect(what string, addresses ...string) {
	w.t.Helper()
	var got []string
	for address := range w.drawn(60 * max(1, len(addresses))) {
		got = append(got, address)
	}
	slices.Sort(got)
	if !slices.Equal(got, addresses) {
		w.t.Errorf("%s: %v, want %v", what, got, addresses)
	}
}

func TestWhoFailsRests(t *testing.T) {
	w := newWorld(t, "", in("", "a:1", "b:1")...)
	w.fail("a:1", 1)
	w.expect("after a's failure", "b:1")
	w.fail("b:1", 1)
	w.expect("after both failed")
	w.now = w.now.Add(restFirst)
	w.fail("a:1", 1) // the second time in a row, so twice as long
	w.now = w.now.Add(restFirst)
	w.expect("after half of a's time", "b:1")
	w.now = w.now.Add(restFirst)
	w.expect("later", "a:1", "b:1")
	w.found.tell(in("", "c:1")...)
	w.expect("of the new set", "c:1")
	if len(w.known) > 2 {
		t.Errorf("it remembers %d instances", len(w.known))
	}
}

// TestHalfAtMostAreEjected: five failures in a row are ten seconds, but not for everybody.
func TestHalfAtMostAreEjected(t *testing.T) {
	all := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
	w := newWorld(t, "", in("", all...)...)
	for _, address := range all {
		w.fail(address, ejectAfter-1)
		w.Release(w.take(address), Answered, 0) // in a row, that is
		w.fail(address, ejectAfter-1)
	}
	w.now = w.now.Add(restMost)
	w.expect("after four failures each", all...)
	for _, address := range all {
		w.fail(address, ejectAfter)
	}
	w.expect("after five failures each")
	w.now = w.now.Add(restMost)
	w.expect("of those that were not ejected", "c:1", "d:1", "e:1")
	w.now = w.now.Add(ejectFor - restMost)
	w.expect("in the end", all...)

	alone := newWorld(t, "", in("", "a:1")...)
	alone.fail("a:1", 3*ejectAfter)
	if in := alone.PickAny(); in == nil {
		t.Error("the only one is not even tried")
	} else {
		alone.Release(in, Refused, 0)
	}
	alone.now = alone.now.Add(restMost)
	alone.expect("the only one", "a:1")
}

func TestTheLessBusyOfTwo(t *testing.T) {
	w := newWorld(t, "", in("", "a:1", "b:1")...)
	counts := map[string]int{}
	for range 400 {
		counts[w.Pick().Address]++ // never released
	}
	if d := counts["a:1"] - counts["b:1"]; d < -2 || d > 2 {
		t.Errorf("it is uneven: %v", counts)
	}
}

// TestTheFasterOfTwo: what takes ten times as long gets a tenth; and when it wasn't asked for long, it
// gets another chance.
func TestTheFasterOfTwo(t *testing.T) {
	w := newWorld(t, "", in("", "fast:1", "slow:1")...)
	for range 30 {
		w.Release(w.take("fast:1"), Answered, 10*time.Millisecond)
		w.Release(w.take("slow:1"), Answered, 100*time.Millisecond)
	}
	counts := map[string]int{}
	for range 110 {
		counts[w.Pick().Address]++ // never released
	}
	if counts["slow:1"] < 8 || counts["slow:1"] > 12 {
		t.Errorf("of 110 at a time: %v", counts)
	}
	w = newWorld(t, "", in("", "fast:1", "slow:1")...)
	w.Release(w.take("fast:1"), Answered, 10*time.Millisecond)
	w.Release(w.take("slow:1"), Answered, time.Second)
	w.expect("at once", "fast:1")
	for range 10 {
		w.now = w.now.Add(halfLife)
		w.Release(w.take("fast:1"), Answered, 10*time.Millisecond)
	}
	w.expect("after a while", "slow:1")
}

// TestARefusalIsNoAnswer: whoever has no place says so fast, and must not get more for it.
func TestARefusalIsNoAnswer(t *testing.T) {
	w := newWorld(t, "", in("", "full:1", "good:1")...)
	for range 10 {
		w.Release(w.take("good:1"), Answered, 20*time.Millisecond)
		w.Release(w.take("full:1"), Answered, 20*time.Millisecond)
	}
	for range 100 {
		w.Release(w.take("full:1"), Refused, time.Microsecond)
	}
	w.expect("of equals", "full:1", "good:1")
	w.fail("full:1", ejectAfter-1)
	w.now = w.now.Add(restMost)
	w.Release(w.take("full:1"), Refused, 0)
	w.fail("full:1", 1) // the fifth in a row all the same
	w.now = w.now.Add(restMost)
	w.expect("after five failures", "good:1")
}

func TestItsOwnCloudComesFirst(t *testing.T) {
	near, far := in("near", "a:1", "b:1", "c:1", "d:1"), in("far", "e:1", "f:1")
	w := newWorld(t, "near", append(near, far...)...)
	w.expect("while all are up", "a:1", "b:1", "c:1", "d:1")
	w.fail("a:1", 1)
	w.fail("b:1", 1)
	w.expect("while half is up", "c:1", "d:1")
	c, d := w.take("c:1"), w.take("d:1")
	if other := w.Pick(c, d); other == nil || other.Address < "e:1" {
		t.Errorf("another try goes to %v", other)
	} else {
		w.Release(other, Refused, 0)
	}
	if in, up := w.choose(1, nil); in != nil || !up {
		t.Errorf("with no place left it goes to %v", in)
	}
	w.Release(c, Refused, 0)
	w.Release(d, Failed, 0)
	w.expect("while less than half is up", "c:1", "e:1", "f:1")
	w.now = w.now.Add(restFirst)
	w.expect("later", "a:1", "b:1", "c:1", "d:1")
	w.found.tell(far...)
	w.expect("with none of its own", "e:1", "f:1")
	w.found.tell(append(in("", "x:1"), far...)...)
	w.expect("with one of nowhere", "e:1", "f:1", "x:1")
}

// TestWaitingEnds: with a place, with a rest that is over, and with an instance that is new.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found := new(finder)
		found.tell(in("", "a:1", "b:1")...)
		b := New(Config{Finder: found, Service: "ballot-server", Clock: time.Now})
		one := func() int { return 1 }
		first := b.Wait(one)
		second := b.Wait(one)
		if first == nil || second == nil || first == second {
			t.Fatal("there were two places")
		}
		waiting := func() chan *Instance {
			got := make(chan *Instance, 1)
			go func() { got <- b.Wait(one) }()
			synctest.Wait()
			if len(got) > 0 {
				t.Fatal("it doesn't wait")
			}
			return got
		}
		got := waiting()
		b.Release(second, Failed, 0) // woken, it finds nothing
		if in := <-got; in != second {
			t.Fatalf("after the rest it is %v", in)
		}
		got = waiting()
		found.tell(in("", "a:1", "b:1", "c:1")...)
		if in := <-got; in.Address != "c:1" {
			t.Fatalf("it is not the new one: %v", in.Address)
		}
		got = waiting()
		b.Release(first, Answered, time.Second)
		if in := <-got; in != first {
			t.Fatalf("it is not the one with a place: %v", in.Address)
		}
		found.tell()
		if in := b.Wait(one); in != nil {
			t.Fatalf("there is nobody, and it is %v", in.Address)
		}
	})
}

// TestAnythingMayHappen: whoever is picked is there, up and not avoided; there is one if there can be, and
// nobody is ever owed a request.
func TestAnythingMayHappen(t *testing.T) {
	addresses := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.SampledFrom([]string{"", "near"}).Draw(rt, "cloud"))
		var held []*Instance
		rt.Repeat(map[string]func(*rapid.T){
			"found": func(rt *rapid.T) {
				var all []discovery.Instance
				for _, a := range addresses {
					if where := rapid.SampledFrom([]string{"gone", "", "near", "far"}).Draw(rt, a); where != "gone" {
						all = append(all, in(where, a)...)
					}
				}
				w.found.tell(all...)
			},
			"later": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 12_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"pick": func(rt *rapid.T) {
				var avoid []*Instance
				if len(held) > 0 {
					avoid = held[:rapid.IntRange(0, len(held)).Draw(rt, "avoid")]
				}
				possible := 0
				for _, f := range w.found.found {
					in := w.known[f.Address]
					if in == nil || !w.now.Before(in.until) && !slices.Contains(avoid, in) {
						possible++
					}
				}
				in := w.Pick(avoid...)
				if (in == nil) != (possible == 0) {
					rt.Fatalf("%d are possible, and it is %v", possible, in)
				}
				if in == nil {
					return
				}
				if w.now.Before(in.until) || slices.Contains(avoid, in) || !slices.Contains(w.listed, in) {
					rt.Fatalf("%s was picked", in.Address)
				}
				held = append(held, in)
			},
			"release": func(rt *rapid.T) {
				if len(held) == 0 {
					return
				}
				i := rapid.IntRange(0, len(held)-1).Draw(rt, "which")
				w.Release(held[i], Result(rapid.IntRange(0, 2).Draw(rt, "result")), time.Duration(rapid.IntRange(0, 1e9).Draw(rt, "took")))
				held = slices.Delete(held, i, i+1)
			},
			"": func(rt *rapid.T) {
				total := 0
				states, _ := w.States()
				for _, s := range states {
					if s.Busy < 0 {
						rt.Fatalf("%s has %d requests", s.Address, s.Busy)
					}
					total += s.Busy
				}
				if total != len(held) {
					rt.Fatalf("%d requests are under way, it says %d", len(held), total)
				}
			},
		})
	})
}
