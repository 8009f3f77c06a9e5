package server

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/crashpoint"
	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
)

// committer records votes. It takes what is queued, records it in one transaction, answers, and starts
// again: no timer, so a batch is as large as the load makes it, and a single voter waits for one commit.
// Where the database can, a batch begins while others are being committed; see beside.
//
// Invariants:
//   - a receipt is given only after the transaction of its ballot is durable;
//   - once a batch is in Record, nobody's context ends it;
//   - a batch whose commit has an unknown outcome is recorded again, the same, until it is known.
type committer struct {
	server  *Server
	metrics *metrics
	max     int
	atOnce  int // batches under way

	// gate is held for reading while something is put into the queue, for writing to close it.
	gate    sync.RWMutex
	closed  bool
	queue   chan *item
	closing chan struct{}
	// enough holds a token once beside items may be queued.
	enough chan struct{}
}

// beside is how many ballots have to have come together before a batch begins beside one that is being
// committed. With fewer, a transaction less is worth more than the wait.
const beside = 64

// item is one ballot on its way.
type item struct {
	call   call
	at     int // place in the call
	poll   string
	ballot store.Ballot
}

// call is what is told of its ballots' outcomes.
type call interface {
	// answer gives the outcome of one.
	answer(at int, o ballotapi.Outcome)
	// told says that those of one commit have been given.
	told()
}

// waiting is a Cast: it waits until each of its ballots has an outcome.
type waiting struct {
	done chan struct{} // closed with the last outcome

	mu       sync.Mutex // guards what follows
	outcomes []ballotapi.Outcome
	left     int
}

func (w *waiting) answer(at int, o ballotapi.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[at] = o
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

func (*waiting) told() {}

// telling is a CastEach.
type telling struct {
	tell func([]ballotapi.Known)

	mu    sync.Mutex // guards known
	known []ballotapi.Known
}

func (t *telling) answer(at int, o ballotapi.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = append(t.known, ballotapi.Known{At: at, Outcome: o})
}

func (t *telling) told() {
	t.mu.Lock()
	known := t.known
	t.known = nil
	t.mu.Unlock()
	if len(known) > 0 {
		t.tell(known)
	}
}

func newCommitter(cfg Config, s *Server, m *metrics) *committer {
	return &committer{
		server: s, metrics: m, max: cfg.Batch, atOnce: s.store.AtOnce(),
		queue: make(chan *item, cfg.Queue), closing: make(chan struct{}), enough: make(chan struct{}, 1),
	}
}

// offer queues an item, or says at once why not.
func (c *committer) offer(it *item) error {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.closed {
		return problem.New(problem.Unavailable).Because("the ballot server is stopping").After(jitter())
	}
	select {
	case c.queue <- it:
		if len(c.queue) >= beside-1 { // the next batch's first may have been taken out
			select {
			case c.enough <- struct{}{}:
			default:
			}
		}
		return nil
	default:
		return problem.New(problem.Overloaded).After(jitter())
	}
}

// jitter spreads those who were sent away over two seconds.
func jitter() time.Duration { return time.Second + rand.N(2*time.Second) }

// close lets the queue run out.
func (c *committer) close() {
	c.gate.Lock()
	defer c.gate.Unlock()
	if !c.closed {
		c.closed = true
		close(c.closing)
		close(c.queue)
	}
}

// run records batches until the queue is closed and empty.
func (c *committer) run() {
	ended := make(chan []*item, c.atOnce) // with what has to be recorded again
	var items []*item                     // of the next batch
	underWay, open := 0, true
	end := func(again []*item) {
		underWay--
		items = append(items, again...)
	}
	for {
		switch {
		case underWay == c.atOnce || !open && len(items) == 0 && underWay > 0:
			end(<-ended)
		case !open && len(items) == 0:
			return
		case len(items) == 0:
			select {
			case again := <-ended:
				end(again)
			case it, ok := <-c.queue:
				if open = ok; ok {
					items = append(make([]*item, 0, c.max), it)
				}
			}
		case underWay > 0 && open && len(items)+len(c.queue) < beside:
			select {
			case again := <-ended:
				end(again)
			case <-c.enough:
			}
		default:
			items, open = c.draw(items)
			underWay++
			c.begin(items, ended)
			items = nil
		}
	}
}

// begin records a batch, and returns when nothing but its commit is left to do.
func (c *committer) begin(items []*item, ended chan<- []*item) {
	committing := make(chan struct{})
	go func() {
		goOn := sync.OnceFunc(func() { close(committing) })
		defer goOn()
		b := arrange(items)
		c.server.seal(b)
		started := c.server.clock()
		err := c.record(b, goOn)
		c.metrics.batch(len(items), c.server.clock().Sub(started))
		ended <- c.server.answer(b, err, c.metrics)
	}()
	<-committing
}

// draw adds to items what is queued, up to max in all.
func (c *committer) draw(items []*item) (all []*item, open bool) {
	for len(items) < c.max {
		select {
		case it, ok := <-c.queue:
			if !ok {
				return items, false
			}
			items = append(items, it)
		default:
			return items, true
		}
	}
	return items, true
}

// record records a batch until its outcome is known: nil, or an error after which nothing of it is in
// the box. store.ErrUnknown is returned only if the server is closing.
func (c *committer) record(b *batch, committing func()) error {
	ctx := context.Background()
	unknown := false
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		crashpoint.Here(crashpoint.BeforeBegin)
		err := c.server.store.RecordTelling(ctx, b.groups, committing)
		if err == nil || !unknown && !errors.Is(err, store.ErrUnknown) {
			return err
		}
		if !unknown {
			unknown = true
			c.metrics.unknown.Inc()
		}
		c.server.log.LogAttrs(ctx, slog.LevelError, "a batch's outcome is unknown; recording it again",
			slog.Int("groups", len(b.groups)), slog.String("error", err.Error()))
		select {
		case <-time.After(wait):
		case <-c.closing:
			// One last try; whoever waits is told the truth either way.
			if err := c.server.store.Record(ctx, b.groups); err != nil {
				return errors.Join(store.ErrUnknown, err)
			}
			return nil
		}
	}
}

// batch is items arranged for one transaction.
type batch struct {
	groups []*store.Group
	// items[g][i] is the item behind groups[g].Ballots[i].
	items [][]*item
	// receipts of the batches sealed on the way.
	receipts map[*store.Batch][]ballotapi.Receipt
}

// arrange makes the groups, one per poll, and marks the ballots that have to come second: of two by one
// voter, or of one leaf, the one that came first is tried first.
func arrange(items []*item) *batch {
	type voter struct {
		poll string
		tag  [32]byte
	}
	b := &batch{receipts: map[*store.Batch][]ballotapi.Receipt{}}
	groups := map[string]int{}
	voters := make(map[voter]bool, len(items))
	leaves := make(map[[32]byte]bool, len(items)) // a leaf is of one poll: it hashes the poll's id, too
	for _, it := range items {
		g, ok := groups[it.poll]
		if !ok {
			g = len(b.groups)
			groups[it.poll] = g
			// Mostly they are all of one poll.
			b.groups = append(b.groups, &store.Group{Poll: it.poll, Ballots: make([]store.Ballot, 0, len(items))})
			b.items = append(b.items, make([]*item, 0, len(items)))
		}
		v := voter{it.poll, it.ballot.Voter}
		it.ballot.Second = voters[v] || leaves[it.ballot.Leaf]
		if !it.ballot.Second {
			voters[v], leaves[it.ballot.Leaf] = true, true
		}
		b.groups[g].Ballots = append(b.groups[g].Ballots, it.ballot)
		b.items[g] = append(b.items[g], it)
	}
	return b
}
