package verification

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/discovery"
)

const (
	// maxRecent bounds what is held for boards that missed it. Beyond it the oldest is forgotten: that
	// costs a voter of a cloud whose Redis is away another SMS.
	maxRecent = 1 << 16
	// lookEvery is how often the boards are looked for, and an idle one is asked whether it still has what it
	// was given.
	lookEvery = time.Second
	// markFor is how long a board remembers that we wrote to it; longer than any pause between looks.
	markFor = time.Hour
)

// Everywhere writes what was heard to the Redis of every cloud, wherever those are just now. Each is written
// to in its own time and in order, so that a slow or a lost one holds up no other. What is still alive is
// held here: a board that is new, or comes back, is given what it missed, and all of it if it is empty.
//
// A gateway that dies takes what a lost board missed with it. Its voters, waiting in that cloud, come to
// another one or text again.
type Everywhere struct {
	finder discovery.Finder
	access cloudredis.Access
	clock  func() time.Time
	log    *slog.Logger
	// mark is a record of ours on each board: one without it has lost everything.
	mark string

	stop  context.CancelFunc
	group sync.WaitGroup // who looks for boards, and a carrier for each

	mu sync.Mutex
	// guarded by mu
	boards map[string]*carrier // by address
	recent []*record           // in the order they came
	first  int                 // the number of recent[0]
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
	all     *Everywhere
	address string
	client  *redis.Client
	leave   context.CancelFunc
	news    chan struct{} // room for one

	next int // the number of the first record it did not bring; its goroutine's own

	lost time.Time // guarded by Everywhere.mu: since when the board is away; zero while it is not
}

// NewEverywhere returns a Hearer on every board that is found as cloudredis.Service, none of which need be
// there yet. Close it.
func NewEverywhere(finder discovery.Finder, access cloudredis.Access, deps RedisDeps) *Everywhere {
	ctx, stop := context.WithCancel(context.Background())
	e := &Everywhere{
		finder: finder, access: access, clock: deps.Clock, log: deps.Log, stop: stop,
		mark: "popvote:gateway:" + hashed(rand.Text()), boards: map[string]*carrier{},
	}
	e.group.Go(func() { e.follow(ctx) })
	return e
}

// Close gives each board that is there what it has not got yet, and cuts the connections.
func (e *Everywhere) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.group.Wait()
}

// follow has a carrier for each board that is found, until the context ends.
func (e *Everywhere) follow(ctx context.Context) {
	for ctx.Err() == nil {
		e.meet(ctx, e.finder.Find(cloudredis.Service))
		pause(ctx, lookEvery)
	}
}

func (e *Everywhere) meet(ctx context.Context, found []discovery.Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	there := map[string]bool{}
	for _, in := range found {
		there[in.Address] = true
		if e.boards[in.Address] != nil {
			continue
		}
		c := &carrier{all: e, address: in.Address, client: e.access.Client(in.Address), news: make(chan struct{}, 1), lost: e.clock()}
		var carrying context.Context
		carrying, c.leave = context.WithCancel(ctx)
		e.boards[in.Address] = c
		e.group.Go(func() { c.carry(carrying) })
	}
	for address, c := range e.boards {
		if !there[address] {
			c.leave()
			delete(e.boards, address)
			e.log.InfoContext(ctx, "left a verification board that is not there any more", slog.String("address", address))
		}
	}
}

// Heard implements Hearer: it returns when the first board has the record, and ErrAway if none took it in
// time. Even then it is brought to them later, if they come back before it ends.
func (e *Everywhere) Heard(ctx context.Context, key Key, at time.Time, ttl time.Duration) error {
	r := &record{key: key, at: at, until: e.clock().Add(ttl), taken: make(chan struct{})}
	if !e.post(r) {
		return fmt.Errorf("couldn't record an SMS: %w: the boards are closed", ErrAway)
	}
	within := e.access.Within()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-r.taken:
		return nil
	case <-timer.C:
		return fmt.Errorf("couldn't record an SMS: %w: no board took it in %v", ErrAway, within)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Everywhere) closing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// post holds a record, and wakes who brings it; false once they are gone.
func (e *Everywhere) post(r *record) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.recent = append(e.recent, r)
	e.trim()
	for _, c := range e.boards {
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
	return true
}

// Health is nil while there are boards, and every one takes what it is given.
func (e *Everywhere) Health(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.boards) == 0 {
		return fmt.Errorf("couldn't write to a verification board: %w: %w", ErrAway, cloudredis.ErrNone)
	}
	var away []string
	for _, c := range e.boards {
		if !c.lost.IsZero() {
			away = append(away, c.address)
		}
	}
	if len(away) > 0 {
		slices.Sort(away)
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

// carry brings records until the context ends; and then what is left, unless it is the board that left.
func (c *carrier) carry(ctx context.Context) {
	defer func() { _ = c.client.Close() }() // nothing is under way
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
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.all.access.Within())
	defer cancel()
	for more := c.all.closing(); more; {
		var err error
		if more, err = c.round(last); err != nil {
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
	mark := pipe.SetArgs(ctx, c.all.mark, 1, redis.SetArgs{Get: true, TTL: markFor})
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
	c.brought(ctx, records)
	if empty := errors.Is(mark.Err(), redis.Nil); empty && c.next > 0 {
		c.next = 0 // it had nothing of ours any more: from the oldest on
		return true, nil
	}
	c.next = next
	return len(records) == batch, nil
}

// brought tells those who wait for their records to be anywhere.
func (c *carrier) brought(ctx context.Context, records []*record) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	for _, r := range records {
		if !r.has {
			r.has = true
			close(r.taken)
		}
	}
	if !c.lost.IsZero() {
		c.all.log.InfoContext(ctx, "writing to a verification board", slog.String("address", c.address),
			slog.Duration("after", c.all.clock().Sub(c.lost)))
		c.lost = time.Time{}
	}
}

func (c *carrier) interrupted(ctx context.Context, err error) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.lost.IsZero() {
		c.lost = c.all.clock()
		c.all.log.WarnContext(ctx, "lost a verification board; trying again", slog.String("address", c.address), slog.Any("error", err))
	}
}
