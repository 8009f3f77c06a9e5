package service

import (
	"os"
	"runtime"
	"runtime/debug"
)

// Tune sets the runtime for a program that answers thousands of short requests a second beside a few
// long system calls. What the environment says (GOGC, GOMAXPROCS) has its way.
//
// Garbage may grow to four times the live heap, which is small: some tens of megabytes beside 5 to 10 %
// of the processor.
//
// Twice the processors, because a goroutine back from a system call that took long queues behind all that
// can run, while a thread that slept is the next that the kernel runs. More than twice, and garbage
// collection crowds out the votes.
func Tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
