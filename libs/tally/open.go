package tally

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// batchSize is how many ballots go to a worker at once: enough to make the hand-over cheap.
const batchSize = 256

// mark ends a plain ballot's text; zeros follow it up to the poll's ballot size.
const mark = 0x80

// taker is what one worker does with the ballots it opened; it is one goroutine's.
type taker interface {
	// take gets a plain ballot without its padding. An error means that it is not a valid one.
	take(text []byte) error
}

// openAll opens sealed ballots on all processors, each worker with a taker of its own, and says how many
// there were and how many of them were not valid.
func openAll(ctx context.Context, m *poll.Manifest, scalar []byte, ballots iter.Seq2[[]byte, error], progress func(done int64), newTaker func() taker) (total, invalid int64, err error) {
	if progress == nil {
		progress = func(int64) {}
	}
	opener, err := ballot.NewOpener(m.ID, scalar)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	if opener.Key() != m.Ballot.TallyKey {
		return 0, 0, ErrWrongKey
	}
	var done, bad atomic.Int64
	var workers sync.WaitGroup
	batches := make(chan [][]byte, runtime.GOMAXPROCS(0))
	for range cap(batches) {
		to := newTaker()
		workers.Go(func() {
			for batch := range batches {
				for _, sealed := range batch {
					if open(opener, m.Ballot.Size, sealed, to) != nil {
						bad.Add(1)
					}
				}
				done.Add(int64(len(batch)))
			}
		})
	}
	total, err = deal(ctx, ballots, batches, func() { progress(done.Load()) })
	close(batches)
	workers.Wait()
	if err != nil {
		return 0, 0, err
	}
	progress(total)
	return total, bad.Load(), nil
}

func open(opener *ballot.Opener, size int, sealed []byte, to taker) error {
	plain, err := opener.Open(sealed)
	if err != nil {
		return err
	}
	text, ends := bytes.CutSuffix(bytes.TrimRight(plain, "\x00"), []byte{mark})
	if len(plain) != size || !ends {
		return ballot.ErrInvalid
	}
	return to.take(text)
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
