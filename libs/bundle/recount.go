package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// openedLines yields the opened ballots, and holds them to their order and number.
func (v *verifier) openedLines(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var last []byte
		var n int64
		for line, err := range v.archive.lines(openedFile) {
			n++
			switch {
			case err != nil:
			case n > v.ballots:
				err = fmt.Errorf("%s has more lines than there are ballots", openedFile)
			case n > 1 && bytes.Compare(last, line) > 0:
				err = fmt.Errorf("line %d of %s is out of order: the order may tell who voted how", n, openedFile)
			case n%1024 == 0:
				if ctx.Err() != nil {
					return
				}
				v.progress("opened", n, v.ballots)
			}
			last = append(last[:0], line...)
			if err == nil && v.reopens {
				v.openedSet.Add(line)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
		v.progress("opened", n, n)
	}
}

func (v *verifier) openedChecks(ctx context.Context) {
	v.opened = -1
	skip := ""
	switch {
	case !v.sound:
		skip = "the manifest is not sound"
	case v.ballots < 0:
		skip = "the sealed ballots could not be read to the end"
	}
	if skip != "" {
		v.report.notPossible(CheckOpened, "%s", skip)
		v.report.notPossible(CheckRecount, "%s", skip)
		return
	}
	questions, n, err := tally.Recount(ctx, v.manifest, v.openedLines(ctx))
	if err != nil {
		v.report.failed(CheckOpened, "%v", err)
		v.report.notPossible(CheckRecount, "the opened ballots are not all valid")
		return
	}
	v.opened = n
	v.report.ok(CheckOpened, "%d ballots", n)
	switch {
	case v.result == nil:
		v.report.notPossible(CheckRecount, "there is no valid result")
	case !reflect.DeepEqual(questions, v.result.Questions):
		v.report.failed(CheckRecount, "%s", difference(questions, v.result.Questions))
	default:
		v.report.ok(CheckRecount, "")
	}
}

// difference says where a recount and a result first differ.
func difference(counted, claimed []tally.QuestionResult) string {
	if len(counted) != len(claimed) {
		return fmt.Sprintf("the result is about %d questions; the poll has %d", len(claimed), len(counted))
	}
	for i, c := range counted {
		r := claimed[i]
		if c.ID != r.ID || len(c.Options) != len(r.Options) {
			return fmt.Sprintf("the result's question %q is not the poll's %q", r.ID, c.ID)
		}
		for j, o := range c.Options {
			if o != r.Options[j] {
				return fmt.Sprintf("%s: counted %d votes for %s; the result says %d for %s", c.ID, o.Votes, o.ID, r.Options[j].Votes, r.Options[j].ID)
			}
		}
		if c.Unanswered != r.Unanswered {
			return fmt.Sprintf("%s: counted %d unanswered; the result says %d", c.ID, c.Unanswered, r.Unanswered)
		}
	}
	return "the result has another form than the recount"
}

func (v *verifier) numberChecks() {
	switch {
	case v.result == nil || v.ballots < 0 || v.opened < 0:
		v.report.notPossible(CheckNumbers, "the ballots or the result could not be read")
	case v.ballots != v.result.Ballots:
		v.report.failed(CheckNumbers, "there are %d sealed ballots; the result is of %d", v.ballots, v.result.Ballots)
	case v.opened+v.result.Invalid != v.ballots:
		v.report.failed(CheckNumbers, "%d opened and %d invalid ballots do not make %d", v.opened, v.result.Invalid, v.ballots)
	default:
		v.report.ok(CheckNumbers, "%d valid, %d invalid", v.opened, v.result.Invalid)
	}
}

// reopenable finds the key to open the sealed ballots with, or says why that is not possible.
func (v *verifier) reopenable() bool {
	scalar, there, err := v.revealedKey()
	switch {
	case err != nil:
		v.report.failed(CheckReopened, "%v", err)
	case there != v.manifest.RevealTallyKey:
		v.report.failed(CheckReopened, "the manifest says reveal_tally_key %t, but the bundle has%s the key", v.manifest.RevealTallyKey, map[bool]string{false: " not"}[there])
	case !there && v.scalar == nil:
		v.report.notPossible(CheckReopened, "the tally key is not revealed, so that nobody can be made to prove how they voted: that the opened ballots are those of the log rests on the trustees and the operator together")
	case !v.sound || v.result == nil:
		v.report.notPossible(CheckReopened, "the ballots or the result could not be read")
	default:
		if there {
			v.scalar = scalar
		}
		return true
	}
	return false
}

// reopenChecks compares what was found in the sealed ballots with what was published.
func (v *verifier) reopenChecks() {
	switch found := v.reopened; {
	case !v.reopens:
		// It is said already.
	case errors.Is(v.reopenError, tally.ErrWrongKey):
		v.report.failed(CheckReopened, "%v", v.reopenError)
	case v.reopenError != nil || v.opened < 0:
		v.report.notPossible(CheckReopened, "the ballots or the result could not be read")
	case found.Valid.Len() != v.opened:
		v.report.failed(CheckReopened, "%d valid ballots were found; the bundle has %d", found.Valid.Len(), v.opened)
	case found.Invalid != v.result.Invalid:
		v.report.failed(CheckReopened, "%d invalid ballots were found; the result says %d", found.Invalid, v.result.Invalid)
	case !reflect.DeepEqual(found.Questions, v.result.Questions):
		v.report.failed(CheckReopened, "%s", difference(found.Questions, v.result.Questions))
	case !found.Valid.Equal(v.openedSet):
		v.report.failed(CheckReopened, "the ballots of %s are not those that were found in the sealed ones, although they add up to the same", openedFile)
	default:
		v.report.ok(CheckReopened, "every ballot was opened and counted again")
	}
}

func (v *verifier) revealedKey() (scalar []byte, there bool, err error) {
	if v.archive.files[tallyKeyFile] == nil {
		return nil, false, nil
	}
	data, err := v.archive.read(tallyKeyFile)
	if err != nil {
		return nil, true, err
	}
	scalar, public, err := trustee.ReadKey(bytes.NewReader(data))
	if err != nil {
		return nil, true, err
	}
	if public != v.manifest.Ballot.TallyKey {
		return nil, true, fmt.Errorf("%s is not the manifest's tally key", tallyKeyFile)
	}
	return scalar, true, nil
}
