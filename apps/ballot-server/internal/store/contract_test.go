package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// eachDatabase runs a test on an empty database of each kind. Its clock stands at 5,000 s.
func eachDatabase(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("SQLite", func(t *testing.T) { test(t, openTest(t, Config{})) })
	t.Run("PostgreSQL", func(t *testing.T) {
		test(t, openTest(t, Config{DSN: pgtest.New(t, Migrate).Ballot, TestClock: true}))
	})
}

func record(t testing.TB, s *Store, ballots ...Ballot) []Verdict {
	t.Helper()
	g := group("p", ballots...)
	if err := s.Record(t.Context(), []*Group{g}); err != nil {
		t.Fatal(err)
	}
	return g.Verdicts
}

// TestJudgements: each ballot of one batch gets the judgement that is its own.
func TestJudgements(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		first := randomBallot(sealedSize)
		if v := record(t, s, first)[0]; v.Judgement != Recorded || !v.Fresh || v.Place != 0 {
			t.Fatalf("the first: %+v", v)
		}
		fresh, second, reused, copied, short := randomBallot(sealedSize), randomBallot(sealedSize), randomBallot(sealedSize),
			randomBallot(sealedSize), randomBallot(sealedSize-1)
		second.Voter = first.Voter
		reused.Voter, reused.KeyHash = first.Voter, first.KeyHash
		copied.Leaf = first.Leaf
		twin := fresh
		twin.Second = true
		got := record(t, s, second, first, fresh, reused, copied, short, twin)
		for i, want := range []Verdict{
			{Judgement: AlreadyVoted},
			{Judgement: Recorded},
			{Judgement: Recorded, Fresh: true},
			{Judgement: KeyReused},
			{Judgement: Copied},
			{Judgement: WrongSize},
			{Judgement: Recorded},
		} {
			if got[i].Judgement != want.Judgement || got[i].Fresh != want.Fresh {
				t.Errorf("ballot %d: %+v, want %+v", i, got[i], want)
			}
			if b := got[i].Batch; (b != nil) != (want.Judgement == Recorded) || b != nil && b.JWS != "a.b.c" {
				t.Errorf("ballot %d has batch %+v", i, b)
			}
		}
		if leaf := got[1].Batch.Leaves[got[1].Place]; leaf != first.Leaf {
			t.Errorf("the retry's place holds leaf %x", leaf)
		}
		if v := record(t, s, fresh); v[0].Judgement != Recorded || v[0].Fresh || v[0].Batch.ID != got[2].Batch.ID {
			t.Errorf("the fresh one again: %+v", v)
		}
		minutes, err := s.Turnout(t.Context(), 1)
		if err != nil || !slices.Equal(minutes, []Minute{{5_000_000 / 60_000, "web", 2}}) {
			t.Errorf("the turnout is %v (%v)", minutes, err)
		}
		if took, err := s.Took(t.Context(), 1); err != nil || took[60] != 2 || len(took) != 1 {
			t.Errorf("it took %v (%v)", took, err)
		}
	})
}

// TestPollDecides: the poll's state and times, by the database's clock, come before anything else but a
// retry.
func TestPollDecides(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		old := randomBallot(sealedSize)
		record(t, s, old)
		for _, c := range []struct {
			state         string
			opens, closes int64
			want          Judgement
		}{
			{"draft", 0, 1 << 60, NotOpen},
			{"open", 5_000_001, 1 << 60, NotOpen},
			{"open", 5_000_000, 5_000_001, Recorded},
			{"open", 0, 5_000_000, Closed},
			{"paused", 0, 1 << 60, Paused},
			{"paused", 0, 4_999_999, Closed},
			{"closed", 0, 1 << 60, Closed},
			{"counted", 0, 1 << 60, Closed},
			{"published", 0, 1 << 60, Closed},
		} {
			err := s.Write(t.Context(), func(tx Tx) error {
				p, err := tx.Poll("p")
				if err != nil {
					return err
				}
				if now, err := tx.Now(); err != nil || now != 5_000_000 {
					t.Errorf("the database's clock says %d (%v)", now, err)
				}
				p.State, p.OpensAt, p.ClosesAt = c.state, c.opens, c.closes
				return tx.SavePoll(p)
			})
			if err != nil {
				t.Fatal(err)
			}
			v := record(t, s, randomBallot(sealedSize), old)
			if v[0].Judgement != c.want || v[1].Judgement != Recorded || v[1].Fresh {
				t.Errorf("%+v: a new ballot got %+v, a retry %+v", c, v[0], v[1])
			}
		}
		g := group("nowhere", old)
		if err := s.Record(t.Context(), []*Group{g}); err != nil || g.Verdicts[0].Judgement != NoPoll {
			t.Errorf("without a poll: %+v (%v)", g.Verdicts, err)
		}
	})
}

// TestSeveralPolls: a transaction's groups are kept apart, and answered in their own order.
func TestSeveralPolls(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "b")
		addPoll(t, s, "a")
		ballot := randomBallot(sealedSize)
		groups := []*Group{group("b", ballot), group("none", ballot), group("a", ballot)}
		groups[0].Peak = func(n int) *Peak { return &Peak{Ballots: int64(n), At: 7} }
		if err := s.Record(t.Context(), groups); err != nil {
			t.Fatal(err)
		}
		for i, want := range []Judgement{Recorded, NoPoll, Recorded} {
			if groups[i].Verdicts[0].Judgement != want {
				t.Errorf("group %d: %+v", i, groups[i].Verdicts)
			}
		}
		polls, err := s.Polls(t.Context())
		if err != nil || len(polls) != 2 || polls[0].ID != "a" || polls[1].Peak != 1 || polls[1].PeakAt != 7 || polls[0].Peak != 0 {
			t.Errorf("the polls are %+v (%v)", polls, err)
		}
	})
}

// TestFailedTransactionLeavesNothing: neither does one whose commit fails, nor one whose work does.
func TestFailedTransactionLeavesNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		ballot := randomBallot(sealedSize)
		g := group("p", ballot)
		broken := errors.New("broken")
		g.Seal = func([][32]byte) (*Batch, error) { return nil, broken }
		if err := s.Record(t.Context(), []*Group{g}); !errors.Is(err, broken) || errors.Is(err, ErrUnknown) {
			t.Fatalf("got %v", err)
		}
		if v := record(t, s, ballot); !v[0].Fresh {
			t.Errorf("the failed one had recorded it: %+v", v)
		}
		if err := s.Write(t.Context(), func(tx Tx) error {
			return errors.Join(tx.AddResult(Result{Poll: 1, JWS: "x", Opened: []byte{1}}), broken)
		}); !errors.Is(err, broken) {
			t.Fatalf("got %v", err)
		}
		if r, err := s.Result(t.Context(), 1); err != nil || r != nil {
			t.Errorf("a failed change left result %v (%v)", r, err)
		}
	})
}

// TestDocumentsComeBack: manifests, audit entries and results are read as they were written.
func TestDocumentsComeBack(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		if _, err := s.Manifest(t.Context(), "p", 0); !errors.Is(err, ErrNoPoll) {
			t.Errorf("without a manifest: %v", err)
		}
		result := Result{Poll: 1, Manifest: 2, JWS: "r", Opened: []byte{1, 0, 2}}
		entry := Entry{Poll: 1, Seq: 1, At: 2, Actor: "a", Action: "b", Reason: "c", Detail: "{}", Prev: []byte{}, Hash: []byte{3}}
		err := s.Write(t.Context(), func(tx Tx) error {
			p, err := tx.Poll("p")
			if err != nil {
				return err
			}
			p.Sequence = 1 << 40
			return errors.Join(tx.SavePoll(p), tx.AddManifest(Manifest{1, 1, "old"}), tx.AddManifest(Manifest{1, 1 << 40, "new"}),
				tx.AddEntry(entry), tx.AddResult(result))
		})
		if err != nil {
			t.Fatal(err)
		}
		for sequence, want := range map[int64]string{0: "new", 1: "old"} {
			if m, err := s.Manifest(t.Context(), "p", sequence); err != nil || m.JWS != want {
				t.Errorf("manifest %d is %+v (%v)", sequence, m, err)
			}
		}
		if entries, err := s.Audit(t.Context(), 1); err != nil || len(entries) != 1 || entries[0].Detail != "{}" || entries[0].Hash[0] != 3 {
			t.Errorf("the audit chain is %+v (%v)", entries, err)
		}
		if r, err := s.Result(t.Context(), 1); err != nil || r.JWS != "r" || !bytes.Equal(r.Opened, result.Opened) || r.TallyKey != nil {
			t.Errorf("the result is %+v (%v)", r, err)
		}
		if engine, err := s.Engine(t.Context()); err != nil || len(engine) < 8 {
			t.Errorf("the engine is %q (%v)", engine, err)
		}
	})
}

// TestLogHoldsTheBox: what is recorded waits for the log, and is found again through it.
func TestLogHoldsTheBox(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		sealed := map[string]bool{}
		for range 5 {
			var many []Ballot
			for range 130 {
				b := randomBallot(sealedSize)
				b.Leaf = sha256.Sum256(b.Sealed)
				many, sealed[string(b.Sealed)] = append(many, b), true
			}
			record(t, s, many...)
		}
		if left, err := s.Unlogged(t.Context()); err != nil || left["p"] != 650 {
			t.Fatalf("%v wait for the log (%v)", left, err)
		}
		extend(t, s, 200)
		if left, err := s.Unlogged(t.Context()); err != nil || left["p"] != 390 {
			t.Fatalf("%v wait for the log (%v)", left, err)
		}
		extend(t, s, 1000)
		p, err := s.Poll(t.Context(), "p")
		if err != nil || p.LogSize != 650 || string(p.Checkpoint) != "signed" {
			t.Fatalf("the poll is %+v (%v)", p, err)
		}
		for b, err := range s.Ballots(t.Context(), p) {
			if err != nil {
				t.Fatal(err)
			}
			if !sealed[string(b)] {
				t.Fatal("the box has a ballot that was not cast, or one twice")
			}
			delete(sealed, string(b))
		}
		if len(sealed) > 0 {
			t.Errorf("%d ballots are not in the box", len(sealed))
		}
	})
}

// extend moves what waits into the log, at least the given number of leaves if there are as many.
func extend(t testing.TB, s *Store, limit int) {
	t.Helper()
	err := s.Write(t.Context(), func(tx Tx) error {
		p, err := tx.Poll("p")
		if err != nil {
			return err
		}
		batches, leaves, err := tx.Pending(p.No, limit)
		if err != nil {
			return err
		}
		slices.SortFunc(leaves, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
		log := tx.Log(p.No)
		if err := log.Append(p.LogSize, leaves); err != nil {
			return err
		}
		return tx.SaveLog(log, p.LogSize+int64(len(leaves)), []byte("signed"), batches)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCancelledCallerStopsNothing: a batch belongs to many; one caller's end is not its end.
func TestCancelledCallerStopsNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Store) {
		addPoll(t, s, "p")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g := group("p", randomBallot(sealedSize))
		if err := s.Record(ctx, []*Group{g}); err != nil || !g.Verdicts[0].Fresh {
			t.Errorf("got %+v, %v", g.Verdicts, err)
		}
	})
}
