package service

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// waitTurns puts the process's threads under SCHED_BATCH (sched(7)); later ones inherit it. A kernel or a
// container that does not let it leaves everything as it is.
func waitTurns() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		attributes, err := unix.SchedGetAttr(id, 0)
		if err != nil || attributes.Policy != unix.SCHED_NORMAL {
			continue // it was given another one on purpose
		}
		attributes.Policy = unix.SCHED_BATCH
		_ = unix.SchedSetAttr(id, attributes, 0) // as said
	}
}
