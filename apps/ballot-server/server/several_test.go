package server

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// TestSeveralServers: three ballot servers on one database. Of the votes that one voter casts through
// different servers at once, exactly one wins, while all three extend the log; a close at one is a close
// at all, at once; and afterwards the log has every acknowledged ballot, whoever took it.
func TestSeveralServers(t *testing.T) {
	const voters = 200
	db := pgtest.New(t, Migrate)
	first := newBoxWith(t, Config{DSN: db.Ballot})
	servers := []*Server{first.Server}
	for range 2 {
		s, err := Open(t.Context(), first.cfg, first.deps)
		first.ok(err)
		t.Cleanup(func() { first.ok(s.Close()) })
		servers = append(servers, s)
	}
	first.move(poll.Open)

	var wg, extending sync.WaitGroup
	var won [voters]atomic.Int64
	done := make(chan struct{})
	for _, s := range servers {
		extending.Go(func() {
			for {
				if err := s.Tick(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
		for _, who := range rand.Perm(voters) {
			mine := cast(who, "k", first.junk())
			wg.Go(func() {
				outcomes, err := s.Cast(t.Context(), []ballotapi.Ballot{mine})
				switch {
				case err != nil:
					t.Error(err)
				case outcomes[0].Receipt != nil:
					won[who].Add(1)
				// All of a voter's ballots here have one key.
				case code(outcomes[0]) != problem.IdempotencyKeyReused:
					t.Error(outcomes[0].Err)
				}
			})
		}
	}
	wg.Wait()
	close(done)
	extending.Wait()
	for who := range won {
		if n := won[who].Load(); n != 1 {
			t.Errorf("voter %d has %d votes", who, n)
		}
	}

	first.ok(servers[1].Move(t.Context(), "lunch", poll.Closed, me))
	outcomes, err := servers[2].Cast(t.Context(), []ballotapi.Ballot{cast(voters, "k", first.junk())})
	first.ok(err)
	first.expect(outcomes[0], problem.PollClosed)
	for i, s := range servers {
		first.ok(s.Tick(t.Context()))
		stats, err := s.Stats(t.Context(), "lunch")
		first.ok(err)
		p, err := s.store.Poll(t.Context(), "lunch")
		first.ok(err)
		if stats.State != poll.Closed || stats.Total != voters || p.LogSize != voters {
			t.Errorf("server %d: the poll is %s, with %d ballots, %d in the log", i, stats.State, stats.Total, p.LogSize)
		}
	}
}

// TestAnOrderIsKnownEverywhere: operators' orders reach any of the servers, and each knows at once what was
// ordered at another, without a tick.
func TestAnOrderIsKnownEverywhere(t *testing.T) {
	db := pgtest.New(t, Migrate)
	first := newBoxWith(t, Config{DSN: db.Ballot})
	second, err := Open(t.Context(), first.cfg, first.deps)
	first.ok(err)
	t.Cleanup(func() { first.ok(second.Close()) })
	state := func(want poll.State) {
		t.Helper()
		all, err := second.AllPolls(t.Context())
		first.ok(err)
		stats, err := second.Stats(t.Context(), "lunch")
		first.ok(err)
		if len(all) != 1 || all[0].State != want || stats.State != want {
			t.Errorf("the poll is %s, and the other server lists %v and says %s", want, all, stats.State)
		}
	}
	first.move(poll.Open)
	state(poll.Open)
	other := first.poll
	other.ID = "dinner"
	first.ok(first.Apply(t.Context(), other, me))
	if _, err := second.Manifest(t.Context(), "dinner"); err != nil {
		t.Errorf("a poll that was applied a moment ago: %v", err)
	}
	first.move(poll.Closed)
	first.ok(second.Count(t.Context(), "lunch", first.scalar, me))
	first.move(poll.Published)
	first.ok(second.Bundle(t.Context(), "lunch", io.Discard))
}
