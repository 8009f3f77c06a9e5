package server

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// What somebody can learn who has every file of the ballot server, but no key: which sealed ballot belongs
// to which voter tag. The attacks below know all tags and all ballots (the tables hold them) and look for
// what joins them: bytes written together, and the order in which bytes were written.

// trace is what one source shows: for each voter and each ballot the moment of its writing, in any unit, or
// unseen. A database with other files joins by making traces of them.
type trace struct {
	name            string
	voters, ballots []float64
}

var unseen = math.NaN()

// together is the attack on what was written together: of each voter, how many ballots share the moment.
// Whoever shares it with one ballot is linked.
func (x trace) together() (sets []int, linked int) {
	at := map[float64][]int{}
	for n, moment := range x.ballots {
		at[moment] = append(at[moment], n)
	}
	for n, moment := range x.voters {
		if math.IsNaN(moment) {
			continue
		}
		sets = append(sets, len(at[moment]))
		if len(at[moment]) == 1 && at[moment][0] == n {
			linked++
		}
	}
	slices.Sort(sets)
	return sets, linked
}

// order is the attack on the order: it guesses, for each voter, the ballots whose moment is nearest first.
// It returns the median number of guesses until the right one, and how many first guesses were right.
func (x trace) order() (median, first int) {
	var guesses []int
	for n, moment := range x.voters {
		if math.IsNaN(moment) || math.IsNaN(x.ballots[n]) {
			continue
		}
		right := math.Abs(x.ballots[n] - moment)
		nearer, same := 0, 0
		for _, other := range x.ballots {
			switch d := math.Abs(other - moment); {
			case d < right:
				nearer++
			case d == right:
				same++
			}
		}
		guess := nearer + (same+1)/2
		if nearer == 0 && same == 1 {
			first++
		}
		guesses = append(guesses, guess)
	}
	if len(guesses) == 0 {
		return 0, 0
	}
	slices.Sort(guesses)
	return guesses[len(guesses)/2], first
}

// finder finds known strings in bytes by their first eight.
type finder map[uint64]int

func newFinder(wanted [][]byte) finder {
	f := finder{}
	for n, w := range wanted {
		f[binary.BigEndian.Uint64(w)] = n
	}
	return f
}

// in calls found with each string that begins in b, and where.
func (f finder) in(b []byte, found func(n, at int)) {
	for at := 0; at+8 <= len(b); at++ {
		if n, ok := f[binary.BigEndian.Uint64(b[at:])]; ok {
			found(n, at)
		}
	}
}

// spoils is a copy of the files, and what the tables say is in them.
type spoils struct {
	db, wal                 []byte
	tags, leaves, envelopes [][]byte
}

func nowhere(n int) []float64 {
	moments := make([]float64, n)
	for i := range moments {
		moments[i] = unseen
	}
	return moments
}

// transactions reads the write-ahead log: in which transaction a tag, and a leaf, first appears. It reads
// frames of earlier logs too, which lie behind the newest until they are written over.
func (s spoils) transactions() trace {
	const header, frameHeader = 32, 24
	x := trace{"the write-ahead log's transactions", nowhere(len(s.tags)), nowhere(len(s.leaves))}
	if len(s.wal) < header {
		return x
	}
	page := int(binary.BigEndian.Uint32(s.wal[8:]))
	tags, leaves := newFinder(s.tags), newFinder(s.leaves)
	see := func(moments []float64, transaction int) func(n, at int) {
		return func(n, _ int) {
			if math.IsNaN(moments[n]) {
				moments[n] = float64(transaction)
			}
		}
	}
	transaction := 0
	for rest := s.wal[header:]; len(rest) >= frameHeader+page; rest = rest[frameHeader+page:] {
		content := rest[frameHeader : frameHeader+page]
		tags.in(content, see(x.voters, transaction))
		leaves.in(content, see(x.ballots, transaction))
		if binary.BigEndian.Uint32(rest[4:]) != 0 { // the last frame of a transaction
			transaction++
		}
	}
	return x
}

// positions reads the database: rows are found by their keys, which are hashes, but within a page they lie
// in the order in which they were added since the page was last rewritten, and what is too long for a page
// lies at the end of the file as it then was.
func (s spoils) positions() []trace {
	byPage := func(wanted [][]byte) []float64 {
		moments := nowhere(len(wanted))
		s.pages(wanted, func(rows []int) {
			for rank, n := range rows {
				moments[n] = (float64(rank) + 0.5) / float64(len(rows))
			}
		})
		return moments
	}
	byOffset := func(wanted [][]byte) []float64 {
		moments := nowhere(len(wanted))
		newFinder(wanted).in(s.db, func(n, at int) { moments[n] = float64(at) / float64(len(s.db)) })
		return moments
	}
	voters := byPage(s.tags)
	return []trace{
		{"places within pages", voters, byPage(s.leaves)},
		{"places of the sealed ballots in the file", voters, byOffset(s.envelopes)},
	}
}

// pages lists, page by page, what is in the database, in the order in which pages fill: from their ends.
func (s spoils) pages(wanted [][]byte, page func(rows []int)) {
	size := int(binary.BigEndian.Uint16(s.db[16:]))
	f := newFinder(wanted)
	for at := 0; at+size <= len(s.db); at += size {
		var rows []int
		f.in(s.db[at:at+size], func(n, _ int) { rows = append(rows, n) })
		slices.Reverse(rows)
		page(rows)
	}
}

// neighbours is how many of the voters' rows that lie next to each other in a page came in that order, as a
// share: half by chance. Voters are numbered in the order they came.
func (s spoils) neighbours() float64 {
	pairs, inOrder := 0, 0
	s.pages(s.tags, func(rows []int) {
		for i := 1; i < len(rows); i++ {
			pairs++
			if rows[i-1] < rows[i] {
				inOrder++
			}
		}
	})
	return float64(inOrder) / float64(max(pairs, 1))
}

// take copies the files as they are at this moment.
func (s spoils) take(t *testing.T, dir string) spoils {
	t.Helper()
	var err error
	if s.db, err = os.ReadFile(filepath.Join(dir, "popvote.db")); err != nil {
		t.Fatal(err)
	}
	if s.wal, err = os.ReadFile(filepath.Join(dir, "popvote.db-wal")); err != nil {
		t.Fatal(err)
	}
	return s
}

// Data at rest: whoever takes the files while votes are coming in can join ballots with voter tags batch by
// batch, so one by one where each came alone: that is what the write-ahead log is, and why the ballots in it
// are sealed. A second after the last vote it is empty, and what is left is the order of rows in pages.
func TestDataAtRest(t *testing.T) {
	const people = 1024
	for _, load := range []struct {
		name string
		each int
	}{{"one at a time", 1}, {"64 at a time", 64}} {
		t.Run(load.name, func(t *testing.T) {
			b := newBox(t)
			var logged bytes.Buffer
			b.deps.Log = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			// One commit fails in an unknown way, so that there is something to log.
			var failed atomic.Bool
			failed.Store(true)
			b.deps.commit = func(commit func() error) error {
				err := commit()
				if !failed.Swap(true) {
					return errors.Join(err, errors.New("the disk went away"))
				}
				return err
			}
			b.reopen()
			b.move(poll.Open)
			failed.Store(false)
			var s spoils
			var ballots []ballotapi.Ballot
			for n := range people {
				c := cast(n, "k", b.junk())
				leaf := ballot.Leaf("lunch", c.Sealed)
				s.tags, s.leaves, s.envelopes = append(s.tags, c.Voter[:]), append(s.leaves, leaf[:]), append(s.envelopes, c.Sealed)
				ballots = append(ballots, c)
			}
			for some := range slices.Chunk(ballots, load.each) {
				for _, o := range b.cast(some...) {
					b.expect(o, "")
				}
			}
			b.ok(b.Tick(t.Context()))

			during := s.take(t, b.cfg.Dir).transactions()
			sets, linked := during.together()
			if len(sets) < people*9/10 {
				t.Fatalf("the attack found %d of %d voters in the log: it is blind", len(sets), people)
			}
			t.Logf("while voting: %s: smallest set %d, median %d; %d of %d voters linked", during.name, sets[0], sets[len(sets)/2], linked, people)
			// That one at a time is linked shows that the attack can see; that 64 are not, that batches help.
			if load.each == 1 && linked < people*9/10 || load.each > 1 && linked > people/10 {
				t.Errorf("%d voters linked", linked)
			}

			quiet := s.take(t, b.cfg.Dir)
			for deadline := time.Now().Add(30 * time.Second); len(quiet.wal) > 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
				quiet = s.take(t, b.cfg.Dir)
			}
			if sets, _ := quiet.transactions().together(); len(sets) > 0 || len(quiet.wal) > 0 {
				t.Errorf("in a quiet second the log still holds %d bytes and %d voters", len(quiet.wal), len(sets))
			}
			for _, x := range quiet.positions() {
				median, first := x.order()
				t.Logf("afterwards: %s: the right ballot is the %dth guess of %d (by chance: the %dth), the first for %d voters", x.name, median, people, people/2, first)
				if median < leastGuesses || first > people/100 {
					t.Errorf("%s: %d guesses, %d right at once: more than docs/threat-model.md says", x.name, median, first)
				}
			}
			inOrder := quiet.neighbours()
			t.Logf("afterwards: of rows next to each other in a page %.0f %% lie in the order their voters came (by chance: 50 %%)", 100*inOrder)
			if inOrder > mostInOrder {
				t.Errorf("%.2f of the neighbours are in order: more than docs/threat-model.md says", inOrder)
			}
			leakless(t, logged.String(), s)
		})
	}
}

// The attacks must be able to see: where moments tell all, they find all.
func TestTheAttacksSee(t *testing.T) {
	const people = 100
	x := trace{"planted", nowhere(people), nowhere(people)}
	for n := range people {
		x.voters[n], x.ballots[n] = float64(n), float64(n)
	}
	if sets, linked := x.together(); len(sets) != people || linked != people {
		t.Errorf("written together: %d of %d seen, %d linked", len(sets), people, linked)
	}
	if median, first := x.order(); median != 1 || first != people {
		t.Errorf("in order: the %dth guess, %d right at once", median, first)
	}
	for n := range people {
		x.ballots[n] = float64(n) + 10.5 // late, and still in order
	}
	if _, linked := x.together(); linked != 0 {
		t.Errorf("%d linked that were not written together", linked)
	}
	if median, _ := x.order(); median < 15 || median > 25 {
		t.Errorf("ten places off: the %dth guess", median)
	}
}

// What docs/threat-model.md says of 1,024 ballots: the fewest guesses it takes on average, and the largest
// share of neighbours in order.
const (
	leastGuesses = 256
	mostInOrder  = 0.75
)

// leakless wants no tag, leaf or ballot in a log, in any usual form.
func leakless(t *testing.T, logged string, s spoils) {
	t.Helper()
	if !strings.Contains(logged, "level=") {
		t.Error("nothing was logged: that proves little")
	}
	for _, secrets := range [][][]byte{s.tags, s.leaves, s.envelopes} {
		for _, secret := range secrets {
			for _, form := range []string{
				hex.EncodeToString(secret[:12]), base64.StdEncoding.EncodeToString(secret[:12]), base64.RawURLEncoding.EncodeToString(secret[:12]),
			} {
				if strings.Contains(logged, form) {
					t.Fatalf("the log shows %s", form)
				}
			}
		}
	}
}
