// Package room is the waiting room before step 1: so many sessions a second, first come, first served.
//
// Servers share nothing. Each counts the tickets that it gave out, by the time on them, and calls them up in that
// order, at its own rate. Behind a load balancer every server gives out an even sample of all tickets, so a ticket
// that comes to another server is held against that server's own time, and its turn comes there as it would have
// where it was given out.
//
// There is one ledger of places. Its rate adds to it; who goes straight through takes one, and so does each ticket as
// it is called. The place of a called ticket is kept for it for a while (patience) and then falls to the next, so
// who does not come back costs nothing. The door is apart from that: whatever was called, and whatever a restart has
// forgotten, no more go through it than the rate allows.
package room

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// width of the buckets in which tickets are counted, milliseconds. Within one the order is that of time too, as far
	// as its tickets came evenly.
	width = 250
	// patience is how long a called ticket's place is kept for it. A page that is near its turn asks every few
	// seconds. Who comes later is let in all the same, before those who were not called.
	patience = 15 * time.Second
	// lag is from being called to being back: the page asks, then sends its request. Part of every estimate.
	lag = 3 * time.Second
	// listen is how long a server that was started into a queue hears of tickets older than itself before it calls any.
	// Those whose turn is near ask oftenest, so by then it has heard of them.
	listen = 5 * time.Second
	// startedInto is how long after the start such tickets are a sign of a queue, and not of a phone that was in a pocket.
	startedInto = time.Minute
	// remembered is how many requests are recognised when they come again.
	remembered = 1 << 17
	// coarser is how much further apart the steps of Now are, each than the one before.
	coarser = 1.1
)

// Room is one server's waiting room. Safe for concurrent use; it never waits.
type Room struct {
	clock func() time.Time
	// rate is in places a second; burst is one second's worth, and at least one.
	rate, burst float64
	began       int64 // milliseconds since 1970, as all times here

	mu sync.Mutex
	// guarded by mu
	turned   time.Time
	door     float64
	places   float64 // below 0 where many come late
	cursor   float64 // tickets from before it have been called
	first    int64   // the bucket that left begins with
	left     []bucket
	waiting  int    // tickets in left
	called   leases // those called in their turn
	late     leases // those that came after their place had fallen to another, and have to ask again
	listened time.Time
	seen     *simplelru.LRU[string, visit]
	curve    []Step
	curved   time.Time
}

// bucket is tickets not called: how many, and in which of its milliseconds the first and the last are.
type bucket struct {
	n           int32
	first, last uint8
}

// leases are places kept, oldest first, and their sum.
type leases struct {
	all []lease
	sum int
}

// lease is places kept since a time, for tickets from from on.
type lease struct {
	at   time.Time
	from float64
	n    int
}

func (l *leases) keep(at time.Time, from float64, n int) {
	l.sum += n
	if last := len(l.all) - 1; last >= 0 && at.Sub(l.all[last].at) < width*time.Millisecond {
		l.all[last].n += n
		return
	}
	l.all = append(l.all, lease{at, from, n})
}

// take takes one, if there is one for a ticket of the time.
func (l *leases) take(at int64) bool {
	if l.sum == 0 || float64(at) < l.all[0].from {
		return false
	}
	l.sum--
	if l.all[0].n--; l.all[0].n == 0 {
		l.all = l.all[1:]
	}
	return true
}

// end ends those that were kept until now for too long, and says how many places that frees.
func (l *leases) end(now time.Time) (n int) {
	for len(l.all) > 0 && !now.Before(l.all[0].at.Add(patience)) {
		n += l.all[0].n
		l.all = l.all[1:]
	}
	l.sum -= n
	return n
}

// visit is a request that came before.
type visit struct {
	at      int64
	entered bool
	late    bool // a place was kept for it as for one who came late
}

// New returns an empty room that lets in so many a second, at least one in an hour. It starts without a burst: a server
// that was restarted into a queue does not know of it yet.
func New(rate float64, clock func() time.Time) *Room {
	seen, err := simplelru.NewLRU[string, visit](remembered, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	now := clock()
	rate = max(rate, 1./3600)
	return &Room{
		clock: clock, rate: rate, burst: max(1, rate), began: now.UnixMilli(),
		turned: now, door: 1, places: 1, seen: seen,
	}
}

// Place is a place in the queue: its order is that of At, to the millisecond.
type Place struct {
	// ID is what it is spent by. The same request has the same, and the same place.
	ID string
	At time.Time
}

// Answer is what becomes of a request.
type Answer struct {
	// In: it may go on. Otherwise Place is where it waits, and Wait how long, at most as far as is known.
	In    bool
	Place Place
	Wait  time.Duration
}

// Come is a request without a ticket. It goes straight through while there is room and nobody waits.
func (r *Room) Come(id string) Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.turn()
	if before, ok := r.seen.Get(id); ok {
		if before.entered {
			return Answer{In: true} // it has had its place; whether it is spent is said elsewhere
		}
		return Answer{Place: Place{id, time.UnixMilli(before.at).UTC()}, Wait: r.wait(before.at)}
	}
	if r.waiting == 0 && r.places >= 1 && r.door >= 1 {
		r.places--
		return r.enter(id)
	}
	at := now.UnixMilli()
	r.count(at)
	r.seen.Add(id, visit{at: at})
	return Answer{Place: Place{id, time.UnixMilli(at).UTC()}, Wait: r.span(r.waiting)}
}

// Return is a request with a ticket.
func (r *Room) Return(p Place) Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, at := r.turn(), p.At.UnixMilli()
	before, known := r.seen.Get(p.ID)
	if before.entered {
		return Answer{In: true}
	}
	if !known && at < r.began {
		// Given out before this server's time, by itself or others: it was not counted here.
		r.seen.Add(p.ID, visit{at: at})
		if r.listened.IsZero() && now.UnixMilli()-r.began < startedInto.Milliseconds() {
			r.listened = now.Add(listen)
		}
		if float64(at) >= r.cursor {
			r.count(at)
			now = r.turn()
		}
	}
	called := float64(at) < r.cursor
	inTurn := called && r.called.sum > 0 && float64(at) >= r.called.all[0].from
	late := called && !inTurn
	switch {
	case late && before.late && r.late.take(at):
		r.late.keep(now, 0, 1) // it is still there
	case late:
		// It is called anew, before all others: as long as there are such, nobody else is.
		r.places--
		r.late.keep(now, 0, 1)
		r.seen.Add(p.ID, visit{at: at, late: true})
	}
	switch {
	case !called && r.waiting > 0:
		return Answer{Place: p, Wait: r.wait(at)}
	case r.door < 1, !late && r.door < 1+min(float64(r.late.sum), r.burst/2):
		// Half a full door is for those who come late, as long as there are any.
	case inTurn && r.called.take(at), late && r.late.take(at):
		return r.enter(p.ID)
	case r.places >= 1: // nobody waits here
		r.places--
		return r.enter(p.ID)
	}
	return Answer{Place: p, Wait: time.Second + time.Duration(max(0, 1-r.door)/r.rate*float64(time.Second))}
}

// enter lets a request through; the caller holds mu, and has taken its place.
func (r *Room) enter(id string) Answer {
	r.door--
	r.seen.Add(id, visit{entered: true})
	return Answer{In: true}
}

// count counts a ticket that is not called; the caller holds mu.
func (r *Room) count(at int64) {
	n, offset := at/width, uint8(at%width) //nolint:gosec // less than width
	switch {
	case len(r.left) == 0:
		r.first = n
	case n < r.first:
		r.left = append(make([]bucket, r.first-n, r.first-n+int64(len(r.left))), r.left...)
		r.first = n
	}
	for int64(len(r.left)) <= n-r.first {
		r.left = append(r.left, bucket{})
	}
	b := &r.left[n-r.first]
	if b.n == 0 {
		b.first, b.last = offset, offset
	}
	b.first, b.last = min(b.first, offset), max(b.last, offset)
	b.n++
	r.waiting++
}

// Turn calls whose turn it is. Whoever asks for anything does it too.
func (r *Room) Turn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
}

func (r *Room) turn() time.Time {
	now := r.clock()
	// A server that slept for longer does not make up for it: nobody was let in by it meanwhile.
	passed := min(max(0, now.Sub(r.turned)), time.Second)
	r.turned = now
	r.door = min(r.burst, r.door+r.rate*passed.Seconds())
	r.places += r.rate * passed.Seconds()
	r.places += float64(r.called.end(now) + r.late.end(now))
	if !now.Before(r.listened) {
		r.call(now)
	}
	r.places = min(r.places, r.burst)
	return now
}

// call calls as many as there are places, in order. A bucket is called once it has ended: until then its order is not
// known.
func (r *Room) call(now time.Time) {
	n, since := 0, r.cursor
	for r.waiting > 0 && r.places >= 1 {
		b := &r.left[0]
		if b.n == 0 {
			r.left, r.first = r.left[1:], r.first+1
			continue
		}
		if (r.first+1)*width > now.UnixMilli() {
			break
		}
		some := min(int(r.places), int(b.n))
		from, to := r.bounds(0)
		r.cursor = from + (to-from)*float64(some)/float64(b.n)
		b.n -= int32(some) //nolint:gosec // no more than it holds
		r.waiting -= some
		r.places -= float64(some)
		n += some
	}
	if n > 0 {
		r.called.keep(now, since, n)
	}
	if r.waiting == 0 {
		r.left = r.left[:0]
	}
}

// bounds are the times from which and before which the tickets of a bucket are.
func (r *Room) bounds(i int) (from, to float64) {
	begin := (r.first + int64(i)) * width
	return max(r.cursor, float64(begin+int64(r.left[i].first))), float64(begin + int64(r.left[i].last) + 1)
}

// span is the estimate for who has so many before it, itself included; the caller holds mu. It counts on everybody
// before it: where some do not come it goes faster, never slower.
func (r *Room) span(ahead int) time.Duration {
	seconds := max(0, float64(ahead)-r.places) / r.rate
	wait := lag + time.Duration(seconds*float64(time.Second))
	if rest := r.listened.Sub(r.turned); rest > 0 {
		wait += rest
	}
	return wait
}

// wait is the estimate for a ticket; the caller holds mu.
func (r *Room) wait(at int64) time.Duration {
	for _, s := range r.steps() {
		if at < s.Until.UnixMilli() {
			return s.Wait
		}
	}
	return r.span(r.waiting + 1)
}

// Step says that tickets from before Until have their turn within Wait.
type Step struct {
	Until time.Time
	Wait  time.Duration
}

// steps are some dozens, at most a tenth apart, counted anew once in a bucket's width; the caller holds mu.
func (r *Room) steps() []Step {
	if r.curve != nil && r.turned.Sub(r.curved) < width*time.Millisecond {
		return r.curve
	}
	r.curved, r.curve = r.turned, []Step{}
	sum, reached, next := 0., 0., r.rate
	for i, b := range r.left {
		sum += float64(b.n)
		from, to := r.bounds(i)
		for reached < sum && (next <= sum || sum == float64(r.waiting)) {
			reached = min(next, sum)
			next = reached*coarser + r.rate
			until := to - (to-from)*(sum-reached)/float64(b.n)
			r.curve = append(r.curve, Step{time.UnixMilli(int64(math.Ceil(until))).UTC(), r.span(int(math.Ceil(reached)))})
		}
	}
	return r.curve
}

// State is a room as everybody may see it.
type State struct {
	// Called: tickets from before it may come. Since is when the server began: of those from before, it knows only
	// what came to it.
	Called, Since time.Time
	Waiting       int
	// Out is how many were called and have not come yet.
	Out int
	// Wait is the estimate for who comes now; 0 where nobody waits.
	Wait  time.Duration
	Steps []Step
	// Rate is in sessions a second.
	Rate float64
}

// Now is the room's state.
func (r *Room) Now() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.turn()
	s := State{
		Called: time.UnixMilli(now.UnixMilli() / width * width).UTC(), Since: time.UnixMilli(r.began).UTC(),
		Waiting: r.waiting, Out: r.called.sum + r.late.sum, Rate: r.rate,
	}
	if r.waiting > 0 {
		s.Called, s.Wait, s.Steps = time.UnixMilli(int64(math.Floor(r.cursor))).UTC(), r.span(r.waiting+1), r.steps()
	}
	return s
}
