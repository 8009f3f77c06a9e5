package server

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// TestDiskFull fills a small disk under the server: ballots are refused as not recorded, what was
// acknowledged stays, and with room again voting goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("couldn't mount a small disk, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBoxIn(t, filepath.Join(dir, "data"))
	b.move(poll.Open)
	recorded, refused := int64(0), -1
	for who := 0; who < 100_000 && refused < 0; who += 100 {
		var many []ballotapi.Ballot
		for i := range 100 {
			many = append(many, cast(who+i, "k", b.junk()))
		}
		for i, o := range b.cast(many...) {
			switch code(o) {
			case "":
				recorded++
			case problem.Unavailable:
				refused = who + i
			default:
				t.Fatalf("on a full disk the outcome is %v", o.Err)
			}
		}
	}
	if refused < 0 {
		t.Fatal("the disk never got full")
	}
	b.ok(os.Remove(ballast))
	b.expect(b.cast(cast(refused, "k", b.junk()))[0], "")
	b.reopen()
	stats, err := b.Stats(t.Context(), "lunch")
	b.ok(err)
	if stats.Total != recorded+1 {
		t.Errorf("there are %d ballots; %d were acknowledged", stats.Total, recorded+1)
	}
}
