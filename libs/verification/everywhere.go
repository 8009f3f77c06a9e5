package verification

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxRecent bounds what is held for boards that missed it. Beyond it the oldest is forgotten: that
	// costs a voter of a cloud whose Redis is away another SMS.
	maxRecent = 1 << 16
	// lookEvery is how often an idle board is asked whether it still has what it was given.
	lookEvery = time.Second
	// markFor is how long a board remembers that we wrote to it; longer than any pause between looks.
	markFor = time.Hour
)

// Everywhere writes what was heard to the Redis of every cloud. Each is written to in its own time and in
// order, so that a slow or a lost one holds up no other. What is still alive is held here: a board that
// comes back is given what it missed, and all of it if it came back empty.
//
// A gateway that dies takes what a lost board missed with it. Its voters, waiting in that cloud, come to
// another one or text again.
type Everywhere struct {
	clock   func() time.Time
	log     *slog.Logger
	timeout time.Duration
	boards  []*carrier

	stop  context.CancelFunc
	group sync.WaitGroup

	mu sync.Mutex
	// guarded by mu
	recent []*record // in the order they came
	first  int       // the number of recent[0]
	closed bool
}

var _ Hearer = (*Everywhere)(nil)

// record is one SMS on its way to the boards.
type record struct {
	key       Key
	at, until time.Time
	// taken is closed, once, when the first board has it.
	taken chan struct{}
	has   bool // guarded by Everywhere.mu
}

// carrier brings records to one board.
type carrier struct {
	all    *Everywhere
	config RedisConfig
	client *redis.Client
	// mark is a record of ours on the board: a board without it has lost everything.
	mark string
	news chan struct{} // room for one

	next int // the number of the first record it did not bring; its goroutine's own

	lost time.Time // guarded by Everywhere.mu: since when the board is away; zero while it is not
}

// NewEverywhere returns a Hearer on several boards, none of which need be there yet. Close it.
func NewEverywhere(boards []RedisConfig, deps RedisDeps) (*Everywhere, error) {
	if len(boards) == 0 {
		return nil, errors.New("redis.address is missing")
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &Everywhere{clock: deps.Clock, log: deps.Log, stop: stop}
	mark := "popvote:gateway:" + hashed(rand.Text())
	seen := map[string]bool{}
	for _, config := range boards {
		config, err := config.complete()
		if err == nil && seen[config.Address] {
			err = fmt.Errorf("%s is named twice", config.Address)
		}
		if err != nil {
			stop()
			return nil, err
		}
		seen[config.Address] = true
		e.timeout = max(e.timeout, config.Timeout)
		e.boards = append(e.boards, &carrier{all: e, config: config, mark: mark, news: make(chan struct{}, 1), lost: deps.Clock()})
	}
	for _, c := range e.boards {
		c.client = c.config.client()
		e.group.Go(func() { c.carry(ctx) })
	}
	return e, nil
}

// Close gives each board that is there what it has not got yet, and cuts the connections.
func (e *Everywhere) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.group.Wait()
	var errs []error
	for _, c := range e.boards {
		errs = append(errs, c.client.Close())
	}
	return errors.Join(errs...)
}

// Heard implements Hearer: it returns when the first board has the record, and ErrAway if none took it in
// time. Even then it is brought to them later, if they come back before it ends.
func (e *Everywhere) Heard(ctx context.Context, key Key, at time.Time, ttl time.Duration) error {
	r := &record{key: key, at: at, until: e.clock().Add(ttl), taken: make(chan struct{})}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return fmt.Errorf("couldn't record an SMS: %w: the boards are closed", ErrAway)
	}
	e.recent = append(e.recent, r)
	e.trim()
	e.mu.Unlock()
	for _, c := range e.boards {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
	timer := time.NewTimer(e.timeout)
	defer timer.Stop()
	select {
	case <-r.taken:
		return nil
	case <-timer.C:
		return fmt.Errorf("couldn't record an SMS: %w: none of %d took it in %v", ErrAway, len(e.boards), e.timeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Health is nil while every board takes what it is given.
func (e *Everywhere) Health(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var away []string
	for _, c := range e.boards {
		if !c.lost.IsZero() {
			away = append(away, c.config.Address)
		}
	}
	if len(away) > 0 {
		return fmt.Errorf("couldn't write to %s: %w", strings.Join(away, ", "), ErrAway)
	}
	return nil
}

// trim forgets what is over, or too much; the caller holds mu.
func (e *Everywhere) trim() {
	now, n := e.clock(), 0
	for n < len(e.recent) && (len(e.recent)-n > maxRecent || !now.Before(e.recent[n].until)) {
		e.recent[n] = nil
		n++
	}
	e.recent, e.first = e.recent[n:], e.first+n
}

// since returns records from a number on, a batch at most, with the number after them.
func (e *Everywhere) since(number int) ([]*record, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trim()
	number = max(number, e.first)
	some := e.recent[number-e.first:]
	some = some[:min(len(some), batch)]
	return append([]*record(nil), some...), number + len(some)
}

// carry brings records until the context ends, and then what is left.
func (c *carrier) carry(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.interrupted(ctx, err)
			pause(ctx, mrand.N(again)) //nolint:gosec // jitter
		case !more:
			c.rest(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.Timeout)
	defer cancel()
	for {
		if more, err := c.round(last); err != nil || !more {
			return
		}
	}
}

// rest waits for news, and looks after the board meanwhile.
func (c *carrier) rest(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-c.news:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// round brings a batch, and says whether there is more to bring at once.
func (c *carrier) round(ctx context.Context) (more bool, err error) {
	records, next := c.all.since(c.next)
	now := c.all.clock()
	pipe := c.client.Pipeline()
	mark := pipe.SetArgs(ctx, c.mark, 1, redis.SetArgs{Get: true, TTL: markFor})
	for _, r := range records {
		hear.Eval(ctx, pipe, []string{heardName(r.key)},
			strconv.FormatInt(r.at.UnixNano(), 10), milliseconds(r.until.Sub(now)), channelOf(r.key), r.key[:])
	}
	commands, _ := pipe.Exec(ctx) // each has its own error
	for _, command := range commands {
		if err := command.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return false, err
		}
	}
	empty := errors.Is(mark.Err(), redis.Nil)
	c.next = next
	if empty {
		c.next = 0 // it had nothing of ours: from the oldest on
	}
	c.brought(ctx, records, empty)
	return empty || len(records) == batch, nil
}

// brought tells those who wait for their records to be anywhere.
func (c *carrier) brought(ctx context.Context, records []*record, empty bool) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	for _, r := range records {
		if !r.has {
			r.has = true
			close(r.taken)
		}
	}
	if !c.lost.IsZero() {
		c.all.log.InfoContext(ctx, "writing to a verification board", slog.String("address", c.config.Address),
			slog.Duration("after", c.all.clock().Sub(c.lost)), slog.Bool("empty", empty))
		c.lost = time.Time{}
	}
}

func (c *carrier) interrupted(ctx context.Context, err error) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.lost.IsZero() {
		c.lost = c.all.clock()
		c.all.log.WarnContext(ctx, "lost a verification board; trying again", slog.String("address", c.config.Address), slog.Any("error", err))
	}
}
