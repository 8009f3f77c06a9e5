package votecheck

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/problem"
)

// patience is how long the search may take for one voter. Histories of a few dozen casts take
// microseconds; what takes longer is reported, not passed over.
const patience = 10 * time.Second

// asked is one cast to the model; a read of the box if final.
type asked struct {
	key   string
	leaf  leaf
	final bool
}

// told is its answer; for a read, the voter's ballots in the box.
type told struct {
	kind Type
	code string
	box  []leaf
}

// voted is a voter's state: the zero value before the ballot.
type voted struct {
	has  bool
	key  string
	leaf leaf
}

// voterModel is the box as one voter may see it: empty, then one ballot for ever.
var voterModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{voted{}} },
	Step: func(state, input, output any) []any {
		var next []any
		for _, s := range step(state.(voted), input.(asked), output.(told)) {
			next = append(next, s)
		}
		return next
	},
}).ToModel()

// step returns the states in which the answer can have left the voter; none if it cannot be.
func step(was voted, in asked, out told) []voted {
	mine := voted{has: true, key: in.key, leaf: in.leaf}
	stays, never := []voted{was}, []voted(nil)
	if in.final {
		if len(out.box) == 0 && !was.has || len(out.box) == 1 && was.has && out.box[0] == was.leaf {
			return stays
		}
		return never
	}
	switch {
	case out.kind == Unknown && !was.has:
		return []voted{was, mine}
	case out.kind == Unknown:
		return stays
	case out.kind == OK && (!was.has || was == mine):
		return []voted{mine}
	case out.kind == OK:
		return never
	}
	possible := true
	switch problem.Code(out.code) {
	case problem.AlreadyVoted:
		possible = was.has && was.key != in.key
	case problem.IdempotencyKeyReused:
		possible = was.has && was.key == in.key && was.leaf != in.leaf
	case problem.PollClosed, problem.PollPaused, problem.PollNotOpen, problem.BallotCopied:
		// Whoever is in the box gets the receipt again, whatever has become of the poll.
		possible = was != mine
	}
	if !possible {
		return never
	}
	return stays
}

// checkVoters looks, for each voter, for an order of the casts that explains every answer and what is in
// the box at the end.
func (r *Report) checkVoters(events []Event, h history, f Final) {
	box := map[string][]leaf{}
	for _, sealed := range f.Sealed {
		l := ballot.Leaf(f.Manifest.ID, sealed)
		if s := h.ballots[l]; s != nil {
			box[s.voter] = append(box[s.voter], l)
		}
	}
	operations := byVoter(events, f.Manifest.ID)
	end := int64(len(events))
	for _, voter := range slices.Sorted(maps.Keys(operations)) {
		read := porcupine.Operation{
			Input: asked{final: true}, Output: told{box: box[voter]}, Call: end + 1, Return: end + 2,
		}
		switch porcupine.CheckOperationsTimeout(voterModel, append(operations[voter], read), patience) {
		case porcupine.Illegal:
			r.add(Disorder, voter, "no order of the %d casts explains the answers and the %d ballots in the box", len(operations[voter]), len(box[voter]))
		case porcupine.Unknown:
			r.add(Disorder, voter, "%d casts are too many to be judged within %s", len(operations[voter]), patience)
		}
	}
}

// byVoter makes operations of the events: the line in the history is the time. What ended in an unknown
// way may take effect at any time after; of several such tries of one ballot under one key the first says
// all that the others say, so they are left out, which keeps the search small.
func byVoter(events []Event, pollID string) map[string][]porcupine.Operation {
	ends := map[int64]int{}
	for i, e := range events {
		if e.Type == OK || e.Type == Fail || e.Type == Unknown {
			ends[e.Op] = i
		}
	}
	type try struct {
		voter, key string
		leaf       leaf
	}
	tried := map[try]bool{}
	operations := map[string][]porcupine.Operation{}
	for i, e := range events {
		if e.Type != Invoke {
			continue
		}
		in := asked{key: e.Key, leaf: ballot.Leaf(pollID, e.Sealed)}
		op := porcupine.Operation{Input: in, Call: int64(i), Output: told{kind: Unknown}, Return: math.MaxInt64}
		if at, ended := ends[e.Op]; ended && events[at].Type != Unknown {
			op.Output, op.Return = told{kind: events[at].Type, code: events[at].Code}, int64(at)
		} else {
			t := try{e.Voter, e.Key, in.leaf}
			if tried[t] {
				continue
			}
			tried[t] = true
		}
		operations[e.Voter] = append(operations[e.Voter], op)
	}
	return operations
}
