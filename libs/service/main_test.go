package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
)

func TestRunMainEndsOnASignal(t *testing.T) {
	var complaints strings.Builder
	code := RunMain("test", &complaints, func(ctx context.Context) error {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if code != ExitOK || complaints.Len() != 0 {
		t.Errorf("exit code %d, said %q", code, complaints.String())
	}
}

func TestRunMainSaysWhatFailedAndExitsAccordingly(t *testing.T) {
	for err, want := range map[error]int{
		errors.New("broken"):                     ExitFailure,
		fmt.Errorf("%w: limit", ErrConfig):       ExitConfig,
		fmt.Errorf("couldn't: %w", ErrPortTaken): ExitPortTaken,
	} {
		var complaints strings.Builder
		code := RunMain("test", &complaints, func(context.Context) error { return err })
		if code != want || complaints.String() != "test: "+err.Error()+"\n" {
			t.Errorf("%v: exit code %d, said %q", err, code, complaints.String())
		}
	}
	if got := ExitCode(flag.ErrHelp); got != ExitOK {
		t.Errorf("asking for help exits with %d", got)
	}
}

func TestVersionPrefersWhatWasStamped(t *testing.T) {
	build := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if got := info("v1.2.3", "def", build); got.Version != "v1.2.3" || got.Revision != "def" {
		t.Errorf("stamped: %v", got)
	}
	if got := info("dev", "", build); got.Revision != "abc+dirty" {
		t.Errorf("from the toolchain: %v", got)
	}
	if got := info("dev", "", nil); got.Revision != "unknown" {
		t.Errorf("told nothing: %v", got)
	}
}
