package tally

import (
	"context"
	"iter"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// Reopened is what was found in sealed ballots.
type Reopened struct {
	Ballots, Invalid int64
	Questions        []QuestionResult
	// Valid are the valid ballots in their plain form, without padding.
	Valid *Multiset
}

// Reopen counts as Count does, but keeps no ballot: whether the valid ones are those that somebody
// published is told by Multiset. The memory it takes does not grow with the ballots.
func Reopen(ctx context.Context, m *poll.Manifest, scalar []byte, ballots iter.Seq2[[]byte, error], key MultisetKey, progress func(done int64)) (*Reopened, error) {
	var adders []*adder
	total, invalid, err := openAll(ctx, m, scalar, ballots, progress, func() taker {
		a := &adder{manifest: m, tally: newTally(m), known: make(map[string]ballot.Answers), set: NewMultiset(key)}
		adders = append(adders, a)
		return a
	})
	if err != nil {
		return nil, err
	}
	sum := adders[0]
	for _, a := range adders[1:] {
		sum.tally.merge(a.tally)
		sum.set.Merge(a.set)
	}
	return &Reopened{Ballots: total, Invalid: invalid, Questions: sum.tally.questions, Valid: sum.set}, nil
}

// maxKnown is how many different ballots an adder remembers the meaning of.
const maxKnown = 1024

// adder counts ballots and forgets them.
type adder struct {
	manifest *poll.Manifest
	tally    *tally
	known    map[string]ballot.Answers
	set      *Multiset
}

func (a *adder) take(text []byte) error {
	answers, known := a.known[string(text)]
	if !known {
		var err error
		if answers, err = decode(a.manifest, text); err != nil {
			return err
		}
		if len(a.known) < maxKnown {
			a.known[string(text)] = answers
		}
	}
	a.tally.add(answers, 1)
	a.set.Add(text)
	return nil
}
