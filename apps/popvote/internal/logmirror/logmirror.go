// Package logmirror writes a ballot log to a directory that any web server or CDN can show (C2SP
// tlog-tiles): checkpoint, tile/…, and beside them the signed manifest, by whose key it is checked.
package logmirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/durable"
	"github.com/popvote/popvote/libs/ballotlog"
)

// The names in a mirror's directory.
const (
	manifestFile   = "manifest.json"
	checkpointFile = "checkpoint"
	tileDir        = "tile"
)

// ErrDirectory is a directory that holds something else than a mirror of this log.
var ErrDirectory = errors.New("this is not a mirror of this log")

// Source is where a log is read from.
type Source interface {
	ballotlog.Source
	// Manifest reads the poll's signed manifest.
	Manifest(ctx context.Context) ([]byte, error)
}

// Result is what a run did.
type Result struct {
	// Before and Size are the log's sizes in the mirror, ballots.
	Before int64 `json:"before"`
	Size   int64 `json:"size"`
	// Tiles is how many were written.
	Tiles int `json:"tiles"`
}

// Update brings the mirror of a poll's log up to date. The manifest's signing key must have the thumbprint;
// empty means the key that the mirror has met first. Every tile is checked against the new checkpoint before
// it is written; each file is replaced whole; the checkpoint comes last, so that the mirror is a good log at
// every moment. A log that contradicts the mirror (ballotlog.ErrFork, ErrShrunk, ErrTampered) leaves its
// checkpoint as it was. The waits are before a smaller checkpoint than the mirror's is asked for again.
func Update(ctx context.Context, source Source, pollID, dir, thumbprint string, again []time.Duration) (*Result, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("couldn't find the mirror: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // all of it is public
		return nil, fmt.Errorf("couldn't make the mirror: %w", err)
	}
	m := &mirror{dir: dir, made: map[string]bool{}, written: map[string]bool{}}
	before, trust, err := m.load(pollID, thumbprint)
	if err != nil {
		return nil, err
	}
	if trust != nil {
		thumbprint = trust.SigningKey.Kid
	}
	manifest, err := source.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	now, err := ballotlog.ReadManifest(manifest, pollID, thumbprint)
	if err != nil {
		return nil, err
	}
	if trust != nil && *trust != *now {
		return nil, fmt.Errorf("%w: the manifest names another key for the log than before", ballotlog.ErrNotGenuine)
	}
	key, err := now.Verifier()
	if err != nil {
		return nil, err
	}
	newest, err := ballotlog.Newest(ctx, source, key, before.N, again)
	if err != nil {
		return nil, err
	}
	err = ballotlog.Consistent(ctx, source, before, newest.Tree)
	if err == nil {
		// Nobody shall see the tree change under them: old tiles stay, the partial ones too.
		err = ballotlog.Grown(ctx, source, before, newest.Tree, m.save)
	}
	if err == nil {
		err = ballotlog.Edge(ctx, source, newest.Tree)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't copy the log: %w", err)
	}
	for made := range m.made {
		if err := durable.SyncDir(made); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(m.put(manifestFile, manifest), m.put(checkpointFile, newest.Signed)); err != nil {
		return nil, err
	}
	return &Result{Before: before.N, Size: newest.Tree.N, Tiles: len(m.written)}, nil
}

// mirror is one run.
type mirror struct {
	dir string
	// made are the directories in which names have changed.
	made    map[string]bool
	written map[string]bool
}

// load reads what an earlier run left; an empty tree and no keys if there was none.
func (m *mirror) load(pollID, thumbprint string) (before ballotlog.Tree, _ *ballotlog.Trust, _ error) {
	checkpoint, err := os.ReadFile(filepath.Join(m.dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ballotlog.Empty(), nil, nil
	}
	if err != nil {
		return before, nil, fmt.Errorf("couldn't read the mirror: %w", err)
	}
	manifest, err := os.ReadFile(filepath.Join(m.dir, manifestFile))
	if err != nil {
		return before, nil, fmt.Errorf("couldn't read the mirror: %w", err)
	}
	trust, err := ballotlog.ReadManifest(manifest, pollID, thumbprint)
	if err != nil {
		return before, nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	key, err := trust.Verifier()
	if err != nil {
		return before, nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	kept, err := ballotlog.Open(checkpoint, key)
	if err != nil {
		return before, nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	return kept.Tree, trust, nil
}

// save writes a tile that was found to be good.
func (m *mirror) save(path string, data []byte) error {
	if m.written[path] {
		return nil
	}
	m.written[path] = true
	name := filepath.Join(m.dir, tileDir, filepath.FromSlash(path))
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // it is public
		return fmt.Errorf("couldn't make the mirror: %w", err)
	}
	for dir := filepath.Dir(name); len(dir) >= len(m.dir); dir = filepath.Dir(dir) {
		m.made[dir] = true
	}
	return durable.WriteFile(name, data, 0o644)
}

// put replaces a file that may change.
func (m *mirror) put(name string, data []byte) error {
	return durable.WriteFile(filepath.Join(m.dir, name), data, 0o644)
}
