package server

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// PostgreSQL keeps with each row the transaction that wrote it (xmin) and where it lies (ctid). Both stay
// for as long as the rows do, so whoever reads the database as it lies can join voters and ballots batch by
// batch, at any time. docs/threat-model.md says so.
func TestDataAtRestInPostgreSQL(t *testing.T) {
	const people = 512
	db := pgtest.New(t, Migrate)
	for _, each := range []int{1, 64} {
		t.Run(fmt.Sprintf("%d at a time", each), func(t *testing.T) {
			db.Empty(t)
			b := newBoxWith(t, Config{DSN: db.Ballot})
			b.move(poll.Open)
			var tags, leaves [][]byte
			var ballots []ballotapi.Ballot
			for n := range people {
				c := cast(n, "k", b.junk())
				leaf := ballot.Leaf("lunch", c.Sealed)
				tags, leaves, ballots = append(tags, c.Voter[:]), append(leaves, leaf[:]), append(ballots, c)
			}
			for some := range slices.Chunk(ballots, each) {
				for _, o := range b.cast(some...) {
					b.expect(o, "")
				}
			}
			// What an operator would try first changes nothing.
			db.SQL(t, db.Name, "VACUUM FREEZE participation")
			db.SQL(t, db.Name, "VACUUM FREEZE leaves")

			columns := func(table, column string, known [][]byte) (xmin, ctid []float64) {
				rows := db.SQL(t, db.Name, "SELECT encode("+column+", 'hex'), xmin, ctid FROM "+table)
				return moments(t, rows, known)
			}
			voterXmin, voterCtid := columns("participation", "voter", tags)
			leafXmin, leafCtid := columns("leaves", "leaf", leaves)
			x := trace{"xmin", voterXmin, leafXmin}
			sets, linked := x.together()
			if len(sets) != people {
				t.Fatalf("the attack sees %d of %d voters: it is blind", len(sets), people)
			}
			t.Logf("%s: smallest set %d, median %d; %d of %d voters linked", x.name, sets[0], sets[len(sets)/2], linked, people)
			if each == 1 && linked < people*9/10 || each > 1 && linked > people/10 {
				t.Errorf("%d voters linked", linked)
			}
			median, _ := trace{"ctid", voterCtid, leafCtid}.order()
			t.Logf("ctid: the right ballot is the %dth guess of %d", median, people)
			if each > 1 && median < each/8 {
				t.Errorf("rows are in the order of voters within a batch: the %dth guess", median)
			}
		})
	}
}

// moments reads rows of a key, a transaction and a place.
func moments(t *testing.T, rows string, known [][]byte) (xmin, ctid []float64) {
	t.Helper()
	number := map[string]int{}
	for n, k := range known {
		number[hex.EncodeToString(k)] = n
	}
	xmin, ctid = nowhere(len(known)), nowhere(len(known))
	for line := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		n, ok := number[fields[0]]
		if !ok {
			t.Fatalf("a row that nobody cast: %s", line)
		}
		var page, item float64
		var err error
		if xmin[n], err = strconv.ParseFloat(fields[1], 64); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(fields[2], "(%g,%g)", &page, &item); err != nil {
			t.Fatal(err)
		}
		ctid[n] = page*1000 + item
	}
	// Places become shares, as the two tables' rows differ in length.
	order := slices.Clone(ctid)
	slices.Sort(order)
	for n := range ctid {
		rank, _ := slices.BinarySearch(order, ctid[n])
		ctid[n] = float64(rank) / float64(len(order))
	}
	return xmin, ctid
}
