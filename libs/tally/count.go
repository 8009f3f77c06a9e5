package tally

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// ErrWrongKey means that the private key is not that of the key the ballots were sealed to.
var ErrWrongKey = errors.New("this is not the tally key of the poll")

// Counted is a finished count.
type Counted struct {
	// Result lacks Log and CountedAt, which only the caller knows.
	Result Result
	forms  []form
}

// form is a plain ballot without padding, and how many voters cast it.
type form struct {
	text  string
	often int64
}

// Opened yields the valid ballots in their canonical plain form, without padding, sorted: nothing is left
// of the order they were cast in. Equal ballots share their memory; do not change them. The error is
// always nil.
func (c *Counted) Opened() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, f := range c.forms {
			plain := []byte(f.text)
			for range f.often {
				if !yield(plain, nil) {
					return
				}
			}
		}
	}
}

// Count opens sealed ballots with the trustees' private key (32 bytes) and counts them, on all
// processors. A ballot that cannot be opened or read is counted as invalid, whatever is in it.
//
// Only a few batches of sealed ballots are held at a time, and each different plain ballot once. The
// sequence must not reuse a slice it gave; its first error ends the count. The payload is that of the
// manifest's JWS, and goes into the result. Progress, if not nil, is called on the caller's goroutine
// with the number of ballots opened so far.
func Count(ctx context.Context, m *poll.Manifest, manifestPayload, scalar []byte, ballots iter.Seq2[[]byte, error], progress func(done int64)) (*Counted, error) {
	var collectors []*collector
	total, invalid, err := openAll(ctx, m, scalar, ballots, progress, func() taker {
		c := &collector{manifest: m, often: make(map[string]int64)}
		collectors = append(collectors, c)
		return c
	})
	if err != nil {
		return nil, err
	}
	often := collectors[0].often
	for _, c := range collectors[1:] {
		for text, n := range c.often {
			often[text] += n
		}
		clear(c.often)
	}
	counted := &Counted{forms: make([]form, 0, len(often))}
	for text, n := range often {
		counted.forms = append(counted.forms, form{text, n})
	}
	clear(often)
	slices.SortFunc(counted.forms, func(a, b form) int { return strings.Compare(a.text, b.text) })

	tally := newTally(m)
	for _, f := range counted.forms {
		answers, err := decode(m, []byte(f.text))
		if err != nil {
			return nil, fmt.Errorf("couldn't read a ballot again: %w", err)
		}
		tally.add(answers, f.often)
	}
	digest := sha256.Sum256(manifestPayload)
	counted.Result = Result{
		Poll: m.ID, Ballots: total, Invalid: invalid, Questions: tally.questions,
		TallyKeyID: m.Ballot.TallyKey.Kid, ManifestSHA256: hex.EncodeToString(digest[:]),
	}
	return counted, nil
}

// collector keeps each different ballot, and how often it occurred: ballots are many and their contents
// few, so each is read only once.
type collector struct {
	manifest *poll.Manifest
	often    map[string]int64
}

func (c *collector) take(text []byte) error {
	if _, known := c.often[string(text)]; !known {
		if _, err := decode(c.manifest, text); err != nil {
			return err
		}
	}
	c.often[string(text)]++
	return nil
}

// InvalidBallotError means that an opened ballot is not a valid one of the poll.
type InvalidBallotError struct {
	// Number is the ballot's place, from 1.
	Number int64
	Cause  error
}

func (e *InvalidBallotError) Error() string {
	return fmt.Sprintf("opened ballot %d is not valid: %v", e.Number, e.Cause)
}

// Unwrap returns the cause.
func (e *InvalidBallotError) Unwrap() error { return e.Cause }

// Recount counts opened ballots (canonical plain form, without padding) without any key. The first that
// is not valid ends it, with *InvalidBallotError. It holds one ballot; equal ones side by side, as in a
// sorted list, are read only once.
func Recount(ctx context.Context, m *poll.Manifest, opened iter.Seq2[[]byte, error]) (questions []QuestionResult, ballots int64, err error) {
	tally := newTally(m)
	var last []byte
	var answers ballot.Answers
	for plain, err := range opened {
		if err != nil {
			return nil, 0, err
		}
		if ballots++; ballots%batchSize == 0 && ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if ballots == 1 || !bytes.Equal(plain, last) {
			if answers, err = decode(m, plain); err != nil {
				return nil, 0, &InvalidBallotError{Number: ballots, Cause: err}
			}
			last = append(last[:0], plain...)
		}
		tally.add(answers, 1)
	}
	return tally.questions, ballots, nil
}

// tally is the running count of one poll.
type tally struct {
	questions []QuestionResult
	// option gives each question's options their places.
	option []map[string]int
}

func newTally(m *poll.Manifest) *tally {
	t := &tally{questions: make([]QuestionResult, len(m.Questions)), option: make([]map[string]int, len(m.Questions))}
	for i, q := range m.Questions {
		t.questions[i] = QuestionResult{ID: q.ID, Options: make([]OptionResult, len(q.Options))}
		t.option[i] = make(map[string]int, len(q.Options))
		for j, o := range q.Options {
			t.questions[i].Options[j].ID = o.ID
			t.option[i][o.ID] = j
		}
	}
	return t
}

// add counts n equal ballots.
func (t *tally) add(answers ballot.Answers, n int64) {
	for i, picked := range answers {
		if len(picked) == 0 {
			t.questions[i].Unanswered += n
		}
		for _, id := range picked {
			t.questions[i].Options[t.option[i][id]].Votes += n
		}
	}
}

// merge adds what another tally of the same poll has counted.
func (t *tally) merge(other *tally) {
	for i, q := range other.questions {
		t.questions[i].Unanswered += q.Unanswered
		for j, o := range q.Options {
			t.questions[i].Options[j].Votes += o.Votes
		}
	}
}

// decode reads a plain ballot without its padding.
func decode(m *poll.Manifest, text []byte) (ballot.Answers, error) {
	if len(text) >= m.Ballot.Size {
		return nil, fmt.Errorf("it has %d bytes, more than fit into %d", len(text), m.Ballot.Size)
	}
	padded := make([]byte, m.Ballot.Size)
	padded[copy(padded, text)] = mark
	return ballot.Decode(m, padded)
}
