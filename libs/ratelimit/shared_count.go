package ratelimit

import (
	"context"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	// tellEvery is the least time between two tellings: a busy network's actions become one number.
	tellEvery = 50 * time.Millisecond
	// tellAtMost is how many counts one telling holds.
	tellAtMost = 4096
)

// count is how often a row counts one subject; below 0 what is handed back.
type count struct {
	row *row
	who Subject
	n   int
}

// counts are one action's, in every row that knows the subject.
func (s *Shared) counts(action Action, who Subject) (all []count) {
	for _, r := range s.local.of(action, who.Poll) {
		if _, known := r.key(who); known {
			all = append(all, count{r, who, 1})
		}
	}
	return all
}

// note has Redis told of an action in some of its rows. It never waits.
func (s *Shared) note(rows []*row, in some, who Subject, n int) {
	if in == 0 {
		return
	}
	if s.away.Load() {
		s.missed.Add(1)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range rows {
		if !in.has(i) {
			continue
		}
		key, _ := r.key(who) // known, or it would not be busy
		c := s.untold[key]
		if c == nil {
			if len(s.untold) >= tellAtMost {
				s.missed.Add(1)
				continue
			}
			c = &count{row: r, who: who}
			s.untold[key] = c
		}
		c.n += n
	}
	wake(s.news)
}

// tell tells Redis what there is, until the context ends.
func (s *Shared) tell(ctx context.Context) {
	for {
		select {
		case <-s.news:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		all := s.untold
		s.untold = make(map[uint64]*count, len(all))
		s.mu.Unlock()
		if err := s.settle(ctx, all); err != nil && ctx.Err() == nil {
			s.missed.Add(uint64(len(all)))
			s.gone(ctx, err)
		}
		if !pause(ctx, tellEvery) {
			return
		}
	}
}

// settle has Redis count, and learns from its answers what the other servers have counted.
func (s *Shared) settle(ctx context.Context, all map[uint64]*count) error {
	var keys []uint64
	var taken, back []count
	for key, c := range all {
		switch {
		case c.n > 0:
			keys, taken = append(keys, key), append(taken, *c)
		case c.n < 0:
			back = append(back, count{c.row, c.who, -c.n})
		}
	}
	answers, err := s.count(ctx, taken)
	if err != nil {
		return err
	}
	now := s.clock().UnixNano()
	for i, answer := range answers {
		taken[i].row.learn(keys[i], now, answer.ResetAfter)
	}
	return s.handBack(ctx, back)
}

// count takes as many of each as Redis has left, in one round trip.
func (s *Shared) count(ctx context.Context, all []count) ([]*redis_rate.Result, error) {
	client := s.redis.Client()
	limiter := redis_rate.NewLimiter(&together{Client: client, pipe: client.Pipeline(), want: len(all), sent: make(chan struct{})})
	answers := make([]*redis_rate.Result, len(all))
	var group errgroup.Group
	for i, c := range all {
		group.Go(func() (err error) {
			name, _ := s.name(c.row, c.who) // known: it is counted
			limit := redis_rate.Limit{Rate: c.row.Count, Burst: c.row.Count, Period: c.row.Window}
			answers[i], err = limiter.AllowAtMost(ctx, name, limit, c.n)
			return err
		})
	}
	return answers, group.Wait()
}

func (c count) decision(answer *redis_rate.Result) Decision {
	return Decision{
		Allowed: answer.Allowed >= c.n, Limit: c.row.Limit, Remaining: answer.Remaining,
		Reset: answer.ResetAfter, RetryAfter: max(0, answer.RetryAfter),
	}
}

// handBack takes actions back. KEYS: redis_rate's record, a time in seconds. ARGV: the seconds that they
// cost.
var handBack = redis.NewScript(`
local at = redis.call('GET', KEYS[1])
if at then redis.call('SET', KEYS[1], at - ARGV[1], 'KEEPTTL') end
return 1
`)

// recordOf is where redis_rate keeps a name.
func recordOf(name string) string { return "rate:" + name }

func (s *Shared) handBack(ctx context.Context, all []count) error {
	if len(all) == 0 {
		return nil
	}
	pipe := s.redis.Client().Pipeline()
	for _, c := range all {
		name, _ := s.name(c.row, c.who) // known: it was counted
		handBack.Eval(ctx, pipe, []string{recordOf(name)}, float64(c.n)*c.row.Window.Seconds()/float64(c.row.Count))
	}
	_, err := pipe.Exec(ctx)
	return err
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
