package store

import (
	"slices"

	"gorm.io/gorm"
)

// dialect is what each database has its own words for. Statements of one name have the same parameters.
type dialect struct {
	// version is a query for the database's name and version.
	version string
	// rows makes the one parameter by which a statement takes many rows.
	rows func(*rows) any

	// insertParticipation is the whole of "one effective ballot per voter". Whether the poll takes ballots
	// at this instant, whether the sealed ballot is a copy, and whether the voter has voted are all decided
	// in this one statement, by the database and its clock. Rows: voter, key_hash, req_hash, leaf, length
	// of the sealed ballot in digits. Then polls.id. It returns the voters inserted.
	insertParticipation string
	// insertTrusting is the same but for copies, which the index on leaves then refuses together with the
	// whole batch; empty where looking for them costs little.
	insertTrusting string
	// findRest looks up what kept ballots out: their voters' rows, and who has their leaf. Rows: voter,
	// leaf, place in digits. Then polls.id.
	findRest string
	// findLeaves finds leaves in the box. Rows: leaf. Then polls.no.
	findLeaves string
	// deleteUnlogged takes batches off the list. polls.no; rows: batch.
	deleteUnlogged string
	// mark makes a transaction that wrote nothing wait for the standby like any other; empty where there is
	// no standby.
	mark string

	// fill puts a batch into the box and counts it.
	fill func(tx *gorm.DB, f *filling) error
}

// filling is what the fresh ballots of a group leave behind.
type filling struct {
	poll   string // polls.id
	batch  *Batch
	leaves *rows
	sealed []byte // laid end to end
	// channels and took count ballots by channel and by bucket of the time to vote.
	channels counters[string]
	took     counters[int]
}

// rows are rows of a statement's parameter, each a few fields laid end to end.
type rows struct {
	flat []byte
	ends []int // of each row in flat
}

func newRows(n, width int) *rows {
	return &rows{flat: make([]byte, 0, n*width), ends: make([]int, 0, n)}
}

func (r *rows) row(fields ...[]byte) {
	for _, f := range fields {
		r.flat = append(r.flat, f...)
	}
	r.ends = append(r.ends, len(r.flat))
}

// each calls fn with every row.
func (r *rows) each(fn func(row []byte)) {
	from := 0
	for _, to := range r.ends {
		fn(r.flat[from:to:to])
		from = to
	}
}

// counters are numbers by key, in the keys' order: two servers that count the same keys must not lock
// each other out.
type counters[K int | string] struct {
	keys []K
	n    []int64
}

func (c *counters[K]) add(key K) {
	i, ok := slices.BinarySearch(c.keys, key)
	if !ok {
		c.keys, c.n = slices.Insert(c.keys, i, key), slices.Insert(c.n, i, 0)
	}
	c.n[i]++
}
