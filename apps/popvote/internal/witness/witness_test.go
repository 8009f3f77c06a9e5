package witness_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/logmirror"
	"github.com/popvote/popvote/apps/popvote/internal/witness"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/ballotlog/logtest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a log and a witness of it, that the test may end and begin again.
type world struct {
	t        *testing.T
	log      *logtest.Log
	site     witness.Source
	cosigner *ballotlog.Cosigner
	state    string
	now      time.Time
	*witness.Witness
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, log: logtest.New(t), state: t.TempDir(), now: noon}
	site, err := ballotlog.API(w.log.URL, logtest.Poll, http.DefaultClient)
	w.ok(err)
	w.site = site
	w.cosigner, err = ballotlog.NewCosigner("witness.example/1", func() time.Time { return w.now })
	w.ok(err)
	w.open()
	t.Cleanup(func() { w.ok(w.Close()) })
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) config() witness.Config {
	return witness.Config{Poll: logtest.Poll, State: w.state}
}

func (w *world) deps() witness.Deps {
	return witness.Deps{Source: w.site, Cosigner: w.cosigner, Clock: func() time.Time { return w.now }}
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.Witness, err = witness.Open(w.config(), w.deps())
	w.ok(err)
}

func (w *world) restart() {
	w.t.Helper()
	w.ok(w.Close())
	w.open()
}

func (w *world) kept() []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.state, logtest.Poll, "checkpoint"))
	w.ok(err)
	return data
}

// content wants the log as it is to be cosigned, on the disk, and readable by public keys alone.
func (w *world) content() {
	w.t.Helper()
	cosigned, err := w.Check(w.t.Context())
	if err != nil {
		w.t.Fatalf("an honest log of %d: %v", w.log.Tree().N, err)
	}
	if cosigned.Tree != w.log.Tree() {
		w.t.Fatalf("cosigned %v, the log is %v", cosigned.Tree, w.log.Tree())
	}
	trust := ballotlog.Trust{Poll: logtest.Poll, LogKey: w.log.Key}
	log, err := trust.Verifier()
	w.ok(err)
	public, err := ballotlog.NewCosignatureVerifier(w.cosigner.VerifierKey())
	w.ok(err)
	kept, err := ballotlog.Open(w.kept(), log, public)
	w.ok(err)
	at, err := public.Time(kept)
	w.ok(err)
	if kept.Tree != cosigned.Tree || !at.Equal(w.now) {
		w.t.Fatalf("kept %v of %s, printed %v of %s", kept.Tree, at, cosigned.Tree, w.now)
	}
}

// screams wants an alarm of a cause, both checkpoints as evidence, and the state as it was: also after a
// restart, and again and again.
func (w *world) screams(cause error) {
	w.t.Helper()
	for range 2 {
		before := w.kept()
		w.now = w.now.Add(time.Second)
		cosigned, err := w.Check(w.t.Context())
		alarm, ok := errors.AsType[*witness.Alarm](err)
		if !ok || !errors.Is(err, cause) || cosigned != nil {
			w.t.Fatalf("the alarm is %v, want %v", err, cause)
		}
		if !bytes.Equal(w.kept(), before) {
			w.t.Fatal("the state went on")
		}
		ours, err := os.ReadFile(filepath.Join(alarm.Evidence, "ours.checkpoint"))
		w.ok(err)
		if !bytes.Equal(ours, before) {
			w.t.Error("our side of the evidence is not what was cosigned last")
		}
		if !errors.Is(cause, witness.ErrOtherKey) {
			theirs, err := os.ReadFile(filepath.Join(alarm.Evidence, "theirs.checkpoint"))
			w.ok(err)
			if !bytes.Equal(theirs, w.log.Checkpoint()) {
				w.t.Error("their side of the evidence is not what they showed")
			}
		}
		w.restart()
	}
}

// TestHonestGrowth: over many sizes, with restarts and without, nobody is accused.
func TestHonestGrowth(t *testing.T) {
	w := newWorld(t)
	chance := rand.New(rand.NewPCG(1, 2))
	w.content() // the empty log
	sizes := []int64{1, 2, 3, 63, 64, 65, 255, 256, 257, 511, 512, 513}
	for at := int64(513); at < 70_000; {
		at += 1 + chance.Int64N(1+at/4)
		sizes = append(sizes, at)
	}
	sizes = append(sizes, 65536*2-1, 65536*2, 65536*2+1)
	last := int64(0)
	for _, size := range sizes {
		if size <= last {
			continue
		}
		last = size
		w.log.Grow("true", size)
		w.now = w.now.Add(time.Minute)
		w.content()
		if chance.IntN(4) == 0 {
			w.restart()
			w.now = w.now.Add(time.Minute)
			w.content() // unchanged, with a newer time
		}
	}
}

// TestRewrittenHistoryIsCaught rewrites history in every way, at sizes around the edges of tiles.
func TestRewrittenHistoryIsCaught(t *testing.T) {
	for _, size := range []int64{1, 64, 255, 256, 257, 700, 65536 + 300} {
		for _, c := range []struct {
			name    string
			rewrite func(l *logtest.Log)
			cause   error
		}{
			{"the same size, the first ballot another", func(l *logtest.Log) { l.Rewrite("false", 0, size) }, ballotlog.ErrFork},
			{"the same size, the last ballot another", func(l *logtest.Log) { l.Rewrite("false", size-1, size) }, ballotlog.ErrFork},
			{"one more, and the last ballot another", func(l *logtest.Log) { l.Rewrite("false", size-1, size+1) }, ballotlog.ErrFork},
			{"many more, and the first ballot another", func(l *logtest.Log) { l.Rewrite("false", 0, 3*size) }, ballotlog.ErrFork},
			{"smaller, with the same ballots", func(l *logtest.Log) { l.Rewrite("true", size-1, size-1) }, ballotlog.ErrShrunk},
			{"smaller, with others", func(l *logtest.Log) { l.Rewrite("false", 0, size/2) }, ballotlog.ErrShrunk},
			{"other keys", func(l *logtest.Log) { l.SetKeys() }, witness.ErrOtherKey},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				w.log.Grow("true", size)
				w.content()
				c.rewrite(w.log)
				if errors.Is(c.cause, witness.ErrOtherKey) {
					w.restart() // the manifest is read once per process
				}
				w.screams(c.cause)
			})
		}
	}
}

// TestAForkIsCaughtFromAnyWitnessedSize: whichever ballot of the past is exchanged, and however far the log
// went on.
func TestAForkIsCaughtFromAnyWitnessedSize(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	for range 25 {
		size := 1 + chance.Int64N(1500)
		keep := chance.Int64N(size)
		w := newWorld(t)
		w.log.Grow("true", size)
		w.content()
		w.log.Rewrite("false", keep, size+chance.Int64N(1500))
		w.screams(ballotlog.ErrFork)
	}
}

func TestTamperedTilesAreCaught(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 300)
	w.content()
	w.log.Grow("true", 700)
	for _, path := range []string{"0/002.p/188", "1/000.p/2"} {
		good := w.log.Tile(path)
		for name, bad := range map[string][]byte{
			"a bit":  append([]byte{good[0] ^ 1}, good[1:]...),
			"cut":    good[:len(good)-32],
			"longer": append(bytes.Clone(good), good[:32]...),
			"empty":  {},
		} {
			w.log.Answer("/log/tile/"+path, bad)
			if _, err := w.Check(t.Context()); !errors.Is(err, ballotlog.ErrTampered) {
				t.Errorf("%s, %s: %v", path, name, err)
			}
			w.screams(ballotlog.ErrTampered)
		}
		w.log.Answer("/log/tile/"+path, nil)
	}
	w.content()
}

// TestWhatProvesNothing: noise on the way is an error and no alarm, and changes nothing.
func TestWhatProvesNothing(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 300)
	w.content()
	before := w.kept()
	other := logtest.New(t)
	other.Grow("true", 400)
	w.log.Grow("true", 400)
	genuine := w.log.Checkpoint()
	for name, data := range map[string][]byte{
		"a page":               []byte("<html>welcome to our wifi</html>"),
		"nothing":              {},
		"another log's":        other.Checkpoint(),
		"a changed size":       bytes.Replace(genuine, []byte("\n400\n"), []byte("\n401\n"), 1),
		"no root":              w.log.Sign("popvote/lunch\n400\n"),
		"a bad root":           w.log.Sign("popvote/lunch\n400\nAAAA\n"),
		"a bad size":           w.log.Sign("popvote/lunch\n0400\n" + strings.Split(string(genuine), "\n")[2] + "\n"),
		"a negative size":      w.log.Sign("popvote/lunch\n-1\n" + strings.Split(string(genuine), "\n")[2] + "\n"),
		"an enormous size":     w.log.Sign("popvote/lunch\n9223372036854775807\n" + strings.Split(string(genuine), "\n")[2] + "\n"),
		"another log's origin": w.log.Sign("popvote/dinner\n400\n" + strings.Split(string(genuine), "\n")[2] + "\n"),
		"our own cosignature":  before[:0:0],
		"too long":             bytes.Repeat([]byte("x"), 1<<20),
	} {
		w.log.Answer("/log/checkpoint", data)
		_, err := w.Check(t.Context())
		if _, alarm := errors.AsType[*witness.Alarm](err); err == nil || alarm {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.log.Answer("/log/checkpoint", nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Check(gone); err == nil {
		t.Error("a check without a network succeeded")
	}
	if !bytes.Equal(before, w.kept()) {
		t.Error("the state went on")
	}
	w.content()
}

// TestBehindIsForgiven: a cache that shows an older checkpoint for a while is nobody's fault.
func TestBehindIsForgiven(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 64)
	old := w.log.Checkpoint()
	w.log.Grow("true", 200)
	w.content()
	w.ok(w.Close())
	config := w.config()
	config.Again = []time.Duration{time.Millisecond, time.Millisecond}
	behind := &cached{Source: w.site, old: old, times: 2}
	deps := w.deps()
	deps.Source = behind
	var err error
	w.Witness, err = witness.Open(config, deps)
	w.ok(err)
	w.content()
	behind.times = 3
	if _, err := w.Check(t.Context()); !errors.Is(err, ballotlog.ErrShrunk) {
		t.Errorf("behind for too long: %v", err)
	}
}

// cached answers with an old checkpoint a few times.
type cached struct {
	witness.Source
	old   []byte
	times int
}

func (c *cached) Checkpoint(ctx context.Context) ([]byte, error) {
	if c.times > 0 {
		c.times--
		return c.old, nil
	}
	return c.Source.Checkpoint(ctx)
}

func TestStateBelongsToOneWitness(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 64)
	w.content()
	if _, err := witness.Open(w.config(), w.deps()); !errors.Is(err, witness.ErrInUse) {
		t.Errorf("a second witness: %v", err)
	}
	w.ok(w.Close())
	defer w.open()

	stranger, err := ballotlog.NewCosigner("witness.example/1", time.Now)
	w.ok(err)
	deps := w.deps()
	deps.Cosigner = stranger
	if _, err := witness.Open(w.config(), deps); !errors.Is(err, witness.ErrState) {
		t.Errorf("another witness's state: %v", err)
	}
	config := w.config()
	config.SigningKey = "another"
	if _, err := witness.Open(config, w.deps()); !errors.Is(err, witness.ErrState) {
		t.Errorf("the state of another organiser's poll: %v", err)
	}
	path := filepath.Join(w.state, logtest.Poll, "checkpoint")
	good := w.kept()
	w.ok(os.WriteFile(path, w.log.Checkpoint(), 0o644))
	if _, err := witness.Open(w.config(), w.deps()); !errors.Is(err, witness.ErrState) {
		t.Errorf("a checkpoint we did not cosign: %v", err)
	}
	w.ok(os.WriteFile(path, good, 0o644))
}

func TestGivenKey(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 64)
	for pin, want := range map[string]error{w.log.SigningKey.Kid: nil, "another": ballotlog.ErrNotGenuine} {
		config := w.config()
		config.State, config.SigningKey = t.TempDir(), pin
		one, err := witness.Open(config, w.deps())
		w.ok(err)
		if _, err := one.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("pinned to %q: %v", pin, err)
		}
		w.ok(one.Close())
	}
}

// TestFromAMirror: a directory on any web server is as good a log, and its lies are caught as well.
func TestFromAMirror(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	api := w.site
	update := func() error {
		_, err := logmirror.Update(t.Context(), api, logtest.Poll, dir, "", nil)
		return err
	}
	w.log.Grow("true", 300)
	w.ok(update())
	w.ok(w.Close())
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	static, err := ballotlog.Static(server.URL+"/", http.DefaultClient)
	w.ok(err)
	w.site = static
	w.open()
	w.content()
	for _, size := range []int64{301, 511, 512, 700, 70_000} {
		w.log.Grow("true", size)
		w.ok(update())
		w.content()
	}
	// Whoever holds the log's key and the mirror rewrites both.
	w.log.Rewrite("false", 10, 70_100)
	w.ok(os.RemoveAll(dir))
	w.ok(update())
	w.screams(ballotlog.ErrFork)
}
