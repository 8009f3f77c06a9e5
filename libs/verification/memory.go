package verification

import (
	"container/heap"
	"context"
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
	waiting  waiting
}

var _ Board = (*Memory)(nil)

// NewMemory returns an empty board.
func NewMemory(clock func() time.Time) *Memory {
	return &Memory{
		clock:    clock,
		heard:    newExpiring[Key, time.Time](maxHeard),
		sessions: newExpiring[string, *codes](maxSessions),
		spent:    newExpiring[string, struct{}](maxSpent),
		waiting:  waiting{},
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
	m.waiting.tell(key, News{At: at})
	return nil
}

// Watch implements Board.
func (m *Memory) Watch(_ context.Context, key Key) (<-chan News, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.heard.get(key, m.clock()); ok {
		return already(News{At: at}), func() {}, nil
	}
	news := m.waiting.add(key)
	return news, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiting.remove(key, news)
	}, nil
}

// NewCode implements Board.
func (m *Memory) NewCode(_ context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (CodeState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.sessions.get(session, now)
	if !ok {
		c = &codes{}
	}
	next, state := c.send(mac, limits, now)
	if next != nil {
		m.sessions.put(session, next, next.Until, now)
	}
	return state, nil
}

// Unsent implements Board.
func (m *Memory) Unsent(_ context.Context, session string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	c, ok := m.sessions.get(session, now)
	if !ok || c.Before == nil {
		return nil
	}
	m.sessions.put(session, c.Before, now.Add(c.Limits.TTL), now)
	return nil
}

// TryCode implements Board.
func (m *Memory) TryCode(_ context.Context, session string, mac [32]byte, now time.Time) (CodeState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.sessions.get(session, now)
	if !ok {
		return noRecord(), nil
	}
	next, state := c.try(mac, now)
	if next != nil {
		m.sessions.replace(session, next)
	}
	return state, nil
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

// Spent implements Board.
func (m *Memory) Spent(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, is := m.spent.get(id, m.clock())
	return is, nil
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

// replace puts another value in an entry's place; it ends when the one before it would have.
func (e *expiring[K, V]) replace(key K, value V) {
	if found := e.entries[key]; found != nil {
		found.value = value
	}
}

func (e *expiring[K, V]) remove(key K) {
	if found := e.entries[key]; found != nil {
		heap.Remove(&e.order, found.place)
		delete(e.entries, key)
	}
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
