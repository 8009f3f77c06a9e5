package service

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestThreadsWaitTheirTurn: every thread of a tuned process runs under SCHED_BATCH. It looks in a process of its own: the policy is not given back.
func TestThreadsWaitTheirTurn(t *testing.T) {
	const inside = "SERVICE_TEST_TUNED"
	if os.Getenv(inside) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestThreadsWaitTheirTurn$", "-test.v")
		child.Env = append(os.Environ(), inside+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	Tune()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		a, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if a.Policy != unix.SCHED_BATCH {
			t.Errorf("thread %d runs under policy %d", id, a.Policy)
		}
	}
}
