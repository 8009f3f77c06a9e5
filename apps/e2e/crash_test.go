package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
)

// crashPoints are where a commit can be cut off.
var crashPoints = []string{"before-begin", "after-insert", "after-commit"}

// The process dies at each named point of a commit, several times, while voters vote. Nothing that was
// acknowledged is lost, nothing is there twice.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	const times = 4
	i := faultyDemo(t)
	w := voters(t, i, referendum)
	h := record(t)
	l := startLoad(t, w, h, 1100, 16)
	for range times {
		for _, point := range crashPoints {
			i.Kill()
			i = i.RestartToDie([]string{fmt.Sprintf("CRASHPOINT_AT=%s:%d", point, 5+rand.IntN(60))}, everybodyAtOnce...)
			select {
			case <-i.Ended():
			case <-time.After(instance.Patience):
				t.Fatalf("it did not die at %s", point)
			}
		}
	}
	i = i.Restart(everybodyAtOnce...)
	time.Sleep(500 * time.Millisecond)
	l.end()
	i.Do("close", referendum, "--yes")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	report := h.finish(t, i, w)
	if report.Voters < 100 || report.Unknown == 0 {
		t.Errorf("%d voters acknowledged, %d casts cut off: that proves little", report.Voters, report.Unknown)
	}
}

// What is shipped cannot be made to die, nor its clock be stepped: none of that is in it.
func TestNoCrashPointsAreShipped(t *testing.T) {
	t.Parallel()
	tagged, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	taggedApart, err := faultyPrograms()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		binary string
		want   bool
	}{
		{popvote, false},
		{tagged, true},
		{filepath.Join(shipped, "ballot-server"), false},
		{filepath.Join(taggedApart, "ballot-server"), true},
	} {
		content, err := os.ReadFile(c.binary)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"CRASHPOINT_AT", "CRASHPOINT_CLOCK", "crashpoint.Here"} {
			if got := bytes.Contains(content, []byte(name)); got != c.want {
				t.Errorf("%s holds %q: %t", c.binary, name, got)
			}
		}
	}
}
