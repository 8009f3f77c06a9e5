package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

const (
	// epochMin is the fewest ballots the log takes at once while the poll goes on: in it, a ballot's place
	// says no more than that it came in with this many others.
	epochMin = 64
	// epochMax keeps one extension of the log from holding up SQLite's only writer: the rest of what waits
	// comes in transactions of its own, between which votes are recorded.
	epochMax = 1024
	// breath is how long the committer has the box to itself between two epochs: about what one takes.
	breath = 10 * time.Millisecond
)

// extendLogs extends the logs of all polls that have enough for an epoch, or are closed.
func (s *Server) extendLogs(ctx context.Context) error {
	pending, err := s.store.Unlogged(ctx)
	if err != nil {
		return err
	}
	for id, n := range pending {
		k, ok := s.cache.get(id)
		if !ok {
			continue
		}
		over := k.manifest.State != poll.Open && k.manifest.State != poll.Paused
		if n < epochMin && !over {
			continue
		}
		if err := s.extendLog(ctx, id, over); err != nil {
			return err
		}
	}
	return nil
}

// extendLog moves what waits into the log, epoch by epoch. The last few are left waiting for others,
// unless the poll is over. Each epoch is sorted by leaf: by a hash, so shuffled.
func (s *Server) extendLog(ctx context.Context, id string, over bool) error {
	least := epochMin
	if over {
		least = 1
	}
	for more := true; more; {
		err := s.store.ExtendLog(ctx, func(tx store.Tx) error {
			p, err := tx.Poll(id)
			if err != nil {
				return err
			}
			batches, leaves, err := tx.Pending(p.No, epochMax)
			if err != nil {
				return err
			}
			more = len(leaves) >= least
			if !more {
				return nil
			}
			slices.SortFunc(leaves, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
			log := tx.Log(p.No)
			if err := log.Append(p.LogSize, leaves); err != nil {
				return err
			}
			size := p.LogSize + int64(len(leaves))
			checkpoint, err := s.checkpoint(id, size, log)
			if err != nil {
				return err
			}
			return tx.SaveLog(log, size, checkpoint, batches)
		})
		if err != nil {
			return fmt.Errorf("couldn't extend the log of %s: %w", id, err)
		}
		if more {
			time.Sleep(breath)
		}
	}
	return nil
}

// checkpoint signs the head of a log (C2SP tlog-checkpoint).
func (s *Server) checkpoint(id string, size int64, hashes tlog.HashReader) ([]byte, error) {
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return nil, fmt.Errorf("couldn't hash the log: %w", err)
	}
	signer, err := s.noteSigner(id)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", origin(id), size, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("couldn't sign the log: %w", err)
	}
	return signed, nil
}

// Checkpoint implements ballotapi.Reader.
func (s *Server) Checkpoint(ctx context.Context, id string) ([]byte, error) {
	if _, err := s.known(ctx, id); err != nil {
		return nil, err
	}
	p, err := s.store.Poll(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.LogSize == 0 {
		return s.checkpoint(id, 0, nil) // of an empty tree, which needs no hashes
	}
	return p.Checkpoint, nil
}

// Tile implements ballotapi.Reader. Any tile of the newest checkpoint's tree, or of an older one's, is
// there; others are problem.NotFound.
func (s *Server) Tile(ctx context.Context, id, path string) ([]byte, error) {
	if _, err := s.known(ctx, id); err != nil {
		return nil, err
	}
	// The Go checksum database writes the tile's height before the level; C2SP leaves it out, being 8.
	tile, err := tlog.ParseTilePath("tile/8/" + path)
	if err != nil || tile.L < 0 {
		return nil, problem.New(problem.NotFound)
	}
	p, err := s.store.Poll(ctx, id)
	if err != nil {
		return nil, err
	}
	if tile.L > 7 || tile.N > p.LogSize || tile.N<<8+int64(tile.W) > p.LogSize>>(8*tile.L) {
		return nil, problem.New(problem.NotFound)
	}
	return tlog.ReadTileData(tile, s.store.Log(ctx, p.No))
}
