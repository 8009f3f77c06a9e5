package logmirror_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/logmirror"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/ballotlog/logtest"
)

type world struct {
	t    *testing.T
	log  *logtest.Log
	site *ballotlog.Site
	dir  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, log: logtest.New(t), dir: filepath.Join(t.TempDir(), "mirror")}
	var err error
	w.site, err = ballotlog.API(w.log.URL, logtest.Poll, http.DefaultClient)
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update() (*logmirror.Result, error) {
	return logmirror.Update(w.t.Context(), w.site, logtest.Poll, w.dir, "", nil)
}

// files are the mirror's, by path.
func (w *world) files() map[string][]byte {
	w.t.Helper()
	files := map[string][]byte{}
	w.ok(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err == nil {
			files[name], err = os.ReadFile(path)
		}
		return err
	}))
	return files
}

// complete wants every tile of the log's tree, as it is, and no other file than a mirror has.
func (w *world) complete() {
	w.t.Helper()
	files := w.files()
	if !bytes.Equal(files["checkpoint"], w.log.Checkpoint()) {
		w.t.Error("the checkpoint is not the log's")
	}
	for name, data := range files {
		path, tile := strings.CutPrefix(name, "tile/")
		switch {
		case name == "checkpoint" || name == "manifest.json":
		case !tile || !bytes.Equal(data, w.log.Tile(path)):
			w.t.Errorf("%s is not the log's", name)
		}
	}
	for level, n := 0, w.log.Tree().N; n > 0; level, n = level+1, n/256 {
		for at := range (n + 255) / 256 {
			if path := tilePath(level, at, min(256, n-256*at)); files[path] == nil {
				w.t.Errorf("%s is missing", path)
			}
		}
	}
}

// tilePath is C2SP's, for up to a million tiles.
func tilePath(level int, at, width int64) string {
	digits := []byte{'0' + byte(at/100%10), '0' + byte(at/10%10), '0' + byte(at%10)}
	path := "tile/" + string('0'+rune(level)) + "/"
	if at >= 1000 {
		k := at / 1000
		path += "x" + string([]byte{'0' + byte(k/100%10), '0' + byte(k/10%10), '0' + byte(k%10)}) + "/"
	}
	path += string(digits)
	if width == 256 {
		return path
	}
	w := ""
	for ; width > 0; width /= 10 {
		w = string('0'+rune(width%10)) + w
	}
	return path + ".p/" + w
}

func TestMirrorIsTheWholeLog(t *testing.T) {
	w := newWorld(t)
	last := int64(0)
	for _, size := range []int64{0, 1, 64, 255, 256, 257, 700, 65535, 65536, 65537, 70_000} {
		w.log.Grow("true", size)
		result, err := w.update()
		w.ok(err)
		if result.Before != last || result.Size != size {
			t.Errorf("from %d to %d, want %d to %d", result.Before, result.Size, last, size)
		}
		last = size
		w.complete()
	}
	w.log.Asked()
	w.log.Grow("true", 70_001)
	_, err := w.update()
	w.ok(err)
	if asked := len(w.log.Asked()); asked > 8 {
		t.Errorf("for one more ballot %d files were read", asked)
	}
	w.complete()
}

func TestAMirrorIsNeverWorseThanItWas(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *world)
		want  error
	}{
		{"a tile is another", func(w *world) {
			w.log.Answer("/log/tile/0/001", bytes.Repeat([]byte{1}, 256*32))
		}, ballotlog.ErrTampered},
		{"a tile is gone", func(w *world) { w.log.Answer("/log/tile/0/001", []byte{}) }, ballotlog.ErrTampered},
		{"a fork", func(w *world) { w.log.Rewrite("false", 3, 800) }, ballotlog.ErrFork},
		{"smaller", func(w *world) { w.log.Rewrite("true", 3, 3) }, ballotlog.ErrShrunk},
		{"other keys", func(w *world) { w.log.SetKeys() }, ballotlog.ErrNotGenuine},
		{"noise", func(w *world) { w.log.Answer("/log/checkpoint", []byte("hello")) }, ballotlog.ErrNotGenuine},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.log.Grow("true", 300)
			_, err := w.update()
			w.ok(err)
			before := w.files()
			w.log.Grow("true", 700)
			c.spoil(w)
			if _, err := w.update(); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			after := w.files()
			for name, data := range before {
				if !bytes.Equal(after[name], data) {
					t.Errorf("%s has changed", name)
				}
			}
		})
	}
}

func TestOtherDirectories(t *testing.T) {
	w := newWorld(t)
	w.log.Grow("true", 64)
	other := logtest.New(t)
	other.Grow("true", 64)
	w.ok(os.MkdirAll(w.dir, 0o755))
	w.ok(os.WriteFile(filepath.Join(w.dir, "checkpoint"), other.Checkpoint(), 0o644))
	w.ok(os.WriteFile(filepath.Join(w.dir, "manifest.json"), []byte("{}"), 0o644))
	if _, err := w.update(); !errors.Is(err, logmirror.ErrDirectory) {
		t.Errorf("a mirror of something else: %v", err)
	}
}
