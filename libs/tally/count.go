package tally

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// ErrWrongKey means that the private key is not that of the key the ballots were sealed to.
var ErrWrongKey = errors.New("this is not the tally key of the poll")

// Counted is a finished count.
type Counted struct {
	// Result lacks Log and CountedAt, which only the caller knows.
	Result Result
	// Opened are the valid ballots in their canonical plain form, without padding, sorted: nothing is
	// left of the order they were cast in. Equal ballots share their memory; do not change them.
	Opened [][]byte
}

// batchSize is how many ballots go to a worker at once: enough to make the hand-over cheap.
const batchSize = 256

// Count opens sealed ballots with the trustees' private key (32 bytes) and counts them, on all
// processors. A ballot that cannot be opened or read is counted as invalid, whatever is in it.
//
// Only a few batches of sealed ballots are held at a time. The sequence must not reuse a slice it gave;
// its first error ends the count. The payload is that of the manifest's JWS, and goes into the result.
// Progress, if not nil, is called on the caller's goroutine with the number of ballots opened so far.
func Count(ctx context.Context, m *poll.Manifest, manifestPayload, scalar []byte, ballots iter.Seq2[[]byte, error], progress func(done int64)) (*Counted, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	opener, err := ballot.NewOpener(m.ID, scalar)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	if opener.Key() != m.Ballot.TallyKey {
		return nil, ErrWrongKey
	}
	workers := make([]*worker, runtime.GOMAXPROCS(0))
	for i := range workers {
		workers[i] = &worker{manifest: m, opener: opener, valid: make(map[string]int64)}
	}

	var done atomic.Int64
	var wg sync.WaitGroup
	batches := make(chan [][]byte, len(workers))
	for _, w := range workers {
		wg.Go(func() {
			for batch := range batches {
				for _, sealed := range batch {
					w.open(sealed)
				}
				done.Add(int64(len(batch)))
			}
		})
	}
	total, err := deal(ctx, ballots, batches, func() { progress(done.Load()) })
	close(batches)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	progress(total)

	forms := make(map[string]int64)
	var invalid int64
	for _, w := range workers {
		invalid += w.invalid
		for plain, n := range w.valid {
			forms[plain] += n
		}
	}
	counted, err := sum(m, forms)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(manifestPayload)
	counted.Result.Ballots = total
	counted.Result.Invalid = invalid
	counted.Result.ManifestSHA256 = hex.EncodeToString(digest[:])
	return counted, nil
}

// deal hands the ballots to the workers in batches.
func deal(ctx context.Context, ballots iter.Seq2[[]byte, error], batches chan<- [][]byte, tick func()) (total int64, err error) {
	batch := make([][]byte, 0, batchSize)
	send := func() error {
		select {
		case batches <- batch:
			batch = make([][]byte, 0, batchSize)
			tick()
			return nil
		case <-ctx.Done():
			return fmt.Errorf("couldn't finish the count: %w", context.Cause(ctx))
		}
	}
	for sealed, err := range ballots {
		if err != nil {
			return 0, fmt.Errorf("couldn't read ballot %d: %w", total+1, err)
		}
		total++
		if batch = append(batch, sealed); len(batch) == batchSize {
			if err := send(); err != nil {
				return 0, err
			}
		}
	}
	if err := send(); err != nil {
		return 0, err
	}
	return total, nil
}

// worker is one goroutine's share of a count. Ballots are many and their contents few, so it keeps how
// often each plain ballot occurred, and reads each only once.
type worker struct {
	manifest *poll.Manifest
	opener   *ballot.Opener
	valid    map[string]int64 // by padded plain ballot
	invalid  int64
}

func (w *worker) open(sealed []byte) {
	plain, err := w.opener.Open(sealed)
	if err != nil {
		w.invalid++
		return
	}
	if _, known := w.valid[string(plain)]; !known {
		if _, err := ballot.Decode(w.manifest, plain); err != nil {
			w.invalid++
			return
		}
	}
	w.valid[string(plain)]++
}

// sum counts plain ballots (padded) that were read before.
func sum(m *poll.Manifest, forms map[string]int64) (*Counted, error) {
	tally := newTally(m)
	often := make(map[string]int64, len(forms)) // by plain ballot without padding
	var total int64
	for padded, n := range forms {
		answers, err := ballot.Decode(m, []byte(padded))
		if err != nil {
			return nil, fmt.Errorf("couldn't read a ballot again: %w", err)
		}
		tally.add(answers, n)
		often[string(unpad([]byte(padded)))] = n
		total += n
	}
	opened := make([][]byte, 0, total)
	for _, form := range slices.Sorted(maps.Keys(often)) {
		plain := []byte(form)
		for range often[form] {
			opened = append(opened, plain)
		}
	}
	return &Counted{
		Result: Result{Poll: m.ID, Questions: tally.questions, TallyKeyID: m.Ballot.TallyKey.Kid},
		Opened: opened,
	}, nil
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
// is not valid ends it, with *InvalidBallotError.
func Recount(ctx context.Context, m *poll.Manifest, opened iter.Seq2[[]byte, error]) (questions []QuestionResult, ballots int64, err error) {
	tally := newTally(m)
	forms := make(map[string]ballot.Answers)
	for plain, err := range opened {
		if err != nil {
			return nil, 0, err
		}
		if ballots++; ballots%batchSize == 0 && ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		answers, known := forms[string(plain)]
		if !known {
			padded, err := pad(plain, m.Ballot.Size)
			if err == nil {
				answers, err = ballot.Decode(m, padded)
			}
			if err != nil {
				return nil, 0, &InvalidBallotError{Number: ballots, Cause: err}
			}
			forms[string(plain)] = answers
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

// pad and unpad are the ballot's padding: 0x80, then zeros to the poll's ballot size.
func pad(plain []byte, size int) ([]byte, error) {
	if len(plain) >= size {
		return nil, fmt.Errorf("it has %d bytes, more than fit into %d", len(plain), size)
	}
	padded := make([]byte, size)
	copy(padded, plain)
	padded[len(plain)] = 0x80
	return padded, nil
}

func unpad(padded []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimRight(padded, "\x00"), []byte{0x80})
}
