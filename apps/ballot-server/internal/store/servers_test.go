package store

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/pgcluster"
)

// TestServersRace: the same voters and the same sealed ballots come in by several servers at once, in
// batches of any order and for two polls. Every batch is judged, each voter has one vote, each sealed
// ballot is in the box once, and the counts are right.
func TestServersRace(t *testing.T) {
	const servers, rounds, voters = 3, 25, 30
	db := pgtest.New(t, Migrate)
	var stores []*Store
	for range servers {
		stores = append(stores, openTest(t, Config{DSN: db.Ballot, TestClock: true}))
	}
	polls := []string{"p", "q"}
	for _, id := range polls {
		addPoll(t, stores[0], id)
	}
	var wg sync.WaitGroup
	var fresh atomic.Int64
	for _, s := range stores {
		wg.Go(func() {
			for range rounds {
				var groups []*Group
				for _, at := range rand.Perm(len(polls)) {
					g := group(polls[at])
					for _, who := range rand.Perm(voters)[:voters/2] {
						b := randomBallot(sealedSize)
						b.Voter = [32]byte{byte(who)}
						if who%5 == 0 {
							// One of a few ballots that are handed around.
							b.Leaf = [32]byte{byte(rand.IntN(3)), 1}
							for i := range g.Ballots {
								b.Second = b.Second || g.Ballots[i].Leaf == b.Leaf
							}
						}
						g.Ballots = append(g.Ballots, b)
					}
					groups = append(groups, g)
				}
				if err := s.Record(t.Context(), groups); err != nil {
					t.Error(err)
					return
				}
				for _, g := range groups {
					for _, v := range g.Verdicts {
						if v.Fresh {
							fresh.Add(1)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	var counted int64
	for no := int64(1); no <= 2; no++ {
		minutes, err := stores[0].Turnout(t.Context(), no)
		ok(t, err)
		for _, m := range minutes {
			counted += m.Ballots
		}
	}
	got := db.SQL(t, db.Name, `SELECT (SELECT count(*) FROM participation), (SELECT count(*) FROM leaves),
		(SELECT sum(length(sealed)) FROM batches) / 273`)
	// 24 voters of each poll have a ballot of their own; of the 6 others, as many as there are ballots.
	if want := fresh.Load(); counted != want || want != 2*(24+3) || got != "54|54|54" {
		t.Errorf("%d were told of a fresh vote, %d are counted, and the tables have %s", want, counted, got)
	}
}

// TestFrozenServerIsLeft: a server that never answers holds nobody up for ever, before the commit or in
// it; and when it goes on, what was unknown is there once.
func TestFrozenServerIsLeft(t *testing.T) {
	primary := pgcluster.Start(t, pgcluster.Options{}).Primary()
	db := pgtest.On(t, primary, Migrate)
	freeze := false
	s := openTest(t, Config{DSN: db.Ballot, TestClock: true, Commit: func(commit func() error) error {
		if freeze {
			ok(t, primary.Pause())
		}
		return commit()
	}})
	s.engine.(*postgres).patience = time.Second
	addPoll(t, s, "p")

	freeze = true
	g := group("p", randomBallot(sealedSize))
	started := time.Now()
	if err := s.Record(t.Context(), []*Group{g}); !errors.Is(err, ErrUnknown) {
		t.Fatalf("a commit without an answer gave %v", err)
	}
	freeze = false
	if err := s.Record(t.Context(), []*Group{g}); err == nil || errors.Is(err, ErrUnknown) {
		t.Fatalf("a server that does not let anybody begin gave %v", err)
	}
	if took := time.Since(started); took > patience+2*connecting {
		t.Errorf("both took %v", took)
	}
	ok(t, primary.Resume())
	ok(t, s.Record(t.Context(), []*Group{g}))
	if v := g.Verdicts[0]; v.Judgement != Recorded {
		t.Fatalf("recorded again: %+v", v)
	}
	if got := count(t, primary, db.Name); got != "1" {
		t.Errorf("the voter has %s rows", got)
	}
}

// TestOneSequencer: of two servers that extend one log at once, the second sees what the first did.
func TestOneSequencer(t *testing.T) {
	db := pgtest.New(t, Migrate)
	a, b := openTest(t, Config{DSN: db.Ballot, TestClock: true}), openTest(t, Config{DSN: db.Ballot, TestClock: true})
	addPoll(t, a, "p")
	record(t, a, randomBallot(sealedSize), randomBallot(sealedSize))
	stale := func(tx Tx) error {
		log := tx.Log(1)
		if err := log.Append(0, nil); err != nil {
			return err
		}
		return tx.SaveLog(log, 0, []byte("fork"), nil)
	}
	extend(t, a, 10)
	if err := b.Write(t.Context(), stale); err == nil {
		t.Error("a server that had not seen the log's end has written it")
	}
	p, err := b.Poll(t.Context(), "p")
	if err != nil || p.LogSize != 2 || string(p.Checkpoint) != "signed" {
		t.Errorf("the poll is %+v (%v)", p, err)
	}
}
