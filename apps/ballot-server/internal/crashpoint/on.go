//go:build crashpoints

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The environment variables that a binary with this tag reads. They lack the programs' own prefixes, below
// which an unknown variable is an error.
const (
	// crashEnv is "name:n": the process dies when it passes the point for the n-th time. With "name:n:stop" it
	// is stopped there instead, until somebody lets it go on.
	crashEnv = "CRASHPOINT_AT"
	// clockEnv names a file with a duration, by which the clock is wrong while the file is there.
	clockEnv = "CRASHPOINT_CLOCK"
)

type order struct {
	at   Point
	stop bool
	left atomic.Int64
}

var given = sync.OnceValue(func() *order {
	name, times, found := strings.Cut(os.Getenv(crashEnv), ":")
	if name == "" {
		return nil
	}
	times, stop := strings.CutSuffix(times, ":stop")
	n, err := strconv.ParseInt(times, 10, 64)
	switch Point(name) {
	case BeforeBegin, AfterInsert, AfterCommit:
	default:
		found = false
	}
	if !found || err != nil || n < 1 {
		panic(crashEnv + ` must be "before-begin:n", "after-insert:n" or "after-commit:n", or one of them with ":stop"`)
	}
	o := &order{at: Point(name), stop: stop}
	o.left.Store(n)
	return o
})

// Here is where a process dies that was told to. It does not return then.
func Here(p Point) {
	o := given()
	if o == nil || o.at != p || o.left.Add(-1) != 0 {
		return
	}
	if o.stop {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		// It reaches all threads, and this one maybe a moment later.
		time.Sleep(100 * time.Millisecond)
		return
	}
	// SIGKILL, so that no deferred function and no exit handler tidies up.
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Commit surrounds each commit with its two points.
func Commit(inner func(commit func() error) error) func(commit func() error) error {
	return func(commit func() error) error {
		Here(AfterInsert)
		var err error
		if inner == nil {
			err = commit()
		} else {
			err = inner(commit)
		}
		if err == nil {
			Here(AfterCommit)
		}
		return err
	}
}

// Clock is wrong by what the file says that clockEnv names.
func Clock(clock func() time.Time) func() time.Time {
	path := os.Getenv(clockEnv)
	if path == "" {
		return clock
	}
	return func() time.Time {
		content, err := os.ReadFile(path)
		if err != nil {
			return clock()
		}
		step, err := time.ParseDuration(strings.TrimSpace(string(content)))
		if err != nil {
			panic("couldn't read the clock's step: " + err.Error())
		}
		// Round strips the monotonic reading: a stepped clock has none that agrees with it.
		return clock().Round(0).Add(step)
	}
}
