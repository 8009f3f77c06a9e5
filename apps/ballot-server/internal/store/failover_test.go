package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/pgcluster"
)

// trio is a primary with two synchronous standbys.
type trio struct {
	*pgcluster.Cluster
	db  *pgtest.DB
	all string // a DSN of them, in the order in which they were started
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	c := pgcluster.Start(t, pgcluster.Options{Standbys: 2, Sync: true})
	trio := &trio{Cluster: c, db: pgtest.On(t, c.Primary(), Migrate)}
	trio.all = trio.dsn(append([]*pgcluster.Node{c.Primary()}, c.Standbys()...)...)
	return trio
}

// dsn names servers.
func (c *trio) dsn(nodes ...*pgcluster.Node) string {
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.Addr())
	}
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", BallotRole, strings.Join(hosts, ","), c.db.Name)
}

// writers record ballots and remember those that were acknowledged.
type writers struct {
	all  sync.WaitGroup
	stop chan struct{}
	// recorded counts acknowledged ballots, unknown the times that a batch's outcome was.
	recorded, unknown atomic.Int64

	mu     sync.Mutex
	voters []string // of acknowledged ballots
}

func startWriters(t *testing.T, s *Store, n int) *writers {
	t.Helper()
	w := &writers{stop: make(chan struct{})}
	for range n {
		w.all.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
					w.write(t, s)
				}
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

// write records a batch as the committer does: again until its outcome is known.
func (w *writers) write(t *testing.T, s *Store) {
	g := group("p", randomBallot(sealedSize), randomBallot(sealedSize))
	for unknown := false; ; time.Sleep(10 * time.Millisecond) {
		switch err := s.Record(t.Context(), []*Group{g}); {
		case err == nil:
			w.mu.Lock()
			defer w.mu.Unlock()
			for i, v := range g.Verdicts {
				if v.Judgement != Recorded {
					t.Errorf("a ballot of nobody else's is judged %+v", v)
				}
				w.voters = append(w.voters, hex.EncodeToString(g.Ballots[i].Voter[:]))
			}
			w.recorded.Add(int64(len(g.Verdicts)))
			return
		case errors.Is(err, ErrUnknown):
			unknown = true
			w.unknown.Add(1)
		case !unknown:
			return // nothing has happened
		}
		if t.Context().Err() != nil {
			return
		}
	}
}

// more waits until so many more are acknowledged.
func (w *writers) more(t *testing.T, n int64) {
	t.Helper()
	want := w.recorded.Load() + n
	for deadline := time.Now().Add(2 * time.Minute); w.recorded.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d ballots are acknowledged", w.recorded.Load())
		}
	}
}

func (w *writers) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.all.Wait()
}

// missing are the acknowledged voters that a server doesn't have.
func (w *writers) missing(t *testing.T, n *pgcluster.Node, db string) (missing []string) {
	t.Helper()
	out, err := n.SQL(db, "SELECT encode(voter, 'hex') FROM participation")
	ok(t, err)
	has := map[string]bool{}
	for _, voter := range strings.Fields(out) {
		has[voter] = true
	}
	for _, voter := range w.voters {
		if !has[voter] {
			missing = append(missing, voter)
		}
	}
	return missing
}

// TestFailover: the store goes on with the server that replaces the primary, whether that is gone or
// frozen, whichever of the standbys it is; and what was acknowledged is there. When the old primary comes
// back, nobody is taken in.
func TestFailover(t *testing.T) {
	for _, how := range []string{"killed", "frozen"} {
		t.Run(how, func(t *testing.T) {
			c := newTrio(t)
			old, behind, next := c.Primary(), c.Standbys()[0], c.Standbys()[1]
			var committing atomic.Int64
			s := openTest(t, Config{DSN: c.all, Cluster: true, Commit: func(commit func() error) error {
				committing.Add(1)
				defer committing.Add(-1)
				return commit()
			}})
			addPoll(t, s, "p")
			w := startWriters(t, s, 4)
			w.more(t, 100)
			ok(t, behind.Follow(nil)) // so that it must not be this one
			w.more(t, 20)

			// A commit that waits for the standby is sure to be cut off.
			ok(t, next.Pause())
			still := func() bool {
				before := w.recorded.Load()
				time.Sleep(200 * time.Millisecond)
				return committing.Load() > 0 && w.recorded.Load() == before
			}
			for deadline := time.Now().Add(time.Minute); !still(); {
				if time.Now().After(deadline) {
					t.Fatal("nobody waits for the standby")
				}
			}
			began := time.Now()
			if how == "killed" {
				ok(t, old.Kill9())
			} else {
				ok(t, old.Pause())
			}
			ok(t, next.Resume())
			leader, err := c.Failover()
			ok(t, err)
			replaced := time.Now()
			w.more(t, 1)
			t.Logf("replaced after %v, noticed %v later", replaced.Sub(began), time.Since(replaced))
			w.more(t, 100)
			if w.unknown.Load() == 0 {
				t.Error("no batch was cut off: that proves little")
			}

			if how == "killed" {
				ok(t, old.Start())
			} else {
				ok(t, old.Resume())
			}
			w.more(t, 100)
			before := count(t, old, c.db.Name)
			record(t, openTest(t, Config{DSN: c.all, Cluster: true}), randomBallot(sealedSize))
			if after := count(t, old, c.db.Name); after != before {
				t.Errorf("a store that was opened afterwards records on the old primary: %s ballots, then %s", before, after)
			}
			w.end()
			if missing := w.missing(t, leader, c.db.Name); len(missing) > 0 {
				t.Errorf("%d of %d acknowledged ballots are lost: %v", len(missing), len(w.voters), missing)
			}
		})
	}
}

// TestOldPrimaryIsRefused: who knows of a newer server takes no older one, though nobody else answers; who
// doesn't is told nothing by it.
func TestOldPrimaryIsRefused(t *testing.T) {
	c := newTrio(t)
	old := c.Primary()
	s := openTest(t, Config{DSN: c.all, Cluster: true})
	addPoll(t, s, "p")
	ok(t, old.Pause())
	leader, err := c.Failover()
	ok(t, err)
	// Nobody votes; whoever reads finds out.
	read := make(chan error, 1)
	go func() {
		var err error
		for range 10 {
			if _, err = s.Polls(t.Context()); err == nil {
				break
			}
		}
		read <- err
	}()
	select {
	case err := <-read:
		ok(t, err)
	case <-time.After(time.Minute):
		t.Fatal("reading from a frozen server never ends")
	}

	ok(t, old.Resume())
	ok(t, leader.Kill9())
	var last error
	for range 3 { // the first may find a connection that was open
		last = s.Record(t.Context(), []*Group{group("p", randomBallot(sealedSize))})
	}
	if last == nil || !strings.Contains(last.Error(), "another replaced it") {
		t.Errorf("with only the old primary there, recording gave %v", last)
	}
	blind := openTest(t, Config{DSN: c.dsn(old), Cluster: true})
	blind.engine.(*postgres).patience = time.Second
	if err := blind.Record(t.Context(), []*Group{group("p", randomBallot(sealedSize))}); !errors.Is(err, ErrUnknown) {
		t.Errorf("the old primary alone gave %v", err)
	}
}

// TestServersOfADSN: each has its own addresses, with and without TLS, and its own time.
func TestServersOfADSN(t *testing.T) {
	config, err := parseDSN("postgres://u@one:1,two:2/box?sslmode=prefer")
	ok(t, err)
	hosts := perHost(config)
	if len(hosts) != 2 {
		t.Fatalf("%d servers", len(hosts))
	}
	for i, want := range []string{"one:1", "two:2"} {
		h := hosts[i]
		if got := fmt.Sprintf("%s:%d", h.Host, h.Port); got != want || h.ConnectTimeout != connectingOne {
			t.Errorf("server %d is %s, within %v", i, got, h.ConnectTimeout)
		}
		if len(h.Fallbacks) != 1 || h.Fallbacks[0].Host != h.Host || h.TLSConfig == nil || h.Fallbacks[0].TLSConfig != nil {
			t.Errorf("%s has %+v", want, h.Fallbacks)
		}
	}
	if config, err = parseDSN("postgres://u@one:1/box?sslmode=disable"); err != nil || perHost(config)[0].ConnectTimeout != connecting {
		t.Errorf("one server by itself: %+v (%v)", config, err)
	}
}
