package bundle

import (
	"bytes"
	"context"
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

// reopenChecks opens every sealed ballot, where the key is there.
func (v *verifier) reopenChecks(ctx context.Context) {
	scalar, there, err := v.revealedKey()
	switch {
	case err != nil:
		v.report.failed(CheckReopened, "%v", err)
		return
	case there != v.manifest.RevealTallyKey:
		v.report.failed(CheckReopened, "the manifest says reveal_tally_key %t, but the bundle has%s the key", v.manifest.RevealTallyKey, map[bool]string{false: " not"}[there])
		return
	case !there && v.scalar == nil:
		v.report.notPossible(CheckReopened, "the tally key is not revealed, so that nobody can be made to prove how they voted: that the opened ballots are those of the log rests on the trustees and the operator together")
		return
	case !there:
		scalar = v.scalar
	}
	if !v.sound || v.opened < 0 || v.result == nil {
		v.report.notPossible(CheckReopened, "the ballots or the result could not be read")
		return
	}
	counted, err := tally.Count(ctx, v.manifest, v.manifestPayload, scalar, v.sealed(), func(done int64) {
		v.progress("reopen", done, v.ballots)
	})
	if err != nil {
		v.report.failed(CheckReopened, "%v", err)
		return
	}
	v.report.compare(CheckReopened, counted, v.result, v.openedLines(ctx))
}

func (r *Report) compare(id CheckID, counted *tally.Counted, result *tally.Result, lines iter.Seq2[[]byte, error]) {
	n := 0
	for line, err := range lines {
		if err != nil {
			r.failed(id, "%v", err)
			return
		}
		if n >= len(counted.Opened) || !bytes.Equal(line, counted.Opened[n]) {
			r.failed(id, "line %d of %s is not what was found in the sealed ballots", n+1, openedFile)
			return
		}
		n++
	}
	switch {
	case n != len(counted.Opened):
		r.failed(id, "%d valid ballots were found; the bundle has %d", len(counted.Opened), n)
	case counted.Result.Invalid != result.Invalid:
		r.failed(id, "%d invalid ballots were found; the result says %d", counted.Result.Invalid, result.Invalid)
	case !reflect.DeepEqual(counted.Result.Questions, result.Questions):
		r.failed(id, "%s", difference(counted.Result.Questions, result.Questions))
	default:
		r.ok(id, "every ballot was opened and counted again")
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

// sealed yields the sealed ballots.
func (v *verifier) sealed() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range v.archive.lines(ballotsFile) {
			var sealed []byte
			if err == nil {
				_, sealed, err = parseBallot(line)
			}
			if !yield(sealed, err) || err != nil {
				return
			}
		}
	}
}
