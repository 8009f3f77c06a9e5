package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/popvote/popvote/libs/poll"
	"gorm.io/gorm"
)

// Ballot is one sealed ballot as the box takes it.
type Ballot struct {
	Voter   [32]byte // identity.VoterTag, unnamed so that it fits SQL
	KeyHash [16]byte // keyed hash of the Idempotency-Key
	ReqHash [16]byte // keyed hash of the Idempotency-Key and Sealed
	Leaf    [32]byte
	Sealed  []byte
	Channel string
	// TookUpTo is the bucket of the time-to-vote histogram, seconds.
	TookUpTo int
	// Second marks a ballot whose voter or leaf another ballot of the group has, too. In which order one
	// statement inserts is not defined, so a second one is not inserted: it is judged once the first is.
	Second bool
}

// Judgement is what the box made of a ballot.
type Judgement int

// The judgements, in the order of precedence.
const (
	// Again: nothing speaks against the ballot but that it was not tried: it is a Second whose first was
	// not recorded, or the clock passed a limit within the transaction. Record it again.
	Again Judgement = iota
	// Recorded now, or by an earlier try of the same request.
	Recorded
	// NoPoll, NotOpen, Paused and Closed are about the poll; nothing else was looked at.
	NoPoll
	NotOpen
	Paused
	Closed
	// WrongSize is a sealed ballot of another length than the poll's.
	WrongSize
	// KeyReused is another ballot under the key of the voter's recorded one.
	KeyReused
	// AlreadyVoted is another request by a voter whose ballot is in the box.
	AlreadyVoted
	// Copied is a sealed ballot that another voter has in the box.
	Copied
)

// Verdict is the judgement on one ballot and what belongs to it.
type Verdict struct {
	Judgement Judgement
	// Fresh tells a ballot recorded by this very transaction from a retry.
	Fresh bool
	// Batch and Place are set for Recorded: where the receipt comes from.
	Batch *Batch
	Place int
}

// Batch is ballots that one signature covers.
type Batch struct {
	ID     [16]byte
	Leaves [][32]byte // sorted
	JWS    string
}

// Peak is the most ballots in one second so far.
type Peak struct {
	Ballots int64
	At      int64 // Unix milliseconds
}

// Group is the ballots of one poll within a transaction.
type Group struct {
	Poll    string
	Ballots []Ballot
	// Seal signs a batch of the sorted leaves and names it.
	Seal func(leaves [][32]byte) (*Batch, error)
	// Peak returns the new peak if n ballots more make one, else nil.
	Peak func(n int) *Peak

	// Verdicts is one per ballot, in order; filled in by Record.
	Verdicts []Verdict
}

// Record judges the ballots and records what may be, in one transaction and durably: when it returns
// nil, every verdict holds whatever happens next. After ErrUnknown the same groups must be recorded
// again until the answer is another; after any other error nothing has happened.
func (s *Store) Record(ctx context.Context, groups []*Group) error {
	return s.transact(ctx, func(tx *gorm.DB) error {
		for _, g := range groups {
			g.Verdicts = make([]Verdict, len(g.Ballots))
			if err := record(tx, g); err != nil {
				return err
			}
		}
		return nil
	})
}

// insertParticipation is the whole of "one effective ballot per voter". Whether the poll takes ballots
// at this instant, whether the sealed ballot is a copy, and whether the voter has voted are all decided
// in this one statement, by the database and its clock.
const insertParticipation = `
WITH now (ms) AS MATERIALIZED (SELECT poll_clock()),
     row (bytes) AS MATERIALIZED (SELECT unhex(value) FROM json_each(?))
INSERT INTO participation (poll, voter, key_hash, req_hash)
SELECT p.no, substr(bytes, 1, 32), substr(bytes, 33, 16), substr(bytes, 49, 16)
  FROM polls p, now, row
 WHERE p.id = ? AND p.state = 'open' AND p.opens_at <= now.ms AND now.ms < p.closes_at
   AND substr(bytes, 97) = CAST(p.sealed_size AS BLOB)
   AND NOT EXISTS (SELECT 1 FROM leaves l WHERE l.poll = p.no AND l.leaf = substr(bytes, 65, 32))
    ON CONFLICT DO NOTHING
RETURNING voter`

func record(tx *gorm.DB, g *Group) error {
	fresh, err := participate(tx, g)
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		if err := fill(tx, g, fresh); err != nil {
			return err
		}
	}
	if len(fresh) < len(g.Ballots) {
		return judge(tx, g)
	}
	return nil
}

// participate inserts the voters, in the order of their tags, and returns the places in g.Ballots of
// those who had not voted.
func participate(tx *gorm.DB, g *Group) ([]int, error) {
	order := make([]int, 0, len(g.Ballots))
	place := make(map[[32]byte]int, len(g.Ballots))
	for i := range g.Ballots {
		if !g.Ballots[i].Second {
			order = append(order, i)
			place[g.Ballots[i].Voter] = i
		}
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(g.Ballots[a].Voter[:], g.Ballots[b].Voter[:]) })
	rows := newJSON(len(order), 96+4)
	for _, i := range order {
		b := &g.Ballots[i]
		rows.row(b.Voter[:], b.KeyHash[:], b.ReqHash[:], b.Leaf[:], strconv.AppendInt(nil, int64(len(b.Sealed)), 10))
	}
	result, err := tx.Raw(insertParticipation, rows.String(), g.Poll).Rows()
	if err != nil {
		return nil, fmt.Errorf("couldn't insert the voters: %w", err)
	}
	defer func() { _ = result.Close() }()
	fresh := make([]int, 0, len(order))
	var voter [32]byte
	var raw []byte
	for result.Next() {
		if err := result.Scan(&raw); err != nil {
			return nil, fmt.Errorf("couldn't read the inserted voters: %w", err)
		}
		copy(voter[:], raw)
		fresh = append(fresh, place[voter])
	}
	if err := result.Err(); err != nil {
		return nil, fmt.Errorf("couldn't insert the voters: %w", err)
	}
	return fresh, nil
}

const (
	insertBatch    = `INSERT INTO batches (id, poll, jws, leaves, sealed) SELECT ?, no, ?, ?, ? FROM polls WHERE id = ?`
	insertUnlogged = `INSERT INTO unlogged (poll, batch) SELECT no, ? FROM polls WHERE id = ?`
	insertLeaves   = `
INSERT INTO leaves (poll, leaf, batch, place)
SELECT p.no, unhex(j.value), ?, j.key FROM polls p, json_each(?) j WHERE p.id = ?`
	countTurnout = `
INSERT INTO turnout (poll, minute, channel, ballots)
SELECT p.no, poll_clock() / 60000, j.key, j.value FROM polls p, json_each(?) j WHERE p.id = ?
    ON CONFLICT DO UPDATE SET ballots = ballots + excluded.ballots`
	countTook = `
INSERT INTO took (poll, up_to, ballots)
SELECT p.no, CAST(j.key AS INTEGER), j.value FROM polls p, json_each(?) j WHERE p.id = ?
    ON CONFLICT DO UPDATE SET ballots = ballots + excluded.ballots`
	updatePeak = `UPDATE polls SET peak = ?, peak_at = ? WHERE id = ? AND peak < ?`
)

// fill puts the fresh ballots into the box, in the order of their leaves, and counts them.
func fill(tx *gorm.DB, g *Group, fresh []int) error {
	slices.SortFunc(fresh, func(a, b int) int { return bytes.Compare(g.Ballots[a].Leaf[:], g.Ballots[b].Leaf[:]) })
	leaves := make([][32]byte, len(fresh))
	rows := newJSON(len(fresh), 32)
	sealed := make([]byte, 0, len(fresh)*len(g.Ballots[fresh[0]].Sealed))
	channels, took := map[string]int{}, map[string]int{}
	for place, i := range fresh {
		b := &g.Ballots[i]
		leaves[place] = b.Leaf
		rows.row(b.Leaf[:])
		sealed = append(sealed, b.Sealed...)
		channels[b.Channel]++
		took[strconv.Itoa(b.TookUpTo)]++
	}
	batch, err := g.Seal(leaves)
	if err != nil {
		return err
	}
	statements := []struct {
		what, sql string
		args      []any
	}{
		{"the batch", insertBatch, []any{batch.ID[:], batch.JWS, joined(leaves), sealed, g.Poll}},
		{"the batch for the log", insertUnlogged, []any{batch.ID[:], g.Poll}},
		{"the leaves", insertLeaves, []any{batch.ID[:], rows.String(), g.Poll}},
		{"the turnout", countTurnout, []any{counters(channels), g.Poll}},
		{"the time to vote", countTook, []any{counters(took), g.Poll}},
	}
	for _, st := range statements {
		if err := tx.Exec(st.sql, st.args...).Error; err != nil {
			return fmt.Errorf("couldn't insert %s: %w", st.what, err)
		}
	}
	if peak := g.Peak(len(fresh)); peak != nil {
		if err := tx.Exec(updatePeak, peak.Ballots, peak.At, g.Poll, peak.Ballots).Error; err != nil {
			return fmt.Errorf("couldn't update the peak: %w", err)
		}
	}
	for place, i := range fresh {
		g.Verdicts[i] = Verdict{Judgement: Recorded, Fresh: true, Batch: batch, Place: place}
	}
	return nil
}

const (
	readPoll = `SELECT state, opens_at, closes_at, sealed_size, poll_clock() AS now FROM polls WHERE id = ?`
	// readRest looks up what kept the others out: their voters' rows, and who has their leaf.
	readRest = `
WITH row (place, bytes) AS MATERIALIZED (
	SELECT CAST(substr(value, 129) AS INTEGER), unhex(substr(value, 1, 128)) FROM json_each(?))
SELECT row.place, v.key_hash, v.req_hash, b.batch, b.place AS batch_place
  FROM polls p, row
  LEFT JOIN participation v ON v.poll = p.no AND v.voter = substr(bytes, 1, 32)
  LEFT JOIN leaves b ON b.poll = p.no AND b.leaf = substr(bytes, 33, 32)
 WHERE p.id = ?`
)

type pollNow struct {
	State      string
	OpensAt    int64
	ClosesAt   int64
	SealedSize int
	Now        int64
}

// judgement is what the poll itself says to a ballot; Again if nothing.
func (p *pollNow) judgement() Judgement {
	switch {
	case p.State == "":
		return NoPoll
	case p.State == string(poll.Draft):
		return NotOpen
	case p.State == string(poll.Closed), p.State == string(poll.Counted), p.State == string(poll.Published), p.Now >= p.ClosesAt:
		return Closed
	case p.State == string(poll.Paused):
		return Paused
	case p.Now < p.OpensAt:
		return NotOpen
	}
	return Again
}

// rest is one row of readRest.
type rest struct {
	Place      int
	KeyHash    []byte
	ReqHash    []byte
	Batch      []byte
	BatchPlace int
}

// judge says of every ballot that was not recorded why not. It only explains: it runs after the insert
// in the same transaction, and decides nothing.
func judge(tx *gorm.DB, g *Group) error {
	var now pollNow
	if err := tx.Raw(readPoll, g.Poll).Scan(&now).Error; err != nil {
		return fmt.Errorf("couldn't read the poll: %w", err)
	}
	whole := now.judgement()
	rows := newJSON(len(g.Ballots), 64+8)
	for i := range g.Ballots {
		if v := &g.Verdicts[i]; v.Judgement != Recorded {
			v.Judgement = whole
			// The place in plain digits, after the hex.
			rows.rowThen(strconv.AppendInt(nil, int64(i), 10), g.Ballots[i].Voter[:], g.Ballots[i].Leaf[:])
		}
	}
	var found []rest
	if err := tx.Raw(readRest, rows.String(), g.Poll).Scan(&found).Error; err != nil {
		return fmt.Errorf("couldn't read the voters' rows: %w", err)
	}
	batches := map[[16]byte]*Batch{}
	for _, r := range found {
		b, v := &g.Ballots[r.Place], &g.Verdicts[r.Place]
		voted := r.KeyHash != nil
		switch {
		case bytes.Equal(r.ReqHash, b.ReqHash[:]) && r.Batch != nil:
			// A retry gets its receipt, whatever has become of the poll since.
			batch, err := readBatch(tx, [16]byte(r.Batch), batches)
			if err != nil {
				return err
			}
			v.Judgement, v.Batch, v.Place = Recorded, batch, r.BatchPlace
		case whole != Again:
		case len(b.Sealed) != now.SealedSize:
			v.Judgement = WrongSize
		case bytes.Equal(r.KeyHash, b.KeyHash[:]):
			v.Judgement = KeyReused
		case voted:
			v.Judgement = AlreadyVoted
		case r.Batch != nil:
			v.Judgement = Copied
		}
	}
	return nil
}

func readBatch(tx *gorm.DB, id [16]byte, known map[[16]byte]*Batch) (*Batch, error) {
	if b := known[id]; b != nil {
		return b, nil
	}
	var row struct {
		JWS    string `gorm:"column:jws"`
		Leaves []byte
	}
	if err := tx.Raw(`SELECT jws, leaves FROM batches WHERE id = ?`, id[:]).Scan(&row).Error; err != nil {
		return nil, fmt.Errorf("couldn't read a batch: %w", err)
	}
	b := &Batch{ID: id, Leaves: split(row.Leaves), JWS: row.JWS}
	known[id] = b
	return b, nil
}

// joined lays hashes end to end.
func joined(hashes [][32]byte) []byte {
	out := make([]byte, 0, 32*len(hashes))
	for i := range hashes {
		out = append(out, hashes[i][:]...)
	}
	return out
}

// split takes them apart again.
func split(b []byte) [][32]byte {
	out := make([][32]byte, len(b)/32)
	for i := range out {
		copy(out[i][:], b[32*i:])
	}
	return out
}

// counters writes a small map of numbers as JSON, its keys being plain words and digits.
func counters(m map[string]int) string {
	b := []byte{'{'}
	for k, n := range m {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, k)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return string(append(b, '}'))
}

// rowsJSON is a JSON array of hex strings, one a row, for json_each: SQLite's way to take many rows in
// one statement. Hex needs no escaping, and unhex is cheap.
type rowsJSON struct{ b []byte }

func newJSON(rows, width int) *rowsJSON {
	b := make([]byte, 0, rows*(2*width+3)+2)
	return &rowsJSON{append(b, '[')}
}

func (r *rowsJSON) row(fields ...[]byte) { r.rowThen(nil, fields...) }

func (r *rowsJSON) rowThen(plain []byte, fields ...[]byte) {
	if len(r.b) > 1 {
		r.b = append(r.b, ',')
	}
	r.b = append(r.b, '"')
	for _, f := range fields {
		r.b = hex.AppendEncode(r.b, f)
	}
	r.b = append(r.b, plain...)
	r.b = append(r.b, '"')
}

// String ends the array.
func (r *rowsJSON) String() string { return string(append(r.b, ']')) }
