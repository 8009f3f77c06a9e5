package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/voter"
)

// 200 voters at once. One in ten sends its ballot again, as after a lost answer; one in twenty tries to
// vote twice, at the same moment, from two devices. Everybody counts once.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const people = 200
	i := demo(t)
	w := voters(t, i, referendum)
	h := record(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var refused atomic.Int64
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() {
			if err := comeAndVote(ctx, w, h, voter.NewPerson(100, n), n, &refused); err != nil {
				t.Errorf("voter %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if got := refused.Load(); got != people/20 {
		t.Errorf("%d second votes were refused, want %d", got, people/20)
	}
	i.Do("close", referendum, "--yes")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	if report := h.finish(t, i, w); report.Voters != people || report.Box != people {
		t.Errorf("%d people voted: %d acknowledged, %d ballots", people, report.Voters, report.Box)
	}
}

// comeAndVote is what voter n does.
func comeAndVote(ctx context.Context, w *voter.World, h *history, p voter.Person, n int, refused *atomic.Int64) error {
	token, err := verified(ctx, w, p)
	if err != nil {
		return fmt.Errorf("couldn't verify: %w", err)
	}
	mine, err := w.Seal()
	if err != nil {
		return err
	}
	switch {
	case n%20 == 3:
		return voteTwice(ctx, w, h, p, token, mine, refused)
	case n%10 == 7:
		first, err := w.Record(ctx, h.Recorder, p, token, mine)
		if err != nil {
			return err
		}
		again, err := w.Record(ctx, h.Recorder, p, token, mine)
		if err == nil && again.Code != first.Code {
			err = errors.New("a retry got another receipt")
		}
		return err
	default:
		_, err := w.Record(ctx, h.Recorder, p, token, mine)
		return err
	}
}

// voteTwice casts two different ballots from two sessions at once: one is taken, one refused.
func voteTwice(ctx context.Context, w *voter.World, h *history, p voter.Person, token string, mine *voter.Envelope, refused *atomic.Int64) error {
	second, err := verified(ctx, w, p)
	if err != nil {
		return fmt.Errorf("couldn't verify a second time: %w", err)
	}
	other, err := w.Seal()
	if err != nil {
		return err
	}
	taken := make(chan error, 2)
	go func() { _, err := w.Record(ctx, h.Recorder, p, token, mine); taken <- err }()
	go func() { _, err := w.Record(ctx, h.Recorder, p, second, other); taken <- err }()
	a, b := <-taken, <-taken
	if a == nil {
		a, b = b, a
	}
	if problemCode(a) != "already-voted" || b != nil {
		return fmt.Errorf("two ballots of one voter: %w; %w", a, b)
	}
	refused.Add(1)
	return nil
}
