package overhttp

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/discovery"
)

// An instance that failed is left alone for this long, twice as long each time in a row.
const (
	ejectFirst = 250 * time.Millisecond
	ejectMost  = 4 * time.Second
)

// instance is one ballot server as this client has met it; its balancer's lock guards it.
type instance struct {
	address string
	busy    int // requests under way
	fails   int // in a row
	until   time.Time
}

// balancer chooses instances: of two drawn by chance, the less busy one. Everybody taking the least busy
// of all would send a whole fleet to the one that has just come up.
type balancer struct {
	finder  discovery.Finder
	service string
	clock   func() time.Time

	mu    sync.Mutex // guards known and its instances
	known map[string]*instance
	// ejections counts them; mu guards it too.
	ejections int64
	freed     chan struct{} // holds one token once a place may have become free
}

func newBalancer(finder discovery.Finder, service string, clock func() time.Time) *balancer {
	return &balancer{finder: finder, service: service, clock: clock, known: map[string]*instance{}, freed: make(chan struct{}, 1)}
}

// pick takes an instance that is up and not among those to avoid; nil if there is none.
func (b *balancer) pick(avoid ...*instance) *instance {
	in, _ := b.choose(0, avoid)
	return in
}

// again takes the same instance once more, whatever is thought of it: for a try that has nowhere else to
// go. A connection that broke says little about the next.
func (b *balancer) again(in *instance) *instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	in.busy++
	return in
}

// wake has wait look again.
func (b *balancer) wake() {
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// wait takes an instance with fewer than places requests under way, and waits until there is one; nil if
// none is up.
func (b *balancer) wait(places func() int) *instance {
	for {
		in, up := b.choose(places(), nil)
		if in != nil || !up {
			return in
		}
		<-b.freed
	}
}

// choose draws among the instances that are up; places is how many requests one may have under way, 0
// for any number.
func (b *balancer) choose(places int, avoid []*instance) (chosen *instance, up bool) {
	found := b.finder.Find(b.service)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	var free []*instance
	for _, f := range found {
		in := b.known[f.Address]
		if in == nil {
			in = &instance{address: f.Address}
			b.known[f.Address] = in
		}
		if now.Before(in.until) || slices.Contains(avoid, in) {
			continue
		}
		up = true
		if places == 0 || in.busy < places {
			free = append(free, in)
		}
	}
	if len(b.known) > 2*len(found) {
		b.forget(found)
	}
	if len(free) == 0 {
		return nil, up
	}
	chosen = free[rand.N(len(free))]
	if other := free[rand.N(len(free))]; other.busy < chosen.busy {
		chosen = other
	}
	chosen.busy++
	return chosen, true
}

// forget drops the instances that are gone.
func (b *balancer) forget(found []discovery.Instance) {
	for address, in := range b.known {
		if in.busy == 0 && !slices.ContainsFunc(found, func(f discovery.Instance) bool { return f.Address == address }) {
			delete(b.known, address)
		}
	}
}

// release gives an instance back, and says whether it failed.
func (b *balancer) release(in *instance, failed bool) {
	b.mu.Lock()
	in.busy--
	if failed {
		in.until = b.clock().Add(min(ejectMost, ejectFirst<<min(in.fails, 10)))
		in.fails++
		b.ejections++
	} else {
		in.fails = 0
	}
	b.mu.Unlock()
	b.wake()
}
