package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/challenge"
)

// TestWaitingRoom: 200 voters at once, and twenty a second are let in. All vote, first come, first served, and none
// is lost; who had begun before is not held up.
func TestWaitingRoom(t *testing.T) {
	t.Parallel()
	const people, rate = 200, 20
	i := instance.Start(t, popvote, instance.Options{Args: append(slices.Clone(everybodyAtOnce), "--admission-rate", fmt.Sprint(rate))})
	w := voters(t, i, referendum)
	h := record(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	early := voter.NewPerson(121, 0)
	token, err := verified(ctx, w, early)
	if err != nil {
		t.Fatal(err)
	}
	ballot, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}

	// The work is done before, so that they come at once; and in an order that is known.
	solved := make([]string, people)
	for n := range people {
		issued, err := w.Challenge(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if solved[n], err = challenge.Solve(ctx, issued); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var order []int // who was let in, in that order
	var waited int
	var all sync.WaitGroup
	began := time.Now()
	for n := range people {
		time.Sleep(time.Until(began.Add(time.Duration(n) * 10 * time.Millisecond)))
		all.Go(func() {
			p := voter.NewPerson(120, n)
			first, err := w.Ask(ctx, p, solved[n])
			if told, ok := errors.AsType[*voter.Problem](err); ok && told.Code == "waiting-room" {
				if told.Ticket == "" || told.After <= 0 || told.After > 20*time.Second {
					t.Errorf("voter %d: %v, in %v", n, told, told.After)
				}
				mu.Lock()
				waited++
				mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(told.After):
				}
				first, err = w.Begin(ctx, p, told.Ticket)
			}
			if err != nil {
				t.Errorf("voter %d was not let in: %v", n, err)
				return
			}
			mu.Lock()
			order = append(order, n)
			mu.Unlock()
			proved, err := w.Verify(ctx, p, first)
			if err == nil {
				var mine *voter.Envelope
				if mine, err = w.Seal(); err == nil {
					_, err = w.Record(ctx, h.Recorder, p, proved, mine)
				}
			}
			if err != nil {
				t.Errorf("voter %d: %v", n, err)
			}
		})
	}
	// In the middle of it.
	time.Sleep(time.Second)
	start := time.Now()
	if _, err := w.Record(ctx, h.Recorder, early, token, ballot); err != nil {
		t.Errorf("who had begun before: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a ballot that was begun took %v", took)
	}
	all.Wait()
	if t.Failed() {
		return
	}
	took := time.Since(began)
	// A burst of one second's worth goes through; all others have to wait.
	if least := time.Duration(people-rate) * time.Second / rate; took < least-500*time.Millisecond {
		t.Errorf("%d were let in within %v, at %d a second", people, took, rate)
	}
	if waited < people/2 {
		t.Errorf("only %d waited", waited)
	}
	rank := make([]int, people)
	for at, n := range order {
		rank[n] = max(at-n, n-at)
	}
	slices.Sort(rank)
	t.Logf("%d of %d waited; all were in after %v; places off: %d for half of them, %d for 95 in 100, %d at most", waited, people, took.Round(100*time.Millisecond), rank[people/2], rank[people*95/100], rank[people-1])
	// Clients come back by whole seconds, so two seconds' worth is what order can mean here.
	if rank[people*95/100] > 2*rate {
		t.Errorf("first come was not first served: 95 in 100 are only within %d places", rank[people*95/100])
	}
	i.Do("close", referendum, "--yes")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	if report := h.finish(t, i, w); report.Voters != people+1 || report.Box != people+1 {
		t.Errorf("%d people voted: %d acknowledged, %d ballots", people+1, report.Voters, report.Box)
	}
}
