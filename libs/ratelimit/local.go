package ratelimit

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Config is how a local limiter is made. Its zero value is the table as it stands.
type Config struct {
	// Scale multiplies every count; 0 means 1. For benches that play a city from one address.
	Scale float64 `koanf:"scale"`
	// Override replaces rows of the table by name; count 0 takes one away.
	Override map[string]Rate `koanf:"override"`
	// Polls replaces rows for one poll, by the poll's id and the row's name: what is done in that poll is then
	// counted apart from all others. Rows that count all polls together have no such numbers.
	Polls map[string]map[string]Rate `koanf:"polls"`
	// Entries is the bound on clients remembered per limit; 0 means 65,536 (about 8 MB each when full).
	// Beyond it the least recently seen is forgotten, and its allowance is whole again.
	Entries int `koanf:"entries"`
}

// Local counts in this process's memory.
type Local struct {
	clock func() time.Time
	rows  map[Action][]*row
	// polls are the rows that count in polls with numbers of their own: those, and the others' as in rows.
	polls map[string]map[Action][]*row
}

// row is one limit with its state, in shards so that cores do not queue for one lock.
type row struct {
	Limit
	// interval is the time one action costs, nanoseconds.
	interval int64
	seed     maphash.Seed
	shards   [shards]shard
}

const shards = 16

type shard struct {
	mu sync.Mutex
	// guarded by mu: hashed key to theoretical arrival time, ns since the epoch. Keys are hashed with a
	// seed of this process, so memory holds no list of addresses or tags.
	arrivals *simplelru.LRU[uint64, int64]
}

// NewLocal returns a limiter over the package's table.
func NewLocal(c Config, clock func() time.Time) (*Local, error) { return configured(Table, c, clock) }

// configured is a limiter over one of the two tables, as it was configured.
func configured(table []Limit, c Config, clock func() time.Time) (*Local, error) {
	table, err := tuned(table, c)
	if err != nil {
		return nil, err
	}
	l, err := newLocal(table, c.Entries, clock)
	if err != nil {
		return nil, err
	}
	for poll, override := range c.Polls {
		if l.polls[poll], err = l.ofPoll(override, c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func newLocal(table []Limit, entries int, clock func() time.Time) (*Local, error) {
	l := &Local{clock: clock, rows: map[Action][]*row{}, polls: map[string]map[Action][]*row{}}
	for _, limit := range table {
		r, err := newRow(limit, entries)
		if err != nil {
			return nil, err
		}
		l.rows[limit.On] = append(l.rows[limit.On], r)
	}
	return l, nil
}

func newRow(limit Limit, entries int) (*row, error) {
	if entries <= 0 {
		entries = 1 << 16
	}
	r := &row{Limit: limit, interval: max(1, int64(limit.Window)/int64(limit.Count)), seed: maphash.MakeSeed()}
	for i := range r.shards {
		lru, err := simplelru.NewLRU[uint64, int64](max(1, entries/shards), nil)
		if err != nil {
			return nil, err
		}
		r.shards[i].arrivals = lru
	}
	return r, nil
}

// ofPoll are the rows that count in a poll with these numbers of its own.
func (l *Local) ofPoll(override map[string]Rate, c Config) (map[Action][]*row, error) {
	all := make(map[Action][]*row, len(l.rows))
	for action, rows := range l.rows {
		rows = slices.Clone(rows)
		for i, r := range rows {
			rate, changed := override[r.Name]
			if !changed {
				continue
			}
			own := r.at(rate, c.Scale)
			if !slices.Contains(own.By, Poll) {
				own.By = append(slices.Clone(own.By), Poll)
			}
			var err error
			if rows[i], err = newRow(own, c.Entries); err != nil {
				return nil, err
			}
		}
		all[action] = rows
	}
	return all, nil
}

// of are the rows that count an action in a poll, or in none.
func (l *Local) of(action Action, poll string) []*row {
	if own, ok := l.polls[poll]; ok {
		return own[action]
	}
	return l.rows[action]
}

// Take implements Limiter; it never returns an error.
func (l *Local) Take(_ context.Context, action Action, who Subject) (Decision, error) {
	d, _ := l.take(action, who)
	return d, nil
}

// some is a choice of an action's rows: bit i is row i.
type some uint32

func (s some) has(i int) bool { return s&(1<<i) != 0 }

// take also says in which rows the subject is busy.
func (l *Local) take(action Action, who Subject) (best Decision, busy some) {
	now := l.clock().UnixNano()
	best.Allowed = true
	rows := l.of(action, who.Poll)
	for i, r := range rows {
		key, known := r.key(who)
		if !known {
			continue
		}
		d := r.take(key, now)
		if !d.Allowed {
			// Rows are independent, so what was counted before the refusal is handed back.
			for _, before := range rows[:i] {
				if key, known := before.key(who); known {
					before.giveBack(key)
				}
			}
			return d, 0
		}
		if r.busy(d.Reset) {
			busy |= 1 << i
		}
		best = best.or(d)
	}
	return best, busy
}

// Return implements Limiter; it never returns an error.
func (l *Local) Return(_ context.Context, action Action, who Subject) error {
	l.giveBack(action, who)
	return nil
}

// giveBack also says in which rows the subject was busy until now.
func (l *Local) giveBack(action Action, who Subject) (busy some) {
	now := l.clock().UnixNano()
	for i, r := range l.of(action, who.Poll) {
		if key, known := r.key(who); known && r.busy(time.Duration(r.giveBack(key)-now)) {
			busy |= 1 << i
		}
	}
	return busy
}

// or is the one with the smaller share left.
func (d Decision) or(other Decision) Decision {
	if d.Limit.Name == "" || other.Limit.Name != "" && other.share() < d.share() {
		return other
	}
	return d
}

func (d Decision) share() float64 { return float64(d.Remaining) / float64(d.Limit.Count) }

// window is how far an arrival time may run ahead.
func (r *row) window() int64 { return r.interval * int64(r.Count) }

// busy says that more than an eighth of an allowance is used up, if it is whole again after reset.
func (r *row) busy(reset time.Duration) bool { return int64(reset) > r.window()/8 }

// take is GCRA: the arrival time is when the allowance would be whole again; each action moves it on
// by one interval, and it may not run ahead of now by more than the window.
func (r *row) take(key uint64, now int64) Decision {
	s := &r.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	arrival, _ := s.arrivals.Get(key)
	next := max(arrival, now) + r.interval
	window := r.window()
	if ahead := next - now; ahead > window {
		return Decision{Limit: r.Limit, Reset: time.Duration(arrival - now), RetryAfter: time.Duration(ahead - window)}
	}
	s.arrivals.Add(key, next)
	return Decision{Allowed: true, Limit: r.Limit, Remaining: int((window - (next - now)) / r.interval), Reset: time.Duration(next - now)}
}

// giveBack returns the arrival time as it was before.
func (r *row) giveBack(key uint64) int64 {
	s := &r.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	arrival, ok := s.arrivals.Get(key)
	if ok {
		s.arrivals.Add(key, arrival-r.interval)
	}
	return arrival
}

// learn moves the arrival time on to what others know, which is until reset from now.
func (r *row) learn(key uint64, now int64, reset time.Duration) {
	s := &r.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	arrival, _ := s.arrivals.Get(key)
	s.arrivals.Add(key, max(arrival, now+min(int64(reset), r.window())))
}

// key hashes what the row counts by; false where the subject does not say it.
func (r *row) key(who Subject) (uint64, bool) {
	var buf [subjectSize]byte
	b, known := r.appendKey(buf[:0], who)
	if !known {
		return 0, false
	}
	return maphash.Bytes(r.seed, b), true
}

// subjectSize is room for what a row counts by, without growing for the usual.
const subjectSize = 160

func (r *row) appendKey(b []byte, who Subject) ([]byte, bool) {
	for _, by := range r.By {
		switch by {
		case Network:
			if !who.Client.IsValid() {
				return nil, false
			}
			a := NetworkOf(who.Client).Addr().As16()
			b = append(b, a[:]...)
		case Phone:
			if who.Phone == ([32]byte{}) {
				return nil, false
			}
			b = append(b, who.Phone[:]...)
		case Block:
			if who.Block == ([32]byte{}) {
				return nil, false
			}
			b = append(b, who.Block[:]...)
		case Voter:
			if who.Voter == ([32]byte{}) {
				return nil, false
			}
			b = append(b, who.Voter[:]...)
		case Poll:
			if who.Poll == "" {
				return nil, false
			}
			b = binary.AppendUvarint(b, uint64(len(who.Poll)))
			b = append(b, who.Poll...)
		case Global:
			b = append(b, 'g')
		}
	}
	return b, true
}
