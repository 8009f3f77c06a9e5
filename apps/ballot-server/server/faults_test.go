package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
)

// TestCommitFaults makes the commit of a vote fail in every way it can, and opens the database again
// each time: what was acknowledged is there once, and what was refused as not applied is not.
func TestCommitFaults(t *testing.T) {
	lost := errors.New("the disk went away")
	for _, fault := range []struct {
		name string
		// commit is what happens to the first commit; all later ones succeed.
		commit func(commit func() error) error
		want   problem.Code
	}{
		{"failed", func(func() error) error { return lost }, ""},
		{"failed but persisted", func(commit func() error) error { return errors.Join(commit(), lost) }, ""},
		{"not synced", func(func() error) error { return sqlite3.IOERR_FSYNC }, ""},
		{"not synced but persisted", func(commit func() error) error { return errors.Join(commit(), sqlite3.IOERR_FSYNC) }, ""},
		{"disk full", func(func() error) error { return sqlite3.FULL }, problem.Unavailable},
		{"write failed", func(func() error) error { return sqlite3.IOERR_WRITE }, problem.Unavailable},
	} {
		t.Run(fault.name, func(t *testing.T) {
			b := newBox(t)
			b.move(poll.Open)
			b.close()
			var armed atomic.Bool
			b.deps.commit = func(commit func() error) error {
				if armed.Swap(false) {
					return fault.commit(commit)
				}
				return commit()
			}
			b.open()
			mine := cast(1, "k", b.junk())
			armed.Store(true)
			first := b.cast(mine)[0]
			b.expect(first, fault.want)

			b.reopen()
			stats, err := b.Stats(t.Context(), "lunch")
			b.ok(err)
			recorded := int64(0)
			if fault.want == "" {
				recorded = 1
			}
			if stats.Total != recorded {
				t.Fatalf("after the restart there are %d ballots, want %d", stats.Total, recorded)
			}
			again := b.cast(mine)[0]
			b.expect(again, "")
			b.ok(receipt.VerifyBallot(*again.Receipt, mine.Sealed, b.manifest().SigningKey))
			if first.Receipt != nil && fmt.Sprint(*first.Receipt) != fmt.Sprint(*again.Receipt) {
				t.Error("the retry got another receipt")
			}
			b.expect(b.cast(cast(1, "k2", b.junk()))[0], problem.AlreadyVoted)
		})
	}
}

// TestUnknownUntilTheEnd: as long as commits fail with an unknown outcome, nobody is told that nothing
// happened; a server that stops meanwhile says that it does not know.
func TestUnknownUntilTheEnd(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	b.close()
	var broken atomic.Bool
	b.deps.commit = func(commit func() error) error {
		if broken.Load() {
			return errors.Join(commit(), errors.New("no answer"))
		}
		return commit()
	}
	b.open()
	broken.Store(true)
	mine := cast(1, "k", b.junk())

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	outcomes, err := b.Cast(ctx, []ballotapi.Ballot{mine})
	b.ok(err)
	b.expect(outcomes[0], problem.OutcomeUnknown)

	var waited []ballotapi.Outcome
	var waiting sync.WaitGroup
	waiting.Go(func() { waited, _ = b.Cast(context.Background(), []ballotapi.Ballot{cast(2, "k", b.junk())}) })
	for len(b.committer.queue) == 0 {
		time.Sleep(time.Millisecond)
	}
	b.close()
	waiting.Wait()
	b.expect(waited[0], problem.OutcomeUnknown)

	broken.Store(false)
	b.open()
	b.expect(b.cast(mine)[0], "")
}

// TestFullQueueAnswersAtOnce: with the committer held up, what does not fit is refused with a delay
// that differs from one to the next, and what waits is recorded in the end.
func TestFullQueueAnswersAtOnce(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	b.close()
	b.cfg.Queue = 4
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	var armed atomic.Bool
	b.deps.commit = func(commit func() error) error {
		if armed.Swap(false) {
			held <- struct{}{}
			<-hold
		}
		return commit()
	}
	b.open()
	armed.Store(true)
	var waiting sync.WaitGroup
	waiting.Go(func() { b.expectAll(b.cast(cast(0, "k", b.junk())), "") })
	<-held
	var many []ballotapi.Ballot
	for who := range 10 {
		many = append(many, cast(who+1, "k", b.junk()))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	outcomes, err := b.Cast(ctx, many)
	b.ok(err)
	delays := map[time.Duration]bool{}
	for i, o := range outcomes {
		if i < 4 {
			b.expect(o, problem.OutcomeUnknown) // they wait; their caller has gone
			continue
		}
		b.expect(o, problem.Overloaded)
		delays[problem.From(o.Err).RetryAfter] = true
	}
	if len(delays) < 2 {
		t.Errorf("all were told to come back at the same time: %v", delays)
	}
	close(hold)
	waiting.Wait()
	for len(b.committer.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	b.expectAll(b.cast(many[:4]...), "") // they were recorded, though nobody waited any more
	b.expectAll(b.cast(many[4:8]...), "")
}

func (b *box) expectAll(outcomes []ballotapi.Outcome, want problem.Code) {
	b.t.Helper()
	for _, o := range outcomes {
		b.expect(o, want)
	}
}
