package room

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// noon is when every test begins.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// crowd is people before some servers, in a time of their own.
type crowd struct {
	t       *testing.T
	now     time.Time
	chance  *rand.Rand
	rate    float64
	servers []*Room
	// entered are all who got in, in that order; entries how many of them at each server, by millisecond.
	entered []*voter
	entries []map[int64]int
	people  int
}

// voter is somebody who comes, is given a ticket, and comes again when it is called, as a page does.
type voter struct {
	id      string
	came    time.Time
	ticket  *Place
	promise time.Duration // the first that was said
	in      time.Time
	next    time.Time
	leaves  bool      // after the first answer, for good
	asleep  time.Time // it does not look before, once it has a ticket
}

func newCrowd(t *testing.T, servers int, rate float64, seed uint64) *crowd {
	c := &crowd{t: t, now: noon, chance: rand.New(rand.NewPCG(seed, 0)), rate: rate}
	for range servers {
		c.servers, c.entries = append(c.servers, nil), append(c.entries, map[int64]int{})
		c.restart(len(c.servers) - 1)
	}
	return c
}

func (c *crowd) restart(n int) { c.servers[n] = New(c.rate, func() time.Time { return c.now }) }

// someone comes at a time.
func (c *crowd) someone(at time.Time) *voter {
	c.people++
	return &voter{id: fmt.Sprint("v", c.people), came: at}
}

// run plays everybody until all are in or gone, or the time is over. Each asks whichever server chance gives.
func (c *crowd) run(people []*voter, lasts time.Duration, each func()) {
	const step = 10 * time.Millisecond
	var here soonest
	for _, v := range people {
		v.next = v.came
		heap.Push(&here, v)
	}
	for end := c.now.Add(lasts); c.now.Before(end) && len(here) > 0; c.now = c.now.Add(step) {
		for len(here) > 0 && !here[0].next.After(c.now) {
			if c.ask(here[0]) {
				heap.Pop(&here)
			} else {
				heap.Fix(&here, 0)
			}
		}
		for _, s := range c.servers {
			s.Turn()
		}
		if each != nil {
			each()
		}
	}
}

// soonest are voters, whoever asks next first.
type soonest []*voter

func (s soonest) Len() int           { return len(s) }
func (s soonest) Less(i, k int) bool { return s[i].next.Before(s[k].next) }
func (s soonest) Swap(i, k int)      { s[i], s[k] = s[k], s[i] }
func (s *soonest) Push(v any)        { *s = append(*s, v.(*voter)) }

func (s *soonest) Pop() any {
	last := len(*s) - 1
	v := (*s)[last]
	*s = (*s)[:last]
	return v
}

// ask is one look of a voter's; true if it was the last.
func (c *crowd) ask(v *voter) bool {
	n := c.chance.IntN(len(c.servers))
	s := c.servers[n]
	var got Answer
	if v.ticket == nil {
		got = s.Come(v.id)
	} else {
		state := s.Now()
		if !v.ticket.At.Before(state.Called) && !v.ticket.At.Before(state.Since) {
			v.later(c.now.Add(c.pause(waitOf(state, v.ticket.At))))
			return false
		}
		n = c.chance.IntN(len(c.servers))
		got = c.servers[n].Return(*v.ticket)
	}
	if got.In {
		v.in = c.now
		c.entered = append(c.entered, v)
		c.entries[n][c.now.UnixMilli()]++
		return true
	}
	if v.ticket == nil {
		v.ticket, v.promise = &got.Place, got.Wait
	}
	v.later(c.now.Add(c.pause(got.Wait)))
	return v.leaves
}

func (v *voter) later(at time.Time) {
	if v.next = at; at.Before(v.asleep) {
		v.next = v.asleep
	}
}

// waitOf is what a page reads from the state.
func waitOf(s State, at time.Time) time.Duration {
	for _, step := range s.Steps {
		if at.Before(step.Until) {
			return step.Wait
		}
	}
	return s.Wait
}

// pause is how long a page waits before it looks again: a quarter of what is ahead, a second to half a minute.
func (c *crowd) pause(wait time.Duration) time.Duration {
	p := min(30*time.Second, max(time.Second, wait/4))
	return time.Duration(float64(p) * (0.75 + c.chance.Float64()/2))
}

// stampede is so many people within a time, evenly but for chance.
func (c *crowd) stampede(n int, within time.Duration) []*voter {
	var all []*voter
	for range n {
		all = append(all, c.someone(c.now.Add(time.Duration(c.chance.Int64N(int64(within))))))
	}
	return all
}

// neverMoreThanTheRate looks at every second that began anywhere.
func (c *crowd) neverMoreThanTheRate() {
	c.t.Helper()
	for n, at := range c.entries {
		times := make([]int64, 0, len(at))
		for ms, k := range at {
			for range k {
				times = append(times, ms)
			}
		}
		slices.Sort(times)
		for _, within := range []int64{1000, 10_000, 60_000} {
			most := max(1, c.rate) + c.rate*float64(within)/1000 + 1
			for i, first := 0, 0; i < len(times); i++ {
				for times[i]-times[first] > within {
					first++
				}
				if got := float64(i - first + 1); got > most {
					c.t.Fatalf("server %d let %v in within %d ms, at most %v may", n, got, within, most)
				}
			}
		}
	}
}

// overtaken is, for who was overtaken most, by how long: somebody who came so much later got in before.
func overtaken(entered []*voter) (most time.Duration) {
	var latest time.Time
	for i := len(entered) - 1; i >= 0; i-- { // from the last in: nobody before them may have come later
		if v := entered[i]; latest.IsZero() || v.came.Before(latest) {
			latest = v.came
		}
		most = max(most, entered[i].came.Sub(latest))
	}
	return most
}

// disorder is how far, in places, people at a given share of all stand from where first come, first served has them.
func disorder(entered []*voter, share float64) int {
	order := slices.Clone(entered)
	slices.SortStableFunc(order, func(a, b *voter) int { return a.came.Compare(b.came) })
	rank := map[*voter]int{}
	for i, v := range order {
		rank[v] = i
	}
	off := make([]int, len(entered))
	for i, v := range entered {
		off[i] = max(i-rank[v], rank[v]-i)
	}
	slices.Sort(off)
	return off[min(len(off)-1, int(share*float64(len(off))))]
}

func TestWhileThereIsRoomNobodyWaits(t *testing.T) {
	c := newCrowd(t, 1, 20, 1)
	c.now = c.now.Add(time.Second)
	people := c.stampede(1200, 2*time.Minute)
	c.run(people, 3*time.Minute, nil)
	for _, v := range people {
		if v.ticket != nil || v.in.Sub(v.came) > 20*time.Millisecond {
			t.Fatalf("somebody waited %v", v.in.Sub(v.came))
		}
	}
	if s := c.servers[0].Now(); s.Waiting != 0 || s.Wait != 0 || s.Out != 0 || len(s.Steps) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestFirstComeFirstServed: five times what three servers let in, by chance at one or another, in one minute.
func TestFirstComeFirstServed(t *testing.T) {
	c := newCrowd(t, 3, 20, 2)
	people := c.stampede(18_000, time.Minute) // 300 a second, and 60 get in
	c.run(people, 20*time.Minute, nil)
	if len(c.entered) != 18_000 {
		t.Fatalf("%d of 18000 are in", len(c.entered))
	}
	c.neverMoreThanTheRate()
	took := c.now.Sub(noon)
	if took > 5*time.Minute+30*time.Second {
		t.Errorf("it took %v, and could have been 5 minutes", took)
	}
	// 18,000 in a minute: a second is 300 places. Pages come back some seconds after they are called.
	first, half, all := disorder(c.entered, 0.5), disorder(c.entered, 0.99), overtaken(c.entered)
	t.Logf("in %v; places off: %d for half of them, %d for 99 in 100; nobody was overtaken by who came later than %v", took, first, half, all)
	if half > 300 || all > 3*time.Second {
		t.Errorf("99 in 100 are within %d places, and somebody was overtaken by %v", half, all)
	}
	// What was said at first is what it took: not shorter, and not longer by more than a quarter and what asking takes.
	short, long, waited := 0, 0, 0
	for _, v := range c.entered {
		if v.ticket == nil {
			continue
		}
		waited++
		took := v.in.Sub(v.came)
		if took > v.promise+v.promise/20+2*time.Second {
			short++
		}
		if v.promise > took*5/4+5*time.Second {
			long++
		}
	}
	t.Logf("of %d who waited, %d waited longer than was said, %d were told a quarter too much", waited, short, long)
	if short > waited/200 || long > waited/200 {
		t.Error("the estimates are not honest")
	}
}

// TestWhoDoesNotComeCostsNothing: half of those who wait are gone when they are called. All the others are in at the
// full rate, but for a few seconds.
func TestWhoDoesNotComeCostsNothing(t *testing.T) {
	c := newCrowd(t, 3, 20, 3)
	people := c.stampede(24_000, time.Minute)
	for i, v := range people {
		v.leaves = i%2 == 0
	}
	c.run(people, 20*time.Minute, nil)
	c.neverMoreThanTheRate()
	took := c.now.Sub(noon)
	least := time.Duration(float64(len(c.entered)) / 60 * float64(time.Second))
	t.Logf("%d got in within %v: at the full rate it had been %v", len(c.entered), took, least)
	if len(c.entered) < 12_000 || took > least+40*time.Second {
		t.Error("who was not there held up the others")
	}
	for _, v := range c.entered {
		if v.in.Sub(v.came) > v.promise+v.promise/20+2*time.Second && v.ticket != nil {
			t.Errorf("somebody waited %v and was told %v", v.in.Sub(v.came), v.promise)
			break
		}
	}
}

// TestWhoComesLateIsStillBeforeTheOthers: a phone was in a pocket when its turn came.
func TestWhoComesLateIsStillBeforeTheOthers(t *testing.T) {
	c := newCrowd(t, 1, 10, 4)
	people := c.stampede(6000, time.Minute)
	late := people[:300]
	asleep := noon.Add(6 * time.Minute)
	for _, v := range late {
		v.came, v.asleep = noon.Add(5*time.Second), asleep
	}
	c.run(people, 20*time.Minute, nil)
	c.neverMoreThanTheRate()
	var took []time.Duration
	for _, v := range late {
		took = append(took, v.in.Sub(asleep))
	}
	slices.Sort(took)
	t.Logf("half of the 300 who came back were in after another %v, 95 in 100 after %v, the last after %v", took[150], took[285], took[299])
	// At the full rate it is 30 seconds for all of them alone. Those who wait uncalled have minutes before them.
	if took[150] > 30*time.Second || took[285] > time.Minute {
		t.Error("who came back late waits as if anew")
	}
	if len(c.entered) != 6000 {
		t.Errorf("%d of 6000 are in", len(c.entered))
	}
}

// TestNobodyJumpsTheQueue: who comes without a ticket, however often, gets in after all who were there before.
func TestNobodyJumpsTheQueue(t *testing.T) {
	c := newCrowd(t, 1, 10, 5)
	people := c.stampede(600, 10*time.Second)
	jumped := 0
	c.run(people, 3*time.Minute, func() {
		if waiting := c.servers[0].Now().Waiting; waiting > 0 && c.now.Sub(noon) > 10*time.Second {
			for range 3 {
				c.people++
				if c.servers[0].Come(fmt.Sprint("new", c.people)).In {
					jumped++
				}
			}
			c.servers[0].forget() // who never comes back is not this test's matter
		}
	})
	if jumped > 0 {
		t.Errorf("%d came later and got in at once", jumped)
	}
	c.neverMoreThanTheRate()
}

// forget takes back what came in this bucket.
func (r *Room) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.left); n > 0 && (r.first+int64(n))*width > r.turned.UnixMilli() {
		r.waiting -= int(r.left[n-1].n)
		r.left = r.left[:n-1]
	}
}

// TestARestartLetsNobodyThrough: one of three servers, and then the only one, is restarted while a crowd waits. It
// neither lets all of them in nor loses any, and they keep about their order.
func TestARestartLetsNobodyThrough(t *testing.T) {
	for _, servers := range []int{3, 1} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			c := newCrowd(t, servers, 60/float64(servers), 6)
			people := c.stampede(18_000, time.Minute)
			newcomers := 0
			c.run(people, 30*time.Minute, func() {
				switch c.now.Sub(noon) {
				case 2 * time.Minute:
					c.restart(0)
				case 2*time.Minute + 3*time.Second:
					// By now it knows that there is a queue.
					for range 100 {
						c.people++
						if c.servers[0].Come(fmt.Sprint("new", c.people)).In {
							newcomers++
						}
					}
				}
			})
			if len(c.entered) != 18_000 {
				t.Fatalf("%d of 18000 are in", len(c.entered))
			}
			c.neverMoreThanTheRate()
			took, off, by := c.now.Sub(noon), disorder(c.entered, 0.95), overtaken(c.entered)
			t.Logf("in %v; 95 in 100 within %d places; overtaken by %v", took, off, by)
			if newcomers > 0 {
				t.Errorf("%d newcomers passed those who waited", newcomers)
			}
			if took > 7*time.Minute {
				t.Errorf("it took %v, and could have been 5 minutes", took)
			}
			if off > 18_000/20 {
				t.Errorf("their order is lost: 95 in 100 are only within %d places", off)
			}
		})
	}
}

func TestTheSameRequestHasTheSamePlace(t *testing.T) {
	now := noon
	r := New(1, func() time.Time { return now })
	if !r.Come("first").In {
		t.Fatal("the first waits")
	}
	one := r.Come("one")
	now = now.Add(10 * time.Millisecond)
	again := r.Come("one")
	if one.In || again.In || one.Place != again.Place || r.Now().Waiting != 1 {
		t.Errorf("%+v, then %+v; %d wait", one, again, r.Now().Waiting)
	}
	// Who is in takes no second place by sending the same again: it is refused where it is spent.
	for range 50 {
		if !r.Come("first").In {
			t.Fatal("it was held up")
		}
	}
	now = now.Add(time.Second)
	if got := r.Return(one.Place); !got.In {
		t.Errorf("%+v", got)
	}
	for range 50 {
		if !r.Return(one.Place).In {
			t.Fatal("it was held up")
		}
	}
	if s := r.Now(); s.Out != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// TestStepsAreNeverTooShort: what a page reads from the steps is what the server says, and both fit the queue.
func TestStepsAreNeverTooShort(t *testing.T) {
	now := noon
	r := New(50, func() time.Time { return now })
	var all []Place
	for i := range 20_000 {
		if got := r.Come(fmt.Sprint(i)); !got.In {
			all = append(all, got.Place)
		}
		if i%14 == 0 {
			now = now.Add(time.Millisecond)
		}
	}
	now = now.Add(width * time.Millisecond)
	s := r.Now()
	if len(s.Steps) < 10 || len(s.Steps) > 100 {
		t.Errorf("%d steps", len(s.Steps))
	}
	if !slices.IsSortedFunc(s.Steps, func(a, b Step) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Wait, b.Wait)) }) {
		t.Error("the steps go back")
	}
	called := 20_000 - s.Waiting
	for i, p := range all {
		said, least := waitOf(s, p.At), time.Duration(float64(max(0, i-called))/50*float64(time.Second))
		if said < least || said > least+least/5+6*time.Second {
			t.Fatalf("the %dth of %d is told %v, and it is %v", i, len(all), said, least)
		}
	}
}
