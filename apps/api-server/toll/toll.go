// Package toll says how much work a session costs whoever asks for one: more while the server is near its limits,
// and more where a network's sessions come to nothing. It never refuses. What it remembers is a few counts for each
// of a fixed number of networks, in memory, under keys that nobody can turn back into addresses, and they fade.
package toll

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Step is how often the usual work is doubled.
type Step int

// Highest is the last step: eight times the usual work, which an old phone still bears (docs/human-check.md).
const Highest = Step(3)

// Times is what the usual work is multiplied by.
func (s Step) Times() int { return 1 << s }

// StepOf is the step that multiplies by so much: 1, 2, 4 or 8.
func StepOf(times int) (Step, error) {
	for s := range Highest + 1 {
		if s.Times() == times {
			return s, nil
		}
	}
	return 0, errors.New("work is multiplied by 1, 2, 4 or 8")
}

// TooFast is how soon after its session's start no person casts a ballot: an SMS is under way for seconds, and
// whoever has read the question still has three screens before them.
const TooFast = 6 * time.Second

// Config is how a toll is set.
type Config struct {
	// Capacity is how many sessions a second the server is meant to begin.
	Capacity float64
	// Most is the last step that is ever asked.
	Most Step
	// Networks is how many are remembered; 0 means 32,768, which take 4 MB.
	Networks int
}

// Deps are what a toll looks at.
type Deps struct {
	Clock func() time.Time
	// Held is the share in use of the connections that may be held, 0 to 1.
	Held func() float64
}

// Toll keeps the counts. Safe for concurrent use.
type Toll struct {
	clock func() time.Time
	held  func() float64
	most  Step
	seed  maphash.Seed

	mu sync.Mutex
	// guarded by mu
	load     load
	networks networks
	once     once
}

// New returns a toll that knows nothing against anybody.
func New(config Config, deps Deps) *Toll {
	if config.Networks <= 0 {
		config.Networks = 1 << 15
	}
	return &Toll{
		clock: deps.Clock, held: deps.Held, most: config.Most, seed: maphash.MakeSeed(),
		load: load{capacity: config.Capacity}, networks: newNetworks(config.Networks),
	}
}

// Step is what a network is asked now.
func (t *Toll) Step(network netip.Prefix) Step {
	now := t.clock()
	keys := t.keys(network)
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.most, t.load.look(now, t.held())+t.networks.step(keys, tickOf(now)))
}

// Own is what a network is asked on its own account, whatever the load.
func (t *Toll) Own(network netip.Prefix) Step {
	now := t.clock()
	keys := t.keys(network)
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.most, t.networks.step(keys, tickOf(now)))
}

// Load is what everybody is asked.
func (t *Toll) Load() Step {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.most, t.load.look(now, t.held()))
}

// Raised is how many networks are asked each step on their own account.
func (t *Toll) Raised() (sums [Highest + 1]int) {
	const atOnce = 256
	now := tickOf(t.clock())
	some := func(from int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.networks.count(t.networks.rows[from:min(from+atOnce, len(t.networks.rows))], now, &sums)
	}
	for from := 0; from < len(t.networks.rows); from += atOnce { // sessions go on in between
		some(from)
	}
	return sums
}

// Session is what is counted of one: when it began, and how long its voter has to prove the phone.
type Session struct {
	// ID is forgotten again soon; it makes that one session counts once.
	ID      string
	Started time.Time
	Allowed time.Duration
}

// due is when a session that has not been verified counts as one that came to nothing. Most voters are done after
// half of the time they have; whoever is verified later is taken out of the count again.
func (s Session) due() tick { return tickOf(s.Started.Add(min(s.Allowed/2, latest))) }

// Began counts a session.
func (t *Toll) Began(network netip.Prefix, s Session) {
	now := t.clock()
	keys := t.keys(network)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load.add(now)
	t.networks.add(keys, tickOf(now), s.due(), counts{due: 1, open: 1})
}

// Verified counts that a session's phone was proved. Wherever it began: a server sees as many begin as are verified
// at it, if not the same ones.
func (t *Toll) Verified(network netip.Prefix, s Session) { t.change(network, s, "verified", -1) }

// Hurried counts a ballot that came sooner than any person casts one: as if its session had come to nothing.
func (t *Toll) Hurried(network netip.Prefix, s Session) { t.change(network, s, "hurried", 1) }

// change changes, once, what a session counts for.
func (t *Toll) change(network netip.Prefix, s Session, what string, open int32) {
	now := t.clock()
	keys := t.keys(network)
	mark := maphash.String(t.seed, what+" "+s.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.once.first(mark) {
		t.networks.add(keys, tickOf(now), s.due(), counts{open: open})
	}
}

// Junk counts what no voter's page sends: a solution that is wrong or forged, an identity number that cannot be.
func (t *Toll) Junk(network netip.Prefix) {
	now := t.clock()
	keys := t.keys(network)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.networks.junk(keys, tickOf(now))
}

// keys are what a network is known under in memory, never 0: its own, and for IPv6 that of the provider's /32 too.
// Whoever rents a server there gets as many /48 as they like; and a provider with voters is judged by its share.
func (t *Toll) keys(network netip.Prefix) [2]uint64 {
	keys := [2]uint64{maphash.Comparable(t.seed, network) | 1}
	if network.Bits() > providerBits && !network.Addr().Is4() {
		keys[1] = maphash.Comparable(t.seed, netip.PrefixFrom(network.Addr(), providerBits).Masked()) | 1
	}
	return keys
}

// providerBits are the prefix that a provider of IPv6 usually has.
const providerBits = 32

// once remembers marks for as long as others don't overwrite them: some 65,000. Guarded by its owner's mu.
type once struct{ seen [1 << 16]uint64 }

// first says whether a mark is new.
func (o *once) first(mark uint64) bool {
	at := &o.seen[mark%uint64(len(o.seen))]
	was := *at
	*at = mark
	return was != mark
}
