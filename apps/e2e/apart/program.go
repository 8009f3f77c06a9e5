// Package apart runs PopVote's programs each by itself, as in a cluster, on one machine: real binaries,
// real certificates, a real Redis, ports of loopback.
package apart

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/service/servicetest"
)

// Patience is how long a start or a stop may take on a busy machine.
const Patience = 60 * time.Second

// Build compiles programs (names of directories of apps) into a directory. It builds what is shipped:
// each module by its own go.mod.
func Build(ctx context.Context, dir string, programs ...string) error {
	_, here, _, _ := runtime.Caller(0)
	apps := filepath.Join(filepath.Dir(here), "..", "..")
	for _, program := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, program), ".")
		cmd.Dir = filepath.Join(apps, program)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("couldn't build %s: %w\n%s", program, err, out)
		}
	}
	return nil
}

// Program is a running program.
type Program struct {
	// At is where it listens, host:port by the listener's name.
	At map[string]string

	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout servicetest.Output
	stderr servicetest.Output
	ended  chan struct{} // closed when the process has ended
}

// Start starts a binary and waits until it has said, in its log, where that many listeners are. The test
// ends it if it still runs by then.
func Start(t *testing.T, binary string, listeners int, args ...string) *Program {
	t.Helper()
	p := &Program{t: t, name: filepath.Base(binary), cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s did not start: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code says it all
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, p.stderr.String())
		}
	})
	for range Patience / (10 * time.Millisecond) {
		if p.At = p.stderr.Listening(); len(p.At) == listeners {
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended with %d", p.name, p.cmd.ProcessState.ExitCode())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("%s did not listen within %v", p.name, Patience)
	return nil
}

// Printed is what the program has said on standard output.
func (p *Program) Printed() string { return p.stdout.String() }

// Logged is what the program has logged.
func (p *Program) Logged() string { return p.stderr.String() }

// Stop asks the program to end, and wants it to do so in time and in order.
func (p *Program) Stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("%s: exit code %d", p.name, code)
		}
	case <-time.After(Patience):
		p.t.Errorf("%s did not stop within %v", p.name, Patience)
	}
}
