package ratelimit

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/cloudredis"
)

const (
	// patience is how long what asks Redis first waits for it, by default. Redis takes less than 1 ms.
	patience = 100 * time.Millisecond
	// again is the most by which a lost Redis is left alone between two tries.
	again = 250 * time.Millisecond
)

// SharedConfig is how a Shared is made. Redis and Secret are required.
type SharedConfig struct {
	Config
	// Redis leads to the one of the cloud. It may be shared, and is to be closed after the limiter.
	Redis *cloudredis.Link
	// Secret is one that all who share the limits hold. Names on the server are made with what is derived
	// from it: they are no place for addresses, nor for who voted.
	Secret [32]byte
	// Patience is how long what asks Redis first waits for it; 0 means 100 ms. Nothing else waits.
	Patience time.Duration
}

// SharedDeps are what a Shared works with.
type SharedDeps struct {
	Clock func() time.Time
	Log   *slog.Logger
}

// Shared counts in a Redis that the API servers of one cloud share (GCRA, by redis_rate), behind a Local:
// what that refuses never gets there.
//
// Sending an SMS, trying a code and having proved a phone ask Redis before they go on. Everything else goes on at once. What somebody
// does who has used up more than an eighth of an allowance here is told to Redis soon after, and its answer
// is what the Local knows from then on. A cast never waits for Redis, and nearly none costs it anything.
//
// A Redis that is lost leaves each server its Local, and for those three the small budgets of
// Reserve beside: closed to a little, never open. It never returns an error.
type Shared struct {
	local, reserve *Local
	clock          func() time.Time
	log            *slog.Logger
	patience       time.Duration
	secret         [32]byte
	redis          *cloudredis.Link

	away atomic.Bool
	lost chan struct{} // wakes watch; room for one

	mu sync.Mutex
	// guarded by mu: what Redis is to be told, by a row's key
	untold map[uint64]*count
	news   chan struct{} // wakes tell; room for one
	missed atomic.Uint64

	stop  context.CancelFunc
	group sync.WaitGroup // watch and tell
}

var (
	_ Limiter              = (*Shared)(nil)
	_ prometheus.Collector = (*Shared)(nil)
)

// NewShared returns a limiter over the package's tables. Redis need not be there yet. Close it.
func NewShared(c SharedConfig, deps SharedDeps) (*Shared, error) {
	local, err := NewLocal(c.Config, deps.Clock)
	if err != nil {
		return nil, err
	}
	reserve, err := configured(Reserve, c.Config, deps.Clock)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Shared{
		local: local, reserve: reserve, clock: deps.Clock, log: deps.Log,
		patience: cmp.Or(c.Patience, patience), secret: keyed(c.Secret), redis: c.Redis,
		lost: make(chan struct{}, 1), untold: map[uint64]*count{}, news: make(chan struct{}, 1), stop: stop,
	}
	s.away.Store(true) // until it has answered
	s.lost <- struct{}{}
	s.group.Go(func() { s.watch(ctx) })
	s.group.Go(func() { s.tell(ctx) })
	return s, nil
}

// keyed is a secret of this package's own: the same bytes never serve two.
func keyed(secret [32]byte) [32]byte {
	h := hmac.New(sha256.New, secret[:])
	h.Write([]byte("popvote rate limits"))
	return [32]byte(h.Sum(nil))
}

// Close ends it. What Redis was not told yet is forgotten.
func (s *Shared) Close() {
	s.stop()
	s.group.Wait()
}

// exact says which actions ask before they go on: one costs money, one is guessing, and one gives a ballot.
func exact(action Action) bool { return action == Send || action == Check || action == Verify }

// Take implements Limiter.
func (s *Shared) Take(ctx context.Context, action Action, who Subject) (Decision, error) {
	d, busy := s.local.take(action, who)
	switch {
	case !d.Allowed:
	case exact(action):
		d = s.ask(ctx, action, who, d)
		if !d.Allowed {
			s.local.giveBack(action, who)
		}
	case busy != 0:
		s.note(s.local.of(action, who.Poll), busy, who, 1)
	}
	return d, nil
}

// Return implements Limiter.
func (s *Shared) Return(ctx context.Context, action Action, who Subject) error {
	busy := s.local.giveBack(action, who)
	switch {
	case !exact(action):
		s.note(s.local.of(action, who.Poll), busy, who, -1)
	case s.away.Load():
		s.reserve.giveBack(action, who)
	default:
		// Who counted an SMS that was under way while Redis went, or came back, isn't known: one too many
		// may be given back for it.
		within, cancel := s.within(ctx, s.patience)
		defer cancel()
		if err := s.handBack(within, s.counts(action, who)); err != nil {
			s.gone(ctx, err)
		}
	}
	return nil
}

// within bounds what Redis is asked. A voter who leaves must not look like a Redis that does.
func (s *Shared) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// ask counts an action in Redis, or in the reserve if that doesn't answer; then Redis may have counted it too.
func (s *Shared) ask(ctx context.Context, action Action, who Subject, here Decision) Decision {
	if s.away.Load() {
		return s.alone(action, who, here)
	}
	within, cancel := s.within(ctx, s.patience)
	defer cancel()
	counts := s.counts(action, who)
	answers, err := s.count(within, counts)
	if err != nil {
		s.gone(ctx, err)
		return s.alone(action, who, here)
	}
	var taken []count
	var refused *Decision
	for i, c := range counts {
		d := c.decision(answers[i])
		switch {
		case d.Allowed:
			taken = append(taken, c)
			here = here.or(d)
		case refused == nil:
			refused = &d
		}
	}
	if refused == nil {
		return here
	}
	if err := s.handBack(within, taken); err != nil {
		s.gone(ctx, err)
	}
	return *refused
}

// alone counts against the small budget that this server has while Redis is away.
func (s *Shared) alone(action Action, who Subject, here Decision) Decision {
	d, _ := s.reserve.take(action, who)
	if !d.Allowed {
		return d
	}
	return here.or(d)
}

// name is what a row counts a subject by, on the server; false where the subject does not say it.
func (s *Shared) name(r *row, who Subject) (string, bool) {
	var buf [subjectSize]byte
	b, known := r.appendKey(buf[:0], who)
	if !known {
		return "", false
	}
	h := hmac.New(sha256.New, s.secret[:])
	h.Write([]byte(r.Name))
	h.Write([]byte{0})
	h.Write(b)
	return "popvote:limit:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]), true
}

// gone notes that Redis did not answer.
func (s *Shared) gone(ctx context.Context, err error) {
	if s.away.Swap(true) {
		return
	}
	s.log.WarnContext(ctx, "lost the Redis of the limits; each server counts for itself", slog.Any("error", err))
	wake(s.lost)
}

// watch asks a lost Redis until it answers.
func (s *Shared) watch(ctx context.Context) {
	for {
		select {
		case <-s.lost:
		case <-ctx.Done():
			return
		}
		begun := s.clock()
		for s.probe(ctx) != nil {
			if !pause(ctx, rand.N(again)) { //nolint:gosec // jitter
				return
			}
		}
		s.away.Store(false)
		s.log.InfoContext(ctx, "counting with the Redis of the limits", slog.Duration("after", s.clock().Sub(begun)))
	}
}

// probe counts nothing, and has Redis know the script.
func (s *Shared) probe(ctx context.Context) error {
	_, err := redis_rate.NewLimiter(s.redis.Client()).AllowAtMost(ctx, "popvote:probe", redis_rate.PerSecond(1), 0)
	return err
}

func wake(one chan struct{}) {
	select {
	case one <- struct{}{}:
	default:
	}
}

// pause waits; false if the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var (
	aloneMetric = prometheus.NewDesc("popvote_limits_alone",
		"1 while the Redis of the limits is away and this server counts for itself, with the small budgets for sending and checking.", nil, nil)
	missedMetric = prometheus.NewDesc("popvote_limits_untold_total",
		"Times that Redis was to be told of somebody busy and was not: it was away, or there were too many.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Shared) Describe(out chan<- *prometheus.Desc) { out <- aloneMetric; out <- missedMetric }

// Collect implements prometheus.Collector.
func (s *Shared) Collect(out chan<- prometheus.Metric) {
	alone := 0.0
	if s.away.Load() {
		alone = 1
	}
	out <- prometheus.MustNewConstMetric(aloneMetric, prometheus.GaugeValue, alone)
	out <- prometheus.MustNewConstMetric(missedMetric, prometheus.CounterValue, float64(s.missed.Load()))
}
