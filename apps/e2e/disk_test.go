package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
)

// A full disk refuses votes, in so many words, and loses none. With space again, voting goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	i := instance.Start(t, popvote, instance.Options{Data: filepath.Join(disk, "data"), Args: everybodyAtOnce})
	t.Cleanup(i.Kill) // before the file system goes
	w := voters(t, i, referendum)
	h := record(t)
	// The first vote makes what is made once: the poll's keys. Then the disk fills up.
	early := voter.NewPerson(801, 0)
	if _, err := h.vote(t.Context(), w, early); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)

	refused := false
	for n := 0; n < 3000 && !refused; n++ {
		person := voter.NewPerson(800, n)
		token, err := verified(t.Context(), w, person)
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Record(t.Context(), h.Recorder, person, token, e); err == nil {
			continue
		}
		refused = true
		p, ok := errors.AsType[*voter.Problem](err)
		if !ok || p.Status != 503 {
			t.Fatalf("a cast on a full disk: %v", err)
		}
		// There is space again, and the same ballot is taken.
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); err != nil; {
			if _, err = w.Record(t.Context(), h.Recorder, person, token, e); err != nil && time.Now().After(deadline) {
				t.Fatalf("a cast with space again: %v\n%s", err, i.Output)
			}
		}
	}
	if !refused {
		t.Fatal("the disk never got full")
	}
	h.check(t, i.Finish(referendum))
}

// fill takes all the space there is.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 4096)
	for {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
