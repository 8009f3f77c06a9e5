// Package balance chooses which of a service's instances gets a request, from what this program has met
// itself: Consul says who ought to be healthy, and this who answers.
package balance

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/discovery"
)

// An instance that failed rests, twice as long each time in a row.
const (
	restFirst = 250 * time.Millisecond
	restMost  = 4 * time.Second
)

// One that failed so often in a row is ejected: it rests for longer. At most half of all are, so that a
// fault of them all, or of this program's network, doesn't leave it with nobody to ask.
const (
	ejectAfter = 5
	ejectFor   = 10 * time.Second
)

const (
	// share is how much the last latency counts; halfLife is after how long a latency that is not measured
	// any more counts half, so that a slow instance is tried again.
	share    = 0.2
	halfLife = 5 * time.Second
	// leastLatency is not worth a difference.
	leastLatency = 100 * time.Microsecond
	// lookAgain is when Wait does, without being woken: a rest may be over, or an instance new.
	lookAgain = 100 * time.Millisecond
)

// Result is what became of a request.
type Result int

// The results.
const (
	// Answered is an answer, whatever it says.
	Answered Result = iota
	// Refused is one that had no place for the request. It says nothing about the instance's health, and
	// its speed nothing about how fast it works.
	Refused
	// Failed is no answer, or that of an instance that is not well.
	Failed
)

// Instance is one as this program has met it.
type Instance struct {
	// Address is host:port.
	Address string

	// The balancer's lock guards the rest.
	cloud    string
	busy     int // requests under way
	fails    int // in a row
	until    time.Time
	latency  time.Duration // of late; 0 while there was no answer
	measured time.Time
}

// Config is what a balancer is for.
type Config struct {
	// Finder and Service are whose instances; required.
	Finder  discovery.Finder
	Service string
	// Cloud is where this program runs: instances of it come first, while half of them are up. Empty for
	// no preference.
	Cloud string
	// Clock tells the time; required.
	Clock func() time.Time
}

// Balancer chooses instances: of two drawn by chance, the one with less to do, and faster at it. Everybody
// taking the best of all would send a whole fleet to the one that has just come up. Safe for concurrent
// use.
type Balancer struct {
	cfg Config

	mu    sync.Mutex // guards what follows, and the instances
	known map[string]*Instance
	// listed are those last found.
	listed []*Instance
	// failures counts them.
	failures int64

	freed chan struct{} // holds one token once a place may have become free
}

// New returns a balancer that has met nobody.
func New(cfg Config) *Balancer {
	return &Balancer{cfg: cfg, known: map[string]*Instance{}, freed: make(chan struct{}, 1)}
}

// Pick takes an instance that is up and not among those to avoid; nil if there is none. Release it.
func (b *Balancer) Pick(avoid ...*Instance) *Instance {
	in, _ := b.choose(0, avoid)
	return in
}

// PickAny is Pick, but takes one that rests rather than none.
func (b *Balancer) PickAny(avoid ...*Instance) *Instance {
	if in := b.Pick(avoid...); in != nil {
		return in
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, in := range b.listed {
		if !slices.Contains(avoid, in) {
			in.busy++
			return in
		}
	}
	return nil
}

// Again takes the same instance once more, whatever is thought of it: for a try that has nowhere else to
// go. A connection that broke says little about the next.
func (b *Balancer) Again(in *Instance) *Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	in.busy++
	return in
}

// Wake has Wait look again.
func (b *Balancer) Wake() {
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// Wait takes an instance with fewer than places requests under way, and waits until there is one; nil if
// none is up. For one goroutine.
func (b *Balancer) Wait(places func() int) *Instance {
	var look *time.Ticker
	for {
		in, up := b.choose(places(), nil)
		if in != nil || !up {
			return in
		}
		if look == nil {
			look = time.NewTicker(lookAgain)
			defer look.Stop()
		}
		select {
		case <-b.freed:
		case <-look.C:
		}
	}
}

// choose draws among the instances that are up; places is how many requests one may have under way, 0
// for any number.
func (b *Balancer) choose(places int, avoid []*Instance) (chosen *Instance, up bool) {
	found := b.cfg.Finder.Find(b.cfg.Service)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Clock()
	b.list(found)
	ups := b.near(now, avoid)
	free := ups[:0:0]
	for _, in := range ups {
		if places == 0 || in.busy < places {
			free = append(free, in)
		}
	}
	if len(free) == 0 {
		return nil, len(ups) > 0
	}
	i := rand.N(len(free))
	chosen = free[i]
	if len(free) > 1 {
		if other := free[(i+1+rand.N(len(free)-1))%len(free)]; other.before(chosen, now) {
			chosen = other
		}
	}
	chosen.busy++
	return chosen, true
}

// list notes who is there, and forgets those that are gone.
func (b *Balancer) list(found []discovery.Instance) {
	b.listed = b.listed[:0]
	for _, f := range found {
		in := b.known[f.Address]
		if in == nil {
			in = &Instance{Address: f.Address}
			b.known[f.Address] = in
		}
		in.cloud = f.Cloud
		b.listed = append(b.listed, in)
	}
	if len(b.known) <= 2*len(found) {
		return
	}
	for address, in := range b.known {
		if in.busy == 0 && !slices.Contains(b.listed, in) {
			delete(b.known, address)
		}
	}
}

// near returns those that are up: of this cloud alone if at least half of its are and one is not to be
// avoided. One cloud's instances that are gone from the list are nobody's half.
func (b *Balancer) near(now time.Time, avoid []*Instance) []*Instance {
	var all, own []*Instance
	ours, up := 0, 0
	for _, in := range b.listed {
		mine, rests := b.cfg.Cloud != "" && in.cloud == b.cfg.Cloud, now.Before(in.until)
		if mine {
			ours++
			if !rests {
				up++
			}
		}
		if rests || slices.Contains(avoid, in) {
			continue
		}
		all = append(all, in)
		if mine {
			own = append(own, in)
		}
	}
	if len(own) > 0 && 2*up >= ours {
		return own
	}
	return all
}

// before says whether an instance is to be preferred: what waits at it, times how long each takes. Of one
// that is not known it is only what waits.
func (in *Instance) before(other *Instance, now time.Time) bool {
	if in.latency == 0 || other.latency == 0 {
		return in.busy < other.busy
	}
	return float64(in.busy+1)*in.recent(now) < float64(other.busy+1)*other.recent(now)
}

// recent is the latency, as far as it still counts.
func (in *Instance) recent(now time.Time) float64 {
	old := float64(now.Sub(in.measured)) / float64(halfLife)
	return max(float64(leastLatency), float64(in.latency)*math.Exp2(-old))
}

// Release gives an instance back, and says what became of the request. took is how long an answer took;
// 0 if it says nothing about the next one's.
func (b *Balancer) Release(in *Instance, result Result, took time.Duration) {
	b.mu.Lock()
	now := b.cfg.Clock()
	in.busy--
	switch result {
	case Answered:
		in.fails = 0
		if took > 0 {
			if in.latency == 0 {
				in.latency = took
			}
			in.latency += time.Duration(share * float64(took-in.latency))
			in.measured = now
		}
	case Failed:
		rest := min(restMost, restFirst<<min(in.fails, 10))
		in.fails++
		b.failures++
		if in.fails >= ejectAfter && b.mayEject(in, now) {
			rest = ejectFor
		}
		if until := now.Add(rest); until.After(in.until) {
			in.until = until
		}
	}
	b.mu.Unlock()
	b.Wake()
}

// mayEject says whether no more than half of all would then be ejected.
func (b *Balancer) mayEject(one *Instance, now time.Time) bool {
	ejected := 1
	for _, in := range b.listed {
		if in != one && in.fails >= ejectAfter && now.Before(in.until) {
			ejected++
		}
	}
	return 2*ejected <= len(b.listed)
}

// State is what is thought of an instance.
type State struct {
	Address string
	// Busy is how many requests are under way.
	Busy int
	// Rests says that it failed and is left alone for now.
	Rests bool
}

// States returns the state of every instance that is known, and how often one has failed.
func (b *Balancer) States() (all []State, failures int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Clock()
	for _, in := range b.known {
		all = append(all, State{Address: in.Address, Busy: in.busy, Rests: now.Before(in.until)})
	}
	return all, b.failures
}
