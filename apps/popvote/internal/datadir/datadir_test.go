package datadir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

func TestOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "data")
	first, err := datadir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", info, err)
	}
	if _, err := datadir.Open(path); exit.Of(err) != exit.InUse {
		t.Errorf("taken twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := datadir.OpenExisting(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
}

func TestUnusable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*datadir.Dir, error){
		"a file":       func() (*datadir.Dir, error) { return datadir.Open(file) },
		"below a file": func() (*datadir.Dir, error) { return datadir.Open(filepath.Join(file, "data")) },
		"nothing":      func() (*datadir.Dir, error) { return datadir.OpenExisting(filepath.Join(dir, "nothing")) },
	} {
		if _, err := open(); exit.Of(err) != exit.BadData {
			t.Errorf("%s: %v", name, err)
		}
	}
}
