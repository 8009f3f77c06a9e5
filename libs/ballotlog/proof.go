package ballotlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is C2SP's: 256 hashes to a tile.
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// Tiles reads the tiles of one log. Safe for concurrent use.
type Tiles interface {
	// Tile reads one tile; path as in C2SP tlog-tiles, without the leading "tile/". What it returns is not
	// believed. ErrNoTile if there is none.
	Tile(ctx context.Context, path string) ([]byte, error)
}

// Source reads one log. Safe for concurrent use.
type Source interface {
	Tiles
	// Checkpoint reads the newest signed head there is.
	Checkpoint(ctx context.Context) ([]byte, error)
}

// Patience is how long a checkpoint smaller than one seen before is waited for to grow: a cache on the way,
// or one of several servers, may be that far behind, and nobody is to blame.
var Patience = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// Newest reads and opens the checkpoint. While it is of fewer ballots than least, it asks again after each
// of the waits; then it returns what there is.
func Newest(ctx context.Context, source Source, log note.Verifier, least int64, again []time.Duration) (*Checkpoint, error) {
	for n := 0; ; n++ {
		data, err := source.Checkpoint(ctx)
		if err != nil {
			return nil, err
		}
		newest, err := Open(data, log)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the checkpoint: %w", err)
		}
		if newest.Tree.N >= least || n == len(again) {
			return newest, nil
		}
		if err := sleep(ctx, again[n]); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// ErrNoTile is a tile that a source does not have.
var ErrNoTile = errors.New("there is no such tile")

// Consistent checks that the log of now has that of before as its beginning. It returns ErrShrunk, ErrFork,
// ErrTampered, or the error of reading.
func Consistent(ctx context.Context, tiles Tiles, before, now tlog.Tree) error {
	switch {
	case now.N < before.N:
		return fmt.Errorf("%w: from %d ballots to %d", ErrShrunk, before.N, now.N)
	case now.N == before.N && now.Hash != before.Hash:
		return fmt.Errorf("%w: two trees of %d ballots have different roots", ErrFork, now.N)
	case now.N == before.N || before.N == 0:
		return nil
	}
	proof, err := tlog.ProveTree(now.N, before.N, hashes(ctx, tiles, now, nil))
	if err != nil {
		return judged(err)
	}
	if err := tlog.CheckTree(proof, now.N, now.Hash, before.N, before.Hash); err != nil {
		return fmt.Errorf("%w: the tree of %d ballots does not begin with that of %d", ErrFork, now.N, before.N)
	}
	return nil
}

// Edge checks that the tiles along a tree's right edge make its root. Whatever its size, these are few.
func Edge(ctx context.Context, tiles Tiles, tree tlog.Tree) error {
	if tree.N == 0 {
		if tree != Empty() {
			return fmt.Errorf("%w: an empty tree has another root", ErrTampered)
		}
		return nil
	}
	_, err := hashes(ctx, tiles, tree, nil).ReadHashes([]int64{tlog.StoredHashIndex(0, tree.N-1)})
	return judged(err)
}

// Prove returns the audit path (RFC 6962 §2.1.1) of the leaf at an index, and the leaf. Both are checked
// against the tree. ErrTampered if the tiles do not make it up.
func Prove(ctx context.Context, tiles Tiles, tree tlog.Tree, index int64) (path tlog.RecordProof, leaf tlog.Hash, err error) {
	if index < 0 || index >= tree.N {
		return nil, leaf, fmt.Errorf("couldn't prove leaf %d: the tree has %d", index, tree.N)
	}
	reader := hashes(ctx, tiles, tree, nil)
	path, err = tlog.ProveRecord(tree.N, index, reader)
	if err != nil {
		return nil, leaf, judged(err)
	}
	found, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return nil, leaf, judged(err)
	}
	return path, found[0], nil
}

// Included checks an audit path (RFC 6962 §2.1.1) from a leaf at an index to a tree's root.
func Included(path [][]byte, tree Tree, index int64, leaf []byte) error {
	proof := make(tlog.RecordProof, len(path))
	for i, hash := range path {
		if len(hash) != tlog.HashSize {
			return errors.New("the path does not consist of hashes")
		}
		proof[i] = tlog.Hash(hash)
	}
	if len(leaf) != tlog.HashSize {
		return errors.New("the leaf is not a hash")
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.Hash(leaf)); err != nil {
		return fmt.Errorf("the path does not lead to the root: %w", err)
	}
	return nil
}

// Grown reads every tile that a log needs when it grows from one tree to another. Each is checked against
// the new tree and then given to save, parents perhaps more than once; save's error ends it.
func Grown(ctx context.Context, tiles Tiles, before, now tlog.Tree, save func(path string, data []byte) error) error {
	const atOnce = 64 // tiles: their parents are read once for so many
	var failed error
	keep := func(path string, data []byte) {
		if failed == nil {
			failed = save(path, data)
		}
	}
	var wanted []int64
	flush := func() error {
		if len(wanted) == 0 {
			return nil
		}
		_, err := hashes(ctx, tiles, now, keep).ReadHashes(wanted)
		wanted = wanted[:0]
		return errors.Join(judged(err), failed)
	}
	for _, t := range tlog.NewTiles(tileHeight, before.N, now.N) {
		wanted = append(wanted, tlog.StoredHashIndex(t.L*tileHeight, t.N*tileWidth+int64(t.W)-1))
		if len(wanted) == atOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// hashes reads the hashes of a tree from tiles, each checked against the root.
func hashes(ctx context.Context, tiles Tiles, tree tlog.Tree, save func(path string, data []byte)) tlog.HashReader {
	return tlog.TileHashReader(tree, &reader{ctx, tiles, save})
}

// readError is an error of reading tiles, as against one of what was read.
type readError struct{ cause error }

func (e *readError) Error() string { return e.cause.Error() }
func (e *readError) Unwrap() error { return e.cause }

// judged tells tiles that could not be read from tiles that are wrong.
func judged(err error) error {
	if err == nil {
		return nil
	}
	if read, ok := errors.AsType[*readError](err); ok {
		return read.cause
	}
	return fmt.Errorf("%w: %w", ErrTampered, err)
}

// reader implements tlog.TileReader. The interface has no context, so it holds the caller's.
type reader struct {
	ctx   context.Context
	tiles Tiles
	save  func(path string, data []byte)
}

// Height implements tlog.TileReader.
func (r *reader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (r *reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := r.tiles.Tile(r.ctx, tilePath(t))
		if full := t; errors.Is(err, ErrNoTile) && t.W < tileWidth {
			// A static log may have dropped a partial tile once the whole one was there.
			full.W = tileWidth
			if data, err = r.tiles.Tile(r.ctx, tilePath(full)); err == nil && len(data) > t.W*tlog.HashSize {
				data = data[:t.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, &readError{fmt.Errorf("couldn't read tile %s: %w", tilePath(t), err)}
		}
		out[i] = data // tlog looks at the length
	}
	return out, nil
}

// SaveTiles implements tlog.TileReader.
func (r *reader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if r.save == nil {
		return
	}
	for i, t := range tiles {
		r.save(tilePath(t), data[i])
	}
}

// tilePath is a tile's path in C2SP's form. The Go checksum database writes the height in front.
func tilePath(t tlog.Tile) string { return strings.TrimPrefix(t.Path(), "tile/8/") }
