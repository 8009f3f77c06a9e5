package service

import (
	"os"
	"runtime/debug"
)

// Tune sets the runtime and the kernel's scheduler for a program that answers thousands of short requests
// a second. What the environment says (GOGC) has its way.
//
// Garbage may grow to four times the live heap, which is small: some tens of megabytes beside 5 to 10 %
// of the processor.
//
// Threads that are woken wait their turn (SCHED_BATCH) instead of interrupting another in the middle of a
// request: some 10 % of the processor where it is busy, and nothing where it is not.
func Tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	waitTurns()
}
