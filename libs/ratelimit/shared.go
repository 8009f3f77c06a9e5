package ratelimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// patience is how long sending and checking wait for Redis, by default. Redis takes less than 1 ms.
	patience = 100 * time.Millisecond
	// tellWithin bounds one telling, which nobody waits for.
	tellWithin = time.Second
	// tellEvery is the least time between two tellings: a busy network's actions become one number.
	tellEvery = 20 * time.Millisecond
	// tellAtMost is how many actions one telling holds, and untold how many may wait for it.
	tellAtMost, untold = 4096, 1 << 15
	// again is the most by which a lost Redis is left alone between two tries.
	again = 250 * time.Millisecond
)

// SharedConfig is how a Shared is made. Redis and Secret are required.
type SharedConfig struct {
	Config
	// Redis says where it is, with its password and TLS. Times are set here.
	Redis *redis.Options
	// Secret is one that all who share the limits hold. Names on the server are made with what is derived
	// from it: they are no place for addresses, nor for who voted.
	Secret [32]byte
	// Patience is how long a sending or a check waits for Redis; 0 means 100 ms. Nothing else waits.
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
// Sending an SMS and trying a code ask Redis before they go on. Everything else goes on at once, is told
// to Redis within some 20 ms, and is refused from then on if the servers together allowed too much: a
// cast never waits for Redis.
//
// A Redis that is lost leaves each server its own limits, and for sending and checking the small ones of
// Reserve beside: closed to a small budget, never open. It never returns an error.
type Shared struct {
	local, reserve *Local
	clock          func() time.Time
	log            *slog.Logger
	patience       time.Duration
	secret         [32]byte
	client         *redis.Client
	limiter        *redis_rate.Limiter

	refused *refused
	events  chan event
	dropped atomic.Uint64
	away    atomic.Bool
	lost    chan struct{} // wakes watch; room for one

	stop context.CancelFunc
	done chan struct{} // closed when watch and tell have ended
}

// event is an action that Redis has not been told of; n is −1 for one that is handed back.
type event struct {
	action Action
	who    Subject
	n      int
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
	table, err := tuned(Reserve, c.Config)
	if err != nil {
		return nil, err
	}
	reserve, err := newLocal(table, c.Entries, deps.Clock)
	if err != nil {
		return nil, err
	}
	if c.Patience == 0 {
		c.Patience = patience
	}
	logging.Disable() // it writes to stderr by itself; what matters comes back as errors
	options := *c.Redis
	options.Protocol = 2
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = tellWithin, tellWithin, tellWithin, tellWithin
	options.ContextTimeoutEnabled = true
	options.DialerRetries = 1
	options.MaxRetries = -1 // a lost answer may have counted
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	ctx, stop := context.WithCancel(context.Background())
	s := &Shared{
		local: local, reserve: reserve, clock: deps.Clock, log: deps.Log, patience: c.Patience,
		secret: keyed(c.Secret),
		client: redis.NewClient(&options), refused: newRefused(c.Entries),
		events: make(chan event, untold), lost: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	s.limiter = redis_rate.NewLimiter(s.client)
	s.away.Store(true) // until it has answered
	s.lost <- struct{}{}
	go func() {
		defer close(s.done)
		told := make(chan struct{})
		go func() {
			defer close(told)
			s.tellAll(ctx)
		}()
		s.watch(ctx)
		<-told
	}()
	return s, nil
}

// keyed is a secret of this package's own: the same bytes never serve two.
func keyed(secret [32]byte) [32]byte {
	h := hmac.New(sha256.New, secret[:])
	h.Write([]byte("popvote rate limits"))
	return [32]byte(h.Sum(nil))
}

// Close cuts the connections. What Redis was not told yet is forgotten.
func (s *Shared) Close() error {
	s.stop()
	<-s.done
	return s.client.Close()
}

// exact says which actions ask before they go on: one costs money, the other is guessing.
func exact(action Action) bool { return action == Send || action == Check }

// Take implements Limiter.
func (s *Shared) Take(ctx context.Context, action Action, who Subject) (Decision, error) {
	rows := s.local.rows[action]
	if d, found := s.refused.find(rows, who, s.clock); found {
		return d, nil
	}
	d, err := s.local.Take(ctx, action, who)
	if err != nil || !d.Allowed || d.Limit.Name == "" {
		return d, err
	}
	if exact(action) {
		return s.ask(ctx, action, who, d)
	}
	s.tell(event{action, who, 1})
	return d, nil
}

// Return implements Limiter.
func (s *Shared) Return(ctx context.Context, action Action, who Subject) error {
	if err := s.local.Return(ctx, action, who); err != nil {
		return err
	}
	if !exact(action) {
		s.tell(event{action, who, -1})
		return nil
	}
	// Whether Redis or the reserve counted it is not known here. A budget that is only there while Redis
	// is away gets nothing back: it errs on the side that costs nothing.
	if !s.away.Load() {
		s.giveBack(ctx, s.local.rows[action], who)
	}
	return nil
}

// ask counts an action in Redis, or in the reserve if that doesn't answer.
func (s *Shared) ask(ctx context.Context, action Action, who Subject, best Decision) (Decision, error) {
	if s.away.Load() {
		return s.alone(ctx, action, who, best)
	}
	// A voter who leaves must not look like a Redis that does.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	rows := s.local.rows[action]
	for i, r := range rows {
		name, known := s.name(r, who)
		if !known {
			continue
		}
		got, err := s.limiter.Allow(within, name, r.inRedis())
		if err != nil {
			s.gone(ctx, err)
			return s.alone(ctx, action, who, best)
		}
		d := Decision{Allowed: got.Allowed > 0, Limit: r.Limit, Remaining: got.Remaining, Reset: got.ResetAfter, RetryAfter: max(0, got.RetryAfter)}
		if !d.Allowed {
			s.giveBack(ctx, rows[:i], who)
			return d, s.local.Return(ctx, action, who)
		}
		if d.share() < best.share() {
			best = d
		}
	}
	return best, nil
}

// alone counts against the small budget that this server has while Redis is away.
func (s *Shared) alone(ctx context.Context, action Action, who Subject, best Decision) (Decision, error) {
	d, err := s.reserve.Take(ctx, action, who)
	switch {
	case err != nil:
		return d, err
	case !d.Allowed:
		return d, s.local.Return(ctx, action, who)
	case d.Limit.Name != "" && d.share() < best.share():
		return d, nil
	default:
		return best, nil
	}
}

// handBack takes one action back. KEYS: redis_rate's record, a time in seconds. ARGV: the seconds that
// an action costs.
var handBack = redis.NewScript(`
local at = redis.call('GET', KEYS[1])
if at then redis.call('SET', KEYS[1], tostring(tonumber(at) - tonumber(ARGV[1])), 'KEEPTTL') end
return 1
`)

// recordOf is where redis_rate keeps a name.
func recordOf(name string) string { return "rate:" + name }

func (s *Shared) giveBack(ctx context.Context, rows []*row, who Subject) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, r := range rows {
		if name, known := s.name(r, who); known {
			handBack.Eval(within, pipe, []string{recordOf(name)}, r.cost())
		}
	}
	if _, err := pipe.Exec(within); err != nil {
		s.gone(ctx, err)
	}
}

// inRedis is a row as redis_rate takes it.
func (r *row) inRedis() redis_rate.Limit {
	return redis_rate.Limit{Rate: r.Count, Burst: r.Count, Period: r.Window}
}

// cost of one action, seconds.
func (r *row) cost() float64 { return r.Window.Seconds() / float64(r.Count) }

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
	select {
	case s.lost <- struct{}{}:
	default:
	}
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

// probe counts nothing, with both scripts: Redis then knows them.
func (s *Shared) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	limit := redis_rate.PerSecond(1)
	if _, err := s.limiter.AllowN(ctx, "popvote:probe", limit, 0); err != nil {
		return err
	}
	_, err := s.limiter.AllowAtMost(ctx, "popvote:probe", limit, 0)
	return err
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
	untoldMetric = prometheus.NewDesc("popvote_limits_untold_total",
		"Actions that Redis was never told of: it was away, or more came than it was told in time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Shared) Describe(out chan<- *prometheus.Desc) { out <- aloneMetric; out <- untoldMetric }

// Collect implements prometheus.Collector.
func (s *Shared) Collect(out chan<- prometheus.Metric) {
	alone := 0.0
	if s.away.Load() {
		alone = 1
	}
	out <- prometheus.MustNewConstMetric(aloneMetric, prometheus.GaugeValue, alone)
	out <- prometheus.MustNewConstMetric(untoldMetric, prometheus.CounterValue, float64(s.dropped.Load()))
}
