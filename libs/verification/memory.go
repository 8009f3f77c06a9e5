package verification

import (
	"container/heap"
	"context"
	"crypto/subtle"
	"sync"
	"time"
)

// Bounds of a Memory. Beyond one, the record nearest its end is forgotten: that costs somebody
// another SMS, never a vote.
const (
	maxHeard    = 1 << 18
	maxSessions = 1 << 18
	maxSpent    = 1 << 20
)

// Memory is a Board in this process. Records go when they are over, on the way past: there is no
// goroutine and no timer for any of them.
type Memory struct {
	clock func() time.Time

	mu sync.Mutex
	// guarded by mu
	heard    *expiring[Key, time.Time]
	sessions *expiring[string, *codes]
	spent    *expiring[string, struct{}]
	waiting  map[Key][]chan<- time.Time
}

var _ Board = (*Memory)(nil)

// NewMemory returns an empty board.
func NewMemory(clock func() time.Time) *Memory {
	return &Memory{
		clock:    clock,
		heard:    newExpiring[Key, time.Time](maxHeard),
		sessions: newExpiring[string, *codes](maxSessions),
		spent:    newExpiring[string, struct{}](maxSpent),
		waiting:  map[Key][]chan<- time.Time{},
	}
}

// Heard implements Board.
func (m *Memory) Heard(_ context.Context, key Key, at time.Time, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if _, again := m.heard.get(key, now); again {
		return nil
	}
	m.heard.put(key, at, now.Add(ttl), now)
	for _, waiter := range m.waiting[key] {
		waiter <- at // has room: each waiter is sent to once
	}
	delete(m.waiting, key)
	return nil
}

// Await implements Board. Registering and reading happen under one lock, so nothing falls between.
func (m *Memory) Await(ctx context.Context, key Key) (time.Time, error) {
	notice := make(chan time.Time, 1)
	m.mu.Lock()
	if at, ok := m.heard.get(key, m.clock()); ok {
		m.mu.Unlock()
		return at, nil
	}
	m.waiting[key] = append(m.waiting[key], notice)
	m.mu.Unlock()

	select {
	case at := <-notice:
		return at, nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(key, notice)
	select {
	case at := <-notice: // heard while the context ended
		return at, nil
	default:
		return time.Time{}, ctx.Err()
	}
}

func (m *Memory) forget(key Key, notice chan<- time.Time) {
	waiters := m.waiting[key]
	for i, w := range waiters {
		if w == notice {
			waiters[i] = waiters[len(waiters)-1]
			waiters = waiters[:len(waiters)-1]
			break
		}
	}
	if len(waiters) == 0 {
		delete(m.waiting, key)
	} else {
		m.waiting[key] = waiters
	}
}

// codes is one session's record.
type codes struct {
	limits CodeLimits
	sends  int
	// nextSend is when another may be sent, nextCheck when one may be tried.
	nextSend, nextCheck time.Time
	mac                 [32]byte
	tries               int
	// until is the code's end; zero when it is used up or was never there.
	until time.Time
	// before is the record as it was before the last sending.
	before *codes
}

// NewCode implements Board.
func (m *Memory) NewCode(_ context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (CodeState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.sessions.get(session, now)
	if !ok {
		c = &codes{}
	}
	switch {
	case c.sends > len(limits.SendDelays):
		return c.state(Exhausted, now), nil
	case now.Before(c.nextSend):
		return c.state(TooSoon, now), nil
	}
	before := *c
	before.before = nil
	next := &codes{limits: limits, sends: c.sends + 1, mac: mac, tries: limits.Tries, until: now.Add(limits.TTL), nextCheck: now, before: &before}
	if c.sends < len(limits.SendDelays) {
		next.nextSend = now.Add(limits.SendDelays[c.sends])
	}
	m.sessions.put(session, next, next.until, now)
	return next.state(Accepted, now), nil
}

// Unsent implements Board.
func (m *Memory) Unsent(_ context.Context, session string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	c, ok := m.sessions.get(session, now)
	if !ok || c.before == nil {
		return nil
	}
	m.sessions.put(session, c.before, now.Add(c.limits.TTL), now)
	return nil
}

// TryCode implements Board.
func (m *Memory) TryCode(_ context.Context, session string, mac [32]byte, now time.Time) (CodeState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.sessions.get(session, now)
	if !ok {
		return CodeState{Result: NoCode, NextSend: -1, NextCheck: -1}, nil
	}
	switch {
	case !now.Before(c.until):
		return c.state(NoCode, now), nil
	case c.tries == 0:
		return c.state(Exhausted, now), nil
	case now.Before(c.nextCheck):
		return c.state(TooSoon, now), nil
	}
	c.tries--
	c.nextCheck = now.Add(c.limits.CheckDelay)
	if subtle.ConstantTimeCompare(mac[:], c.mac[:]) == 1 {
		c.until = time.Time{}
		return c.state(Right, now), nil
	}
	return c.state(Wrong, now), nil
}

// state says where the session stands; waits are from now.
func (c *codes) state(result CodeResult, now time.Time) CodeState {
	s := CodeState{Result: result, TriesLeft: c.tries, NextSend: -1, NextCheck: -1}
	if c.sends <= len(c.limits.SendDelays) {
		s.NextSend = max(0, c.nextSend.Sub(now))
	}
	if c.tries > 0 && now.Before(c.until) {
		s.NextCheck = max(0, c.nextCheck.Sub(now))
	}
	return s
}

// Spend implements Board.
func (m *Memory) Spend(_ context.Context, id string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if _, again := m.spent.get(id, now); again {
		return false, nil
	}
	m.spent.put(id, struct{}{}, now.Add(ttl), now)
	return true, nil
}

// expiring is a bounded map whose entries end. Putting sweeps what has ended, so the map never holds
// more than the living and the bound.
type expiring[K comparable, V any] struct {
	bound   int
	entries map[K]*entry[K, V]
	order   byEnd[K, V]
}

type entry[K comparable, V any] struct {
	key   K
	value V
	ends  time.Time
	place int // in order
}

func newExpiring[K comparable, V any](bound int) *expiring[K, V] {
	return &expiring[K, V]{bound: bound, entries: map[K]*entry[K, V]{}}
}

func (e *expiring[K, V]) get(key K, now time.Time) (v V, ok bool) {
	if found := e.entries[key]; found != nil && now.Before(found.ends) {
		return found.value, true
	}
	return v, false
}

func (e *expiring[K, V]) put(key K, value V, ends, now time.Time) {
	if old := e.entries[key]; old != nil {
		old.value, old.ends = value, ends
		heap.Fix(&e.order, old.place)
		return
	}
	for len(e.order) > 0 && (!now.Before(e.order[0].ends) || len(e.order) >= e.bound) {
		delete(e.entries, heap.Pop(&e.order).(*entry[K, V]).key)
	}
	added := &entry[K, V]{key: key, value: value, ends: ends}
	e.entries[key] = added
	heap.Push(&e.order, added)
}

// byEnd is a heap (container/heap), soonest end first.
type byEnd[K comparable, V any] []*entry[K, V]

func (o byEnd[K, V]) Len() int           { return len(o) }
func (o byEnd[K, V]) Less(i, j int) bool { return o[i].ends.Before(o[j].ends) }
func (o byEnd[K, V]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

func (o *byEnd[K, V]) Push(x any) {
	added := x.(*entry[K, V])
	added.place = len(*o)
	*o = append(*o, added)
}

func (o *byEnd[K, V]) Pop() any {
	last := (*o)[len(*o)-1]
	(*o)[len(*o)-1] = nil
	*o = (*o)[:len(*o)-1]
	return last
}
