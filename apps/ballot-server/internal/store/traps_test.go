package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/pgcluster"
)

// pair is a primary with a synchronous standby, and a store on them.
type pair struct {
	*Store
	db               *pgtest.DB
	primary, standby *pgcluster.Node
}

func newPair(t *testing.T) *pair {
	t.Helper()
	c := pgcluster.Start(t, pgcluster.Options{Standbys: 1, Sync: true})
	p := &pair{primary: c.Primary(), standby: c.Standbys()[0]}
	p.db = pgtest.On(t, p.primary, Migrate)
	p.Store = openTest(t, Config{DSN: p.db.Ballot, Cluster: true})
	addPoll(t, p.Store, "p")
	return p
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failover ends the primary for good, promotes the standby, and returns a store on it. The standby was
// cut off, not only slow: what the network still held for it is gone.
func (p *pair) failover(t *testing.T) *Store {
	t.Helper()
	ok(t, p.primary.Kill9())
	ok(t, p.standby.Kill9())
	ok(t, p.standby.Start())
	ok(t, p.standby.Promote())
	return openTest(t, Config{DSN: p.standby.DSN(BallotRole, p.db.Name)})
}

// cancelWait cancels whatever waits for the standby, as a pooler or an operator would, until something
// did wait.
func (p *pair) cancelWait(t *testing.T) {
	t.Helper()
	for range 200 {
		out := p.db.SQL(t, "postgres", `
			SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = '`+p.db.Name+`'`)
		if out != "0" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nothing waits for the standby")
}

// waits says whether fn is still at it after a while.
func waits(fn func() error) (done chan error, waiting bool) {
	done = make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		done <- err
		return done, false
	case <-time.After(time.Second):
		return done, true
	}
}

// count says how many ballots a server has.
func count(t *testing.T, n *pgcluster.Node, db string) string {
	t.Helper()
	out, err := n.SQL(db, "SELECT count(*) FROM participation")
	ok(t, err)
	return out
}

// naive is what a careful programmer would write without having read the server's source: insert, commit,
// take the answer for an answer.
func naive(ctx context.Context, dsn string, voter []byte) (inserted bool, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tag, err := conn.Exec(ctx, `
		INSERT INTO participation (poll, voter, key_hash, req_hash) VALUES (1, $1, '', '') ON CONFLICT DO NOTHING`, voter)
	return tag.RowsAffected() == 1, err
}

// TestDuplicatesWait: a ballot whose first try is visible, but on one server only, is not acknowledged
// to its second try either. The naive way acknowledges it at once, and the failover loses it.
func TestDuplicatesWait(t *testing.T) {
	p := newPair(t)
	ok(t, p.standby.Pause())
	ours, control := randomBallot(sealedSize), randomBallot(sealedSize)

	// The first tries: somebody gives up waiting for the standby.
	done, waiting := waits(func() error { return p.Record(t.Context(), []*Group{group("p", ours)}) })
	if !waiting {
		t.Fatalf("the commit did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	if err := <-done; !errors.Is(err, ErrUnknown) {
		t.Fatalf("the cancelled wait gave %v", err)
	}
	done, waiting = waits(func() error { _, err := naive(t.Context(), p.db.Ballot, control.Voter[:]); return err })
	if !waiting {
		t.Fatalf("the control's commit did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	ok(t, <-done)

	// The second tries.
	inserted, err := naive(t.Context(), p.db.Ballot, control.Voter[:])
	if err != nil || inserted {
		t.Fatalf("the control should have found its row at once: %v, %v", inserted, err)
	}
	again := group("p", ours)
	done, waiting = waits(func() error { return p.Record(t.Context(), []*Group{again}) })
	if !waiting {
		t.Fatalf("the retry was acknowledged while its ballot was on one server: %+v (%v)", again.Verdicts, <-done)
	}
	if got := count(t, p.primary, p.db.Name); got != "2" {
		t.Fatalf("the primary has %s voters before its end", got)
	}

	promoted := p.failover(t)
	if err := <-done; !errors.Is(err, ErrUnknown) {
		t.Errorf("the retry on the lost server gave %v", err)
	}
	// The control had been told that its vote is in the box.
	if got := count(t, p.standby, p.db.Name); got != "0" {
		t.Fatalf("the control should have lost its vote; the new primary has %s voters", got)
	}
	if v := record(t, promoted, ours); !v[0].Fresh {
		t.Errorf("what nobody acknowledged is recorded anew: %+v", v)
	}
}

// TestCancelledWaitIsUnknown: a commit whose wait for the standby was cancelled is reported as a success,
// which it is not; recorded again, it waits.
func TestCancelledWaitIsUnknown(t *testing.T) {
	p := newPair(t)
	ok(t, p.standby.Pause())
	control := randomBallot(sealedSize)
	done, waiting := waits(func() error {
		inserted, err := naive(t.Context(), p.db.Ballot, control.Voter[:])
		if err == nil && !inserted {
			err = errors.New("the control found somebody else's row")
		}
		return err
	})
	if !waiting {
		t.Fatalf("the control's commit did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	if err := <-done; err != nil {
		t.Fatalf("the control should have been told of success: %v", err)
	}

	ours := group("p", randomBallot(sealedSize))
	done, waiting = waits(func() error { return p.Record(t.Context(), []*Group{ours}) })
	if !waiting {
		t.Fatalf("the commit did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	if err := <-done; !errors.Is(err, ErrUnknown) {
		t.Fatalf("the cancelled wait gave %v", err)
	}
	// An operator's change is no exception.
	done, waiting = waits(func() error {
		return p.Write(t.Context(), func(tx Tx) error { return tx.AddManifest(Manifest{1, 1, "m"}) })
	})
	if !waiting {
		t.Fatalf("the change did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	if err := <-done; !errors.Is(err, ErrUnknown) {
		t.Fatalf("the cancelled wait of a change gave %v", err)
	}

	// As the committer does: the same again, until it is known. It waits, and with the standby's return it
	// is acknowledged, once.
	done, waiting = waits(func() error { return p.Record(t.Context(), []*Group{ours}) })
	if !waiting {
		t.Fatalf("the batch was acknowledged while it was on one server: %v", <-done)
	}
	ok(t, p.standby.Resume())
	ok(t, <-done)
	if v := ours.Verdicts[0]; v.Judgement != Recorded || v.Fresh {
		t.Fatalf("the batch recorded again: %+v", v)
	}
	promoted := p.failover(t)
	if v := record(t, promoted, ours.Ballots[0]); v[0].Judgement != Recorded || v[0].Fresh {
		t.Errorf("after the failover an acknowledged ballot is %+v", v)
	}
}

// TestControlLosesACancelledCommit: what the naive way calls a success is lost with the server.
func TestControlLosesACancelledCommit(t *testing.T) {
	p := newPair(t)
	ok(t, p.standby.Pause())
	control := randomBallot(sealedSize)
	done, waiting := waits(func() error { _, err := naive(t.Context(), p.db.Ballot, control.Voter[:]); return err })
	if !waiting {
		t.Fatalf("the control's commit did not wait for the standby: %v", <-done)
	}
	p.cancelWait(t)
	ok(t, <-done)
	p.failover(t)
	if got := count(t, p.standby, p.db.Name); got != "0" {
		t.Errorf("the control should have lost its vote; the new primary has %s voters", got)
	}
}
