package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// held has commits wait until they are let go.
type held struct {
	waiting chan chan error // one for each commit that waits; what is sent is how it goes
	on      atomic.Bool
}

func (h *held) commit(commit func() error) error {
	if !h.on.Load() {
		return commit()
	}
	goOn := make(chan error)
	h.waiting <- goOn
	if err := <-goOn; err != nil {
		return err
	}
	return commit()
}

// next is a commit that waits.
func (h *held) next(t *testing.T) chan error {
	t.Helper()
	select {
	case goOn := <-h.waiting:
		return goOn
	case <-time.After(time.Minute):
		t.Fatal("no batch came as far as its commit")
		return nil
	}
}

// TestBatchesBesideCommits: while one batch is being committed, the next runs its statements and is
// committed, in whichever order; each is answered by its own commit; one whose outcome is unknown is
// recorded again beside the others; and voters who are in several of them have one vote.
func TestBatchesBesideCommits(t *testing.T) {
	db := pgtest.New(t, Migrate)
	b := newBoxWith(t, Config{DSN: db.Ballot})
	b.move(poll.Open)
	b.close()
	h := &held{waiting: make(chan chan error, 64)}
	b.deps.commit = h.commit
	b.open()
	h.on.Store(true)
	t.Cleanup(func() { // however the test ends, the server can
		h.on.Store(false)
		for {
			select {
			case goOn := <-h.waiting:
				goOn <- nil
			default:
				return
			}
		}
	})

	var all sync.WaitGroup
	// wave casts for so many voters from a number on, and gives what becomes of them.
	wave := func(from, n int, key string) (outcomes func() []ballotapi.Outcome, answered *atomic.Bool) {
		ballots := make([]ballotapi.Ballot, n)
		for i := range ballots {
			ballots[i] = cast(from+i, key, b.junk())
		}
		var got []ballotapi.Outcome
		answered = &atomic.Bool{}
		done := make(chan struct{})
		all.Go(func() {
			defer close(done)
			var err error
			if got, err = b.Cast(t.Context(), ballots); err != nil {
				t.Error(err)
			}
			answered.Store(true)
		})
		return func() []ballotapi.Outcome { <-done; return got }, answered
	}
	count := func(outcomes []ballotapi.Outcome) (receipts, refused int) {
		for _, o := range outcomes {
			switch code(o) {
			case "":
				receipts++
			case problem.AlreadyVoted:
				refused++
			default:
				t.Error(o.Err)
			}
		}
		return receipts, refused
	}

	first, firstAnswered := wave(0, 1, "a")
	one := h.next(t)
	// Too few to begin beside it: they wait for its end.
	second, _ := wave(1000, beside-1, "b")
	select {
	case <-h.waiting:
		t.Fatal("a small batch began beside another's commit")
	case <-time.After(100 * time.Millisecond):
	}
	// With one more there are enough.
	third, thirdAnswered := wave(2000, 1, "c")
	two := h.next(t)
	two <- nil
	if receipts, refused := count(second()); receipts != beside-1 || refused != 0 {
		t.Errorf("the second batch: %d receipts, %d refused", receipts, refused)
	}
	third()
	if !thirdAnswered.Load() || firstAnswered.Load() {
		t.Fatal("a batch was answered by another's commit")
	}
	// Its voter is in the next batch, too, which therefore waits for it in the database; its commit fails
	// in a way that says nothing, so it is recorded again.
	fourth, _ := wave(0, beside, "d")
	one <- errors.New("the connection broke")
	for range 2 { // the first again, and the fourth
		h.next(t) <- nil
	}
	got1, _ := count(first())
	got4, refused4 := count(fourth())
	if got1+got4 != beside || refused4 != got1 {
		t.Errorf("the voter who was in two batches: %d and %d receipts, %d refused", got1, got4, refused4)
	}
	all.Wait()
	h.on.Store(false)
	stats, err := b.Stats(t.Context(), "lunch")
	b.ok(err)
	if want := int64(beside + beside); stats.Total != want {
		t.Errorf("%d ballots in the box, want %d", stats.Total, want)
	}
}
