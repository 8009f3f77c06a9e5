package ratelimit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/redis/go-redis/v9"
)

// tell never waits.
func (s *Shared) tell(e event) {
	if s.away.Load() {
		s.dropped.Add(1)
		return
	}
	select {
	case s.events <- e:
	default:
		s.dropped.Add(1)
	}
}

// tellAll tells Redis what happened until the context ends.
func (s *Shared) tellAll(ctx context.Context) {
	for {
		sums := map[uint64]*sum{}
		select {
		case e := <-s.events:
			s.add(sums, e)
		case <-ctx.Done():
			return
		}
		for range min(len(s.events), tellAtMost-1) {
			s.add(sums, <-s.events)
		}
		s.settle(ctx, sums)
		s.refused.sweep(s.clock())
		if !pause(ctx, tellEvery) {
			return
		}
	}
}

// sum is how often a row counted one subject.
type sum struct {
	row *row
	who Subject
	n   int
}

func (s *Shared) add(sums map[uint64]*sum, e event) {
	for _, r := range s.local.rows[e.action] {
		key, known := r.key(e.who)
		if !known {
			continue
		}
		if sums[key] == nil {
			sums[key] = &sum{row: r, who: e.who}
		}
		sums[key].n += e.n
	}
}

// settle counts sums in Redis, in one round trip, and refuses from now on what is used up there.
func (s *Shared) settle(ctx context.Context, sums map[uint64]*sum) {
	within, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	taken := map[uint64]*sum{}
	for key, one := range sums {
		switch {
		case one.n > 0:
			taken[key] = one
		case one.n < 0:
			// A session's sums are handed back together with its taking, mostly: this is rare.
			for range -one.n {
				s.giveBack(within, []*row{one.row}, one.who)
			}
		}
	}
	all := &together{Client: s.client, pipe: s.client.Pipeline(), want: len(taken), sent: make(chan struct{})}
	limiter := redis_rate.NewLimiter(all)
	var group sync.WaitGroup
	for key, one := range taken {
		group.Go(func() {
			name, _ := s.name(one.row, one.who) // it is known: it was counted
			got, err := limiter.AllowAtMost(within, name, one.row.inRedis(), one.n)
			switch {
			case err != nil:
				s.dropped.Add(uint64(one.n)) //nolint:gosec // it is positive
				if ctx.Err() == nil {
					s.gone(ctx, err)
				}
			case got.Remaining == 0:
				wait := max(got.RetryAfter, time.Duration(one.row.interval))
				s.refused.put(key, s.clock().Add(wait))
			}
		})
	}
	group.Wait()
}

// together makes one round trip of what redis_rate asks one by one: scripts go out when all that are
// wanted are there.
type together struct {
	*redis.Client
	want int
	sent chan struct{} // closed when the answers are there

	mu   sync.Mutex
	pipe redis.Pipeliner // guarded by mu
}

// EvalSha implements redis.Scripter.
func (t *together) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	t.mu.Lock()
	cmd := t.pipe.EvalSha(ctx, sha1, keys, args...)
	if t.pipe.Len() == t.want {
		_, _ = t.pipe.Exec(ctx) // each command has its own error
		close(t.sent)
	}
	t.mu.Unlock()
	<-t.sent
	return cmd
}

// refused is who has used up an allowance in Redis, and until when.
type refused struct {
	// some says whether there is anybody: mostly there is not, and nobody waits for the lock.
	some atomic.Bool

	mu sync.Mutex
	// guarded by mu: a row's key to when it is over.
	until *simplelru.LRU[uint64, time.Time]
}

func newRefused(entries int) *refused {
	if entries <= 0 {
		entries = 1 << 16
	}
	until, _ := simplelru.NewLRU[uint64, time.Time](entries, nil) // fails for sizes below 1 only
	return &refused{until: until}
}

func (f *refused) put(key uint64, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until.Add(key, until)
	f.some.Store(true)
}

func (f *refused) find(rows []*row, who Subject, clock func() time.Time) (Decision, bool) {
	if !f.some.Load() {
		return Decision{}, false
	}
	now := clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		key, known := r.key(who)
		if !known {
			continue
		}
		if until, found := f.until.Peek(key); found && now.Before(until) {
			return Decision{Limit: r.Limit, Reset: r.Window, RetryAfter: until.Sub(now)}, true
		}
	}
	return Decision{}, false
}

// sweep forgets what is over.
func (f *refused) sweep(now time.Time) {
	if !f.some.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range f.until.Keys() {
		if until, found := f.until.Peek(key); found && !now.Before(until) {
			f.until.Remove(key)
		}
	}
	f.some.Store(f.until.Len() > 0)
}
