package overhttp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/discovery/balance"
	"github.com/popvote/popvote/libs/problem"
)

// item is one ballot on its way.
type item struct {
	call   *cast
	at     int // place in the call
	ballot *ballotapi.Ballot
	// maybe says that it was sent and not answered: it may be in the box.
	maybe bool
}

// cast is one Cast: it waits until each of its ballots has an outcome.
type cast struct {
	done chan struct{} // closed with the last outcome
	gone atomic.Bool   // nobody waits any more

	mu       sync.Mutex // guards what follows
	outcomes []ballotapi.Outcome
	left     int
}

func (c *cast) answer(at int, o ballotapi.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[at] = o
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// Cast implements ballotapi.Caster. Ballots of many callers travel together; whoever gives up waiting
// takes nothing back from a batch that was sent.
func (c *Client) Cast(ctx context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(ballots) == 0 {
		return nil, nil
	}
	mine := &cast{done: make(chan struct{}), outcomes: make([]ballotapi.Outcome, len(ballots)), left: len(ballots)}
	for i := range ballots {
		if err := c.offer(item{call: mine, at: i, ballot: &ballots[i]}); err != nil {
			mine.answer(i, ballotapi.Outcome{Err: err})
		}
	}
	select {
	case <-mine.done:
		return mine.outcomes, nil
	case <-ctx.Done():
	}
	mine.gone.Store(true)
	mine.mu.Lock()
	defer mine.mu.Unlock()
	outcomes := append([]ballotapi.Outcome(nil), mine.outcomes...)
	for i := range outcomes {
		if outcomes[i] == (ballotapi.Outcome{}) {
			outcomes[i].Err = problem.Wrap(problem.OutcomeUnknown, context.Cause(ctx)).After(jitter())
		}
	}
	return outcomes, nil
}

// offer queues an item, or says at once why not. What the other side could not even read is refused
// here: it would take its whole batch with it.
func (c *Client) offer(it item) error {
	switch b := it.ballot; {
	case len(b.Sealed) > maxSealed:
		return problem.New(problem.BallotWrongSize).At("/sealed")
	case len(b.Key) > maxSealed:
		return problem.New(problem.IdempotencyKeyInvalid)
	case len(b.Poll)+len(b.Channel) > 512:
		return problem.New(problem.PollNotFound)
	}
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.closed {
		return problem.New(problem.Unavailable).Because("this server is stopping").After(jitter())
	}
	select {
	case c.queue <- it:
		if len(c.queue) >= beside-1 { // the first of the next batch may have been taken out
			c.balancer.Wake()
		}
		return nil
	default:
		return problem.New(problem.Overloaded).After(jitter())
	}
}

// beside is how many ballots have to wait before an instance is given more batches than InFlight.
const beside = 64

// places is how many batches one instance may have at this moment: twice as many where enough ballots
// wait, because a commit may wait long for a standby in another cloud.
func (c *Client) places() int {
	if len(c.queue) >= beside-1 {
		return 2 * c.cfg.InFlight
	}
	return c.cfg.InFlight
}

// dispatch sends what is queued until the queue is closed and empty. It draws a batch only when an
// instance has a place for it: what comes in until then still goes along.
func (c *Client) dispatch() {
	for first := range c.queue {
		in := c.balancer.Wait(c.places)
		items := c.draw(first)
		switch {
		case in == nil:
			finish(items, errNoInstance)
		case len(items) == 0:
			c.balancer.Release(in, balance.Answered, 0)
		default:
			c.sending.Go(func() { c.deliver(in, items) })
		}
	}
}

// draw returns the first item and what is queued behind it, without those nobody waits for.
func (c *Client) draw(first item) []item {
	var items []item
	size := 0
	take := func(it item) {
		if !it.call.gone.Load() {
			items = append(items, it)
			size += len(it.ballot.Sealed) + len(it.ballot.Key) + 128
		}
	}
	take(first)
	for len(items) < c.cfg.Batch && size < batchBytes {
		select {
		case it, open := <-c.queue:
			if !open {
				return items
			}
			take(it)
		default:
			return items
		}
	}
	return items
}

// deliver sends a batch until each ballot's outcome is known, or there is nothing more to be done.
func (c *Client) deliver(in *balance.Instance, items []item) {
	// A batch's time is its own: no voter's patience ends it.
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Deadline)
	defer cancel()
	c.budget.earn()
	c.sent.ballots.Observe(float64(len(items)))
	var tried []*balance.Instance
	for again := false; ; {
		began := c.cfg.Clock()
		left, sent, err := c.try(ctx, in, items)
		took := c.cfg.Clock().Sub(began)
		if errors.Is(err, errRefused) {
			err = nil
			c.balancer.Release(in, balance.Refused, 0)
		} else {
			c.balancer.Release(in, result(err), took)
		}
		c.sent.tried(err, took.Seconds())
		if len(left) == 0 {
			return
		}
		tried, items = append(tried, in), left
		if sent {
			for i := range items {
				items[i].maybe = true
			}
			if again || ctx.Err() != nil || !c.budget.spend() {
				finish(items, err)
				return
			}
			again = true
		}
		if ctx.Err() != nil {
			finish(items, err)
			return
		}
		next := c.balancer.Pick(tried...)
		if next == nil && sent {
			next = c.balancer.Again(in)
		}
		if next == nil {
			finish(items, err)
			return
		}
		c.sent.retried(sent)
		in = next
	}
}

// finish answers those whose outcome will not be known.
func finish(items []item, err error) {
	for _, it := range items {
		it.tell(ballotapi.Outcome{Err: problem.Wrap(problem.Unavailable, err).After(jitter())})
	}
}

// tell gives a ballot its outcome. For one that may be in the box from an earlier try, "not applied for
// now" is not known to be true.
func (it item) tell(o ballotapi.Outcome) {
	if it.maybe && o.Err != nil {
		switch p := problem.From(o.Err); p.Code {
		case problem.Overloaded, problem.Unavailable, problem.PollPaused, problem.PollNotOpen:
			o.Err = problem.Wrap(problem.OutcomeUnknown, p).After(jitter())
		}
	}
	it.call.answer(it.at, o)
}

// try sends a batch once, tells outcomes as they come, and returns the items that got none. sent says
// whether those may be in the box.
func (c *Client) try(ctx context.Context, in *balance.Instance, items []item) (left []item, sent bool, err error) {
	size := binary.MaxVarintLen64
	for _, it := range items {
		size += len(it.ballot.Sealed) + len(it.ballot.Key) + len(it.ballot.Poll) + 96
	}
	body := binary.AppendUvarint(make([]byte, 0, size), uint64(len(items)))
	for _, it := range items {
		body = appendBallot(body, it.ballot)
	}
	response, sent, err := c.post(ctx, in, castPath, castType, body)
	if err != nil {
		return items, sent, err
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusOK && response.Header.Get("Content-Type") == castType:
		return readOutcomes(response.Body, items)
	case response.StatusCode == http.StatusServiceUnavailable:
		wait := jitter()
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			wait += time.Duration(seconds-1) * time.Second
		}
		return refuse(items, problem.New(problem.Overloaded).After(wait))
	case response.StatusCode == http.StatusForbidden:
		return refuse(items, problem.Wrap(problem.Unavailable, ErrForbidden))
	case response.StatusCode/100 == 4: // a fault of ours, which another try would repeat
		return refuse(items, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't cast: %s answers %s", in.Address, response.Status)))
	default:
		return items, true, fmt.Errorf("couldn't cast: %s answers %s", in.Address, response.Status)
	}
}

// errRefused is an answer to ballots that the instance did nothing about. A refusal is fast, and must not
// make the instance look so.
var errRefused = errors.New("the instance did not take them")

// refuse tells all the same.
func refuse(items []item, p *problem.Error) (left []item, sent bool, err error) {
	for _, it := range items {
		it.tell(ballotapi.Outcome{Err: p})
	}
	return nil, true, errRefused
}

func readOutcomes(body io.Reader, items []item) (left []item, sent bool, err error) {
	reader := outcomeReader{r: bufio.NewReaderSize(body, 16<<10)}
	told := make([]bool, len(items))
	var refused error
	for n := range items {
		place, o, err := reader.next(len(items))
		if err == nil && told[place] {
			err = errFrame
		}
		if err != nil {
			for i, it := range items {
				if !told[i] {
					left = append(left, it)
				}
			}
			return left, true, fmt.Errorf("couldn't read the outcomes, after %d of %d: %w", n, len(items), err)
		}
		if o.Receipt != nil {
			o.Receipt.Poll = items[place].ballot.Poll
		} else if problem.From(o.Err).Code == problem.Overloaded {
			refused = errRefused
		}
		told[place] = true
		items[place].tell(o)
	}
	if _, err := reader.r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, true, fmt.Errorf("couldn't read the end of the outcomes: %w", errors.Join(errFrame, err))
	}
	return nil, true, refused
}
