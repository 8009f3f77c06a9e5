package store

import (
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
)

// TestPlace: every leaf of the log is found where it is, and no other.
func TestPlace(t *testing.T) { eachDatabase(t, everyLeafIsFound) }

func everyLeafIsFound(t *testing.T, s *Store) {
	addPoll(t, s, "p")
	for _, batches := range [][]int{{40, 1, 130}, {1}, {300}} {
		for _, n := range batches {
			var many []Ballot
			for range n {
				many = append(many, randomBallot(sealedSize))
			}
			record(t, s, many...)
		}
		extend(t, s, 1000)
	}
	waiting := randomBallot(sealedSize)
	record(t, s, waiting)
	for n := range int64(472) {
		want := leafAt(t, s, n)
		if got, found, err := s.Place(t.Context(), 1, want); err != nil || !found || got != n {
			t.Fatalf("leaf %d is found at %d (%v, %v)", n, got, found, err)
		}
	}
	for what, leaf := range map[string][32]byte{"that waits": waiting.Leaf, "of nobody": randomBallot(1).Leaf} {
		if got, found, err := s.Place(t.Context(), 1, leaf); err != nil || found {
			t.Errorf("a leaf %s is found at %d (%v)", what, got, err)
		}
	}
}

func leafAt(t *testing.T, s *Store, n int64) [32]byte {
	t.Helper()
	hashes, err := s.Log(t.Context(), 1).ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
	ok(t, err)
	return hashes[0]
}

// TestPlaceWithoutEpochs: what was logged before epochs were noted is found all the same.
func TestPlaceWithoutEpochs(t *testing.T) {
	s := openTest(t, Config{})
	everyLeafIsFound(t, s)
	e, noted, err := epochOf(s.read, 1, leafAt(t, s, 171))
	if err != nil || !noted || e != (epoch{171, 1}) {
		t.Fatalf("the second epoch is %v (%v, %v)", e, noted, err)
	}
	ok(t, s.engine.(*sqlite).write.Exec("DELETE FROM epochs WHERE first <> 171").Error)
	for _, n := range []int64{0, 170, 171, 172, 471} {
		if got, found, err := s.Place(t.Context(), 1, leafAt(t, s, n)); err != nil || !found || got != n {
			t.Errorf("leaf %d is found at %d (%v, %v)", n, got, found, err)
		}
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
