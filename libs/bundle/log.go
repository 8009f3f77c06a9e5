package bundle

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/tally"
)

// walk is the one way through the sealed ballots, and what was found on it.
type walk struct {
	tree  merkle
	marks []leafMark
	// wrong leaves, and the line of the first.
	wrong, first int64
	// done is whether it came to the end; err is why not, unless somebody stopped it.
	done bool
	err  error
}

// logChecks goes once through the sealed ballots, and has them opened on the way where there is a key:
// hashing one takes a twentieth of the time that opening it does.
func (v *verifier) logChecks(ctx context.Context) {
	v.ballots = -1
	w := &walk{marks: make([]leafMark, 0, v.expected())}
	if v.reopens {
		v.reopened, v.reopenError = tally.Reopen(ctx, v.manifest, v.scalar, v.walk(ctx, w, func(int64) {}), v.setKey, func(done int64) {
			v.progress("reopen", done, max(v.total(), done))
		})
	}
	if !v.reopens || w.tree.size == 0 && !w.done && w.err == nil { // not even begun: a wrong key
		for _, err := range v.walk(ctx, w, func(n int64) { v.progress("ballots", n, max(v.total(), n)) }) {
			if err != nil {
				break // the walk keeps it
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	if w.err != nil {
		v.report.failed(CheckLeaves, "%v", w.err)
		v.report.notPossible(CheckUnique, "the ballots could not be read to the end")
		v.report.notPossible(CheckRoot, "the ballots could not be read to the end")
	} else {
		v.ballots, v.report.Ballots = w.tree.size, w.tree.size
		v.walkChecks(w)
	}
	v.resultLogCheck()
}

// total is how many ballots there should be.
func (v *verifier) total() int64 {
	if v.head == nil {
		return 0
	}
	return v.head.Size
}

// expected is total, unless the file is too short to hold as many.
func (v *verifier) expected() int64 {
	const least = 120 // bytes of a line
	if f := v.archive.files[ballotsFile]; f != nil {
		return max(0, min(v.total(), int64(f.UncompressedSize64/least)))
	}
	return 0
}

// walk yields the sealed ballots. Its only error is the walk's, and ends it.
func (v *verifier) walk(ctx context.Context, w *walk, tick func(n int64)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range v.archive.lines(ballotsFile) {
			var leaf [32]byte
			var sealed []byte
			if err == nil {
				if leaf, sealed, err = parseBallot(line); err != nil {
					err = fmt.Errorf("line %d of %s: %w", w.tree.size+1, ballotsFile, err)
				}
			}
			if err != nil {
				w.err = err
				yield(nil, err)
				return
			}
			w.tree.add(tlog.Hash(leaf))
			w.marks = append(w.marks, leafMark(leaf[:]))
			if ballot.Leaf(v.manifest.ID, sealed) != leaf {
				if w.wrong++; w.wrong == 1 {
					w.first = w.tree.size
				}
			}
			for i := range v.receipts {
				if bytes.Equal(v.receipts[i].parsed.Leaf, leaf[:]) {
					v.receipts[i].place = w.tree.size
				}
			}
			if !yield(sealed, nil) {
				return
			}
			if w.tree.size%1024 == 0 {
				if ctx.Err() != nil {
					return
				}
				tick(w.tree.size)
			}
		}
		w.done = true
		tick(w.tree.size)
	}
}

// walkChecks says what a walk to the end has shown.
func (v *verifier) walkChecks(w *walk) {
	if w.wrong > 0 {
		v.report.failed(CheckLeaves, "%d leaves are not the hash of their ballot; the first is on line %d", w.wrong, w.first)
	} else {
		v.report.ok(CheckLeaves, "%d ballots", w.tree.size)
	}
	if n := repeated(w.marks); n > 0 {
		v.report.failed(CheckUnique, "%d ballots are there more than once", n)
	} else {
		v.report.ok(CheckUnique, "")
	}
	root := w.tree.root()
	switch {
	case v.head == nil:
		v.report.notPossible(CheckRoot, "there is no valid checkpoint")
	case w.tree.size != v.head.Size:
		v.report.failed(CheckRoot, "there are %d ballots; the checkpoint is of %d", w.tree.size, v.head.Size)
	case !bytes.Equal(root[:], v.head.Root):
		v.report.failed(CheckRoot, "the ballots make another root than the checkpoint's: one was changed, or their order was")
	default:
		v.report.ok(CheckRoot, "")
	}
}
