package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// TestTwoHundredVotersAtOnce: 10 % send the same twice at once, 5 % try for a second vote at once.
func TestTwoHundredVotersAtOnce(t *testing.T) { eachDatabase(t, twoHundredVotersAtOnce) }

func twoHundredVotersAtOnce(t *testing.T, newBox func(t testing.TB) *box) {
	const voters = 200
	b := newBox(t)
	b.move(poll.Open)
	var wg sync.WaitGroup
	var receipts, already, retried atomic.Int64
	run := func(ballot ballotapi.Ballot, retry bool) {
		wg.Go(func() {
			outcomes, err := b.Cast(t.Context(), []ballotapi.Ballot{ballot})
			switch {
			case err != nil:
				t.Error(err)
			case outcomes[0].Receipt != nil && retry:
				retried.Add(1)
			case outcomes[0].Receipt != nil:
				receipts.Add(1)
			case code(outcomes[0]) == problem.AlreadyVoted:
				already.Add(1)
			default:
				t.Error(outcomes[0].Err)
			}
		})
	}
	for _, who := range rand.Perm(voters) {
		mine := cast(who, "k", b.junk())
		run(mine, false)
		if who < voters/10 {
			run(mine, true)
		}
		if who >= voters-voters/20 {
			run(cast(who, "other", b.junk()), false)
		}
	}
	wg.Wait()
	if receipts.Load() != voters || retried.Load() != voters/10 || already.Load() != voters/20 {
		t.Errorf("%d receipts, %d retries with one, %d refused as already voted", receipts.Load(), retried.Load(), already.Load())
	}
	b.reopen()
	stats, err := b.Stats(t.Context(), "lunch")
	b.ok(err)
	if stats.Total != voters || stats.ByChannel[ballotapi.Web] != voters {
		t.Errorf("the turnout is %d (%v), want %d", stats.Total, stats.ByChannel, voters)
	}
}

// TestCloseDuringCasts: every acknowledged ballot is in the log of the closed poll, and nothing else is.
func TestCloseDuringCasts(t *testing.T) { eachDatabase(t, closeDuringCasts) }

func closeDuringCasts(t *testing.T, newBox func(t testing.TB) *box) {
	b := newBox(t)
	b.move(poll.Open)
	var wg sync.WaitGroup
	var acknowledged, closed atomic.Int64
	for who := range 300 {
		mine := cast(who, "k", b.junk())
		wg.Go(func() {
			outcomes, err := b.Cast(t.Context(), []ballotapi.Ballot{mine})
			switch {
			case err != nil:
				t.Error(err)
			case outcomes[0].Receipt != nil:
				acknowledged.Add(1)
			case code(outcomes[0]) == problem.PollClosed:
				closed.Add(1)
			default:
				t.Error(outcomes[0].Err)
			}
		})
		if who == 150 {
			wg.Go(func() {
				if err := b.Move(t.Context(), "lunch", poll.Closed, me); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	p, err := b.store.Poll(t.Context(), "lunch")
	b.ok(err)
	if p.LogSize != acknowledged.Load() || acknowledged.Load()+closed.Load() != 300 {
		t.Errorf("the log has %d; %d were acknowledged, %d refused", p.LogSize, acknowledged.Load(), closed.Load())
	}
}
