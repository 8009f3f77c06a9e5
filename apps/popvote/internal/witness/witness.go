// Package witness watches a ballot log from outside: it cosigns a checkpoint only after it has seen that
// the log still begins with everything it cosigned before. Whoever asks for a witness's cosignature cannot
// be shown another history than the witness was.
package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/durable"
	"github.com/popvote/popvote/libs/ballotlog"
)

// The files of a witness's state, in a directory per poll.
const (
	lockFile       = "lock"
	trustFile      = "trust.json"
	checkpointFile = "checkpoint"
	evidenceDir    = "evidence"
)

var (
	// ErrInUse is a state that another witness works on.
	ErrInUse = errors.New("another witness works with this state")
	// ErrState is a state that is not what a witness with this key has written.
	ErrState = errors.New("this is not the state of this witness")
	// ErrOtherKey is a poll whose organiser now signs with, or names for its log, another key than when the
	// witness first looked.
	ErrOtherKey = errors.New("the poll has other keys than before")
)

// Source is where a log is read from.
type Source interface {
	ballotlog.Source
	// Manifest reads the poll's signed manifest.
	Manifest(ctx context.Context) ([]byte, error)
}

// Config says what is watched.
type Config struct {
	// Poll is the poll's id.
	Poll string
	// State is the directory for what the witness remembers; made if it is not there.
	State string
	// SigningKey is the thumbprint of the key that signs the manifest. Default: the one that is met first.
	SigningKey string
	// Again are the waits before a smaller checkpoint than the last is asked for again. Default: none, so
	// that the first is believed; ballotlog.Patience forgives caches on the way.
	Again []time.Duration
}

// Deps are what a witness works with. All are required.
type Deps struct {
	Source   Source
	Cosigner *ballotlog.Cosigner
	Clock    func() time.Time
}

// Witness watches one log. Not safe for concurrent use.
type Witness struct {
	config Config
	deps   Deps
	dir    string
	lock   *os.File
	// trust is nil until the manifest was read for the first time ever; known, in this process.
	trust *ballotlog.Trust
	known bool
	// last is what was cosigned last; nil before the first time.
	last *ballotlog.Checkpoint
}

// Open takes up the state of a poll. ErrInUse, ErrState, or an error of the file system.
func Open(config Config, deps Deps) (_ *Witness, err error) {
	w := &Witness{config: config, deps: deps, dir: filepath.Join(config.State, config.Poll)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil { //nolint:gosec // all of it is public
		return nil, fmt.Errorf("couldn't make the state: %w", err)
	}
	w.lock, err = os.OpenFile(filepath.Join(w.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the state: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.lock.Close())
		}
	}()
	if err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("couldn't lock the state: %w", err)
	}
	return w, w.load()
}

// Close lets go of the state.
func (w *Witness) Close() error { return w.lock.Close() }

// load reads what an earlier process left. A checkpoint without our cosignature was not left by us.
func (w *Witness) load() error {
	data, err := os.ReadFile(filepath.Join(w.dir, trustFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(w.dir, checkpointFile)); err == nil {
			return fmt.Errorf("%w: it has a checkpoint and no keys", ErrState)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't read the state: %w", err)
	}
	var trust ballotlog.Trust
	if err := json.Unmarshal(data, &trust); err != nil || trust.Poll != w.config.Poll {
		return fmt.Errorf("%w: its keys cannot be read", ErrState)
	}
	if pin := w.config.SigningKey; pin != "" && pin != trust.SigningKey.Kid {
		return fmt.Errorf("%w: it is about a poll signed by %s", ErrState, trust.SigningKey.Kid)
	}
	log, err := trust.Verifier()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	w.trust = &trust
	data, err = os.ReadFile(filepath.Join(w.dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't read the state: %w", err)
	}
	if w.last, err = ballotlog.Open(data, log, w.deps.Cosigner.Verifier()); err != nil {
		return fmt.Errorf("%w: its checkpoint: %w", ErrState, err)
	}
	return nil
}

// Alarm is a log caught at what an honest log does not do. Its cause is ballotlog.ErrFork, ErrShrunk,
// ErrTampered, or ErrOtherKey.
type Alarm struct {
	Cause error
	// Evidence is the directory with what proves it.
	Evidence string
}

func (a *Alarm) Error() string { return a.Cause.Error() }

// Unwrap returns the cause.
func (a *Alarm) Unwrap() error { return a.Cause }

// Check looks at the log once. It returns the checkpoint with the new cosignature, which is on the disk by
// then. On every error what was cosigned last stays what it was; *Alarm if the log itself is at fault.
func (w *Witness) Check(ctx context.Context) (*ballotlog.Checkpoint, error) {
	if err := w.meet(ctx); err != nil {
		return nil, err
	}
	log, err := w.trust.Verifier()
	if err != nil {
		return nil, err
	}
	var least int64
	if w.last != nil {
		least = w.last.Tree.N
	}
	now, err := ballotlog.Newest(ctx, w.deps.Source, log, least, w.config.Again)
	if err != nil {
		return nil, err
	}
	if w.last != nil {
		err = ballotlog.Consistent(ctx, w.deps.Source, w.last.Tree, now.Tree)
	}
	if err == nil {
		err = ballotlog.Edge(ctx, w.deps.Source, now.Tree)
	}
	if faulty(err) {
		return nil, w.alarm(err, map[string][]byte{"theirs.checkpoint": now.Signed})
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't check the log: %w", err)
	}
	return w.cosign(now, log)
}

// faulty reports whether the log is to blame.
func faulty(err error) bool {
	return errors.Is(err, ballotlog.ErrFork) || errors.Is(err, ballotlog.ErrShrunk) || errors.Is(err, ballotlog.ErrTampered)
}

// meet reads the manifest, once per process, and holds it against what was met before.
func (w *Witness) meet(ctx context.Context) error {
	if w.known {
		return nil
	}
	manifest, err := w.deps.Source.Manifest(ctx)
	if err != nil {
		return err
	}
	// Read by whatever key is in it, a manifest by another key than before can be told from noise.
	found, err := ballotlog.ReadManifest(manifest, w.config.Poll, "")
	if err != nil {
		return err
	}
	switch {
	case w.trust == nil && w.config.SigningKey != "" && found.SigningKey.Kid != w.config.SigningKey:
		return fmt.Errorf("%w: the manifest is signed by %s", ballotlog.ErrNotGenuine, found.SigningKey.Kid)
	case w.trust == nil:
		if err := w.pin(found); err != nil {
			return err
		}
	case *found != *w.trust:
		return w.alarm(fmt.Errorf("%w: signed by %s, the log by %s", ErrOtherKey, found.SigningKey.Kid, found.LogKey),
			map[string][]byte{"theirs.manifest.json": manifest})
	}
	w.known = true
	return nil
}

func (w *Witness) pin(trust *ballotlog.Trust) error {
	data, err := json.MarshalIndent(trust, "", "  ")
	if err != nil {
		return fmt.Errorf("couldn't encode the keys: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(w.dir, trustFile), append(data, '\n'), 0o644); err != nil {
		return err
	}
	w.trust = trust
	return nil
}

// cosign signs, and has that on the disk before anybody sees it: a cosignature that its witness has
// forgotten would let the log go two ways after all.
func (w *Witness) cosign(now *ballotlog.Checkpoint, log ballotlog.Verifier) (*ballotlog.Checkpoint, error) {
	signed, err := w.deps.Cosigner.Cosign(now)
	if err != nil {
		return nil, err
	}
	cosigned, err := ballotlog.Open(signed, log, w.deps.Cosigner.Verifier())
	if err != nil {
		return nil, fmt.Errorf("couldn't read our own cosignature: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(w.dir, checkpointFile), signed, 0o644); err != nil {
		return nil, err
	}
	w.last = cosigned
	return cosigned, nil
}

// alarm keeps what proves the fault beside what was cosigned last.
func (w *Witness) alarm(cause error, evidence map[string][]byte) error {
	at := w.deps.Clock().UTC()
	dir := filepath.Join(w.dir, evidenceDir, at.Format("20060102T150405.000000000Z"))
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // it is for everybody
		return errors.Join(&Alarm{Cause: cause}, fmt.Errorf("couldn't keep the evidence: %w", err))
	}
	var why bytes.Buffer
	fmt.Fprintf(&why, "%s\n%s\n%v\n", at.Format(time.RFC3339), w.trust.LogKey, cause)
	evidence["why.txt"] = why.Bytes()
	if w.last != nil {
		evidence["ours.checkpoint"] = w.last.Signed
	}
	alarm := &Alarm{Cause: cause, Evidence: dir}
	for name, data := range evidence {
		if err := durable.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return errors.Join(alarm, err)
		}
	}
	return errors.Join(alarm, durable.SyncDir(filepath.Dir(dir)), durable.SyncDir(w.dir))
}
