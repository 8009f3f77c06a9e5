package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	return s.RecordTelling(ctx, groups, func() {})
}

// RecordTelling is Record that says when the last statement is done and the commit, which mostly waits, is
// all that is left: the next batch's statements need not wait for it. committing may be called again, if
// the transaction has to be run again, and is not called if it fails before.
func (s *Store) RecordTelling(ctx context.Context, groups []*Group, committing func()) error {
	// Two servers that record ballots of the same polls do so in the same order.
	groups = slices.Clone(groups)
	slices.SortFunc(groups, func(a, b *Group) int { return strings.Compare(a.Poll, b.Poll) })
	insert, tried := s.inserting(), false
	return s.engine.transact(ctx, withVotes, func(tx *gorm.DB) error {
		if tried {
			s.wary.Store(waryFor)
			insert = s.d.insertParticipation
		}
		tried = true
		for _, g := range groups {
			g.Verdicts = make([]Verdict, len(g.Ballots))
			if err := s.record(tx, g, insert); err != nil {
				return err
			}
		}
		committing()
		return nil
	})
}

// waryFor is how many batches follow one that had to be run again in which copies are looked for. A copy
// comes from somebody who is after something, and rarely alone.
const waryFor = 1000

// inserting is the statement that voters are inserted with. Looking for a copy of each ballot is an eighth
// of the database's work, and there are none: the index on leaves finds them anyway, at the price of running
// the batch again.
func (s *Store) inserting() string {
	switch {
	case s.d.insertTrusting == "":
		return s.d.insertParticipation
	case s.wary.Load() > 0:
		s.wary.Add(-1)
		return s.d.insertParticipation
	}
	return s.d.insertTrusting
}

// AtOnce is how many batches it can record at a time, all but one of which are being committed.
func (s *Store) AtOnce() int { return s.engine.atOnce() }

func (s *Store) record(tx *gorm.DB, g *Group, insert string) error {
	fresh, err := s.participate(tx, g, insert)
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		if err := s.fill(tx, g, fresh); err != nil {
			return err
		}
	}
	if len(fresh) < len(g.Ballots) {
		return s.judge(tx, g)
	}
	return nil
}

// participate inserts the voters, in the order of their tags, and returns the places in g.Ballots of
// those who had not voted.
func (s *Store) participate(tx *gorm.DB, g *Group, insert string) ([]int, error) {
	order := make([]int, 0, len(g.Ballots))
	place := make(map[[32]byte]int, len(g.Ballots))
	for i := range g.Ballots {
		if !g.Ballots[i].Second {
			order = append(order, i)
			place[g.Ballots[i].Voter] = i
		}
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(g.Ballots[a].Voter[:], g.Ballots[b].Voter[:]) })
	ballots := newRows(len(order), 96+4)
	for _, i := range order {
		b := &g.Ballots[i]
		ballots.row(b.Voter[:], b.KeyHash[:], b.ReqHash[:], b.Leaf[:], strconv.AppendInt(nil, int64(len(b.Sealed)), 10))
	}
	result, err := tx.Raw(insert, s.d.rows(ballots), g.Poll).Rows()
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

const updatePeak = `UPDATE polls SET peak = ?, peak_at = ? WHERE id = ? AND peak < ?`

// fill puts the fresh ballots into the box, in the order of their leaves, and counts them.
func (s *Store) fill(tx *gorm.DB, g *Group, fresh []int) error {
	slices.SortFunc(fresh, func(a, b int) int { return bytes.Compare(g.Ballots[a].Leaf[:], g.Ballots[b].Leaf[:]) })
	leaves := make([][32]byte, len(fresh))
	f := &filling{
		poll: g.Poll, leaves: newRows(len(fresh), 32),
		sealed: make([]byte, 0, len(fresh)*len(g.Ballots[fresh[0]].Sealed)),
	}
	for place, i := range fresh {
		b := &g.Ballots[i]
		leaves[place] = b.Leaf
		f.leaves.row(b.Leaf[:])
		f.sealed = append(f.sealed, b.Sealed...)
		f.channels.add(b.Channel)
		f.took.add(b.TookUpTo)
	}
	batch, err := g.Seal(leaves)
	if err != nil {
		return err
	}
	f.batch = batch
	if err := s.d.fill(tx, f); err != nil {
		return err
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

const readPoll = `SELECT state, opens_at, closes_at, sealed_size, poll_clock() AS now FROM polls WHERE id = ?`

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

// rest is one row of findRest.
type rest struct {
	Place      int
	KeyHash    []byte
	ReqHash    []byte
	Batch      []byte
	BatchPlace int
}

// judge says of every ballot that was not recorded why not. It only explains: it runs after the insert
// in the same transaction, and decides nothing.
func (s *Store) judge(tx *gorm.DB, g *Group) error {
	var now pollNow
	if err := tx.Raw(readPoll, g.Poll).Scan(&now).Error; err != nil {
		return fmt.Errorf("couldn't read the poll: %w", err)
	}
	whole := now.judgement()
	left := newRows(len(g.Ballots), 64+4)
	for i := range g.Ballots {
		if v := &g.Verdicts[i]; v.Judgement != Recorded {
			v.Judgement = whole
			left.row(g.Ballots[i].Voter[:], g.Ballots[i].Leaf[:], strconv.AppendInt(nil, int64(i), 10))
		}
	}
	var found []rest
	if err := tx.Raw(s.d.findRest, s.d.rows(left), g.Poll).Scan(&found).Error; err != nil {
		return fmt.Errorf("couldn't read the voters' rows: %w", err)
	}
	met := slices.ContainsFunc(found, func(r rest) bool { return r.KeyHash != nil || r.Batch != nil })
	if met && s.d.mark != "" {
		// What was found here may be in this server's memory and disk only. Nobody is told of it before the
		// standby has it, too.
		if err := tx.Exec(s.d.mark).Error; err != nil {
			return fmt.Errorf("couldn't mark the transaction: %w", err)
		}
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

// split takes hashes apart that lie end to end.
func split(b []byte) [][32]byte {
	out := make([][32]byte, len(b)/32)
	for i := range out {
		copy(out[i][:], b[32*i:])
	}
	return out
}
