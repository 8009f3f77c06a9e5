package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// conn is a connection whose settings read what the test wants.
type conn map[string]string

func (c conn) Exec(string) error                  { return nil }
func (c conn) Pragma(name string) (string, error) { return c[name], nil }

// TestSettingsAreProved: each setting that does not hold is named in the refusal, with the reason.
func TestSettingsAreProved(t *testing.T) {
	for kind, settings := range map[string][]setting{"writing": writing, "reading": reading, "folding": folding} {
		good := conn{"application_id": "0"}
		for _, s := range settings {
			good[s.name] = s.want
		}
		if err := applyTo(good, settings); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, s := range settings {
			if s.want == "" {
				continue
			}
			bad := conn{}
			for k, v := range good {
				bad[k] = v
			}
			bad[s.name] = "other"
			err := applyTo(bad, settings)
			if err == nil || !strings.Contains(err.Error(), s.name) || !strings.Contains(err.Error(), s.why) {
				t.Errorf("%s without %s: %v", kind, s.name, err)
			}
		}
	}
}

// TestNoLogNoStart: where SQLite silently keeps another journal mode, the store does not start.
func TestNoLogNoStart(t *testing.T) {
	c, err := sqlite3.Open(":memory:") // which knows no WAL
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := apply(c, writing); err == nil || !strings.Contains(err.Error(), "journal_mode") {
		t.Errorf("got %v", err)
	}
}

// TestFullDatabaseRollsBack: an insert that meets the end of the space leaves nothing of its batch.
func TestFullDatabaseRollsBack(t *testing.T) {
	s := openTest(t, Config{})
	addPoll(t, s, "p")
	if err := s.Record(t.Context(), []*Group{group("p", randomBallot(sealedSize))}); err != nil {
		t.Fatal(err)
	}
	limit := func(pages string) {
		t.Helper()
		if err := s.engine.(*sqlite).write.Exec("PRAGMA max_page_count = " + pages).Error; err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // no fewer than there are
	var many []Ballot
	for range 500 {
		many = append(many, randomBallot(sealedSize))
	}
	err := s.Record(t.Context(), []*Group{group("p", many...)})
	if !errors.Is(err, sqlite3.FULL) || errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	limit("1000000")
	g := group("p", many...)
	if err := s.Record(t.Context(), []*Group{g}); err != nil {
		t.Fatal(err)
	}
	for i, v := range g.Verdicts {
		if v.Judgement != Recorded || !v.Fresh {
			t.Fatalf("ballot %d had been recorded by the failed batch: %+v", i, v)
		}
	}
}

// TestPathsAreNotParameters: SQLite takes URIs, and paths may have their signs in them.
func TestPathsAreNotParameters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a?mode=memory&b=%41#c d")
	s := openTest(t, Config{Dir: dir})
	addPoll(t, s, "p")
	if found, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", FileName)); err != nil || len(found) != 1 {
		t.Errorf("the database is not in its directory: %v %v", found, err)
	}
}

// TestLongLogIsFolded: while votes come, a long log of writes is copied into the database and goes on; in
// a quiet second it is cut off, so that its order does not stay.
func TestLongLogIsFolded(t *testing.T) {
	s := openTest(t, Config{})
	addPoll(t, s, "p")
	record := func(ballots int) {
		t.Helper()
		var many []Ballot
		for range ballots {
			many = append(many, randomBallot(sealedSize))
		}
		if err := s.Record(t.Context(), []*Group{group("p", many...)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 40 {
		record(400)
	}
	if err := s.engine.(*sqlite).foldLog(); err != nil {
		t.Fatal(err)
	}
	if folded := s.engine.(*sqlite).foldedPages.Load(); folded < foldPages/2 {
		t.Errorf("%d pages of a log of %d were folded", folded, s.engine.(*sqlite).logPages.Load())
	}
	record(1)
	for range 100 {
		if info, err := os.Stat(filepath.Join(s.engine.(*sqlite).dir, FileName+"-wal")); err != nil {
			t.Fatal(err)
		} else if info.Size() == 0 {
			record(1)
			if pages := s.engine.(*sqlite).logPages.Load(); pages > 100 {
				t.Errorf("after it was emptied, the log has %d pages with one ballot's commit", pages)
			}
			return
		}
		time.Sleep(quiet / 10)
	}
	t.Error("nothing was recorded for ten seconds, and the log of writes is still there")
}

// TestFullLogBeginsAnew: under load without a pause the log of writes does not grow beyond what a start
// can read back.
func TestFullLogBeginsAnew(t *testing.T) {
	s := openTest(t, Config{})
	addPoll(t, s, "p")
	if err := s.Record(t.Context(), []*Group{group("p", randomBallot(sealedSize))}); err != nil {
		t.Fatal(err)
	}
	s.engine.(*sqlite).logPages.Store(emptyPages)
	if err := s.engine.(*sqlite).foldLog(); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), []*Group{group("p", randomBallot(sealedSize))}); err != nil {
		t.Fatal(err)
	}
	if pages := s.engine.(*sqlite).logPages.Load(); pages > 40 {
		t.Errorf("after it was begun anew, the log has %d pages with one ballot's commit", pages)
	}
}
