// Package apart runs PopVote's programs each by itself, as in a cluster, on one machine: real binaries,
// real certificates, a real Redis and PostgreSQL, ports of loopback.
package apart

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/service/servicetest"
)

// Patience is how long a start or a stop may take on a busy machine.
const Patience = 60 * time.Second

// Programs are the names of all of them.
var Programs = []string{"ballot-server", "sms-gateway", "api-server", "control-panel"}

// Build compiles the programs into a directory. It builds what is shipped: each module by its own go.mod.
// Tags select variants that must fail.
func Build(ctx context.Context, dir string, tags ...string) error {
	_, here, _, _ := runtime.Caller(0)
	apps := filepath.Join(filepath.Dir(here), "..", "..")
	for _, program := range Programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-o", filepath.Join(dir, program), ".")
		cmd.Dir = filepath.Join(apps, program)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("couldn't build %s: %w\n%s", program, err, out)
		}
	}
	return nil
}

// Listeners are a program's, by their names: for each the flag that says where it is, and where.
type Listeners map[string]struct{ Flag, Address string }

// Program is a program that runs, is killed and runs again, each time at the same addresses. Only its
// logs may be read by several goroutines at once.
type Program struct {
	// At is where it listens, host:port by the listener's name.
	At map[string]string

	t      *testing.T
	name   string
	binary string
	args   []string

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended

	// mu guards what each process has said.
	mu             sync.Mutex
	stdout, stderr []*servicetest.Output
}

// Start starts a binary and waits until it has said, in its log, that all its listeners are there. The
// test ends it if it still runs by then.
func Start(t *testing.T, binary string, listeners Listeners, args ...string) *Program {
	t.Helper()
	p := &Program{t: t, name: filepath.Base(binary), binary: binary, At: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(listeners)) {
		l := listeners[name]
		p.At[name] = l.Address
		args = append(args, l.Flag, l.Address)
	}
	p.args = args
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s at %v:\n%s", p.name, p.At, tail(p.Logged()))
		}
	})
	p.start()
	return p
}

// tail is the last lines of a log, which after many starts is long.
func tail(log string) string { return log[max(0, len(log)-4000):] }

// start starts a process and waits until it listens.
func (p *Program) start(env ...string) {
	p.t.Helper()
	p.launch(env...)
	if !p.listens() {
		p.t.Fatalf("%s ended with %d", p.name, p.cmd.ProcessState.ExitCode())
	}
}

func (p *Program) launch(env ...string) {
	p.t.Helper()
	stdout, stderr := &servicetest.Output{}, &servicetest.Output{}
	cmd, ended := exec.Command(p.binary, p.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr, cmd.Env = stdout, stderr, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%s did not start: %v", p.name, err)
	}
	p.mu.Lock()
	p.stdout, p.stderr = append(p.stdout, stdout), append(p.stderr, stderr)
	p.mu.Unlock()
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // the exit code says it all
		close(ended)
	}()
}

// listens waits until the process listens; false if it ends before.
func (p *Program) listens() bool {
	p.t.Helper()
	newest := p.stderr[len(p.stderr)-1]
	for range Patience / (10 * time.Millisecond) {
		if maps.Equal(newest.Listening(), p.At) {
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.t.Fatalf("%s did not listen within %v", p.name, Patience)
	return false
}

// Restart starts another process in the place of one that has ended, with more in its environment, maybe
// ("name=value").
func (p *Program) Restart(env ...string) {
	p.t.Helper()
	p.start(env...)
}

// RestartToDie starts another process that is to die by SIGKILL at a crash point ("point:n"), which may be
// before it listens, and waits until it has.
func (p *Program) RestartToDie(at string) {
	p.t.Helper()
	p.launch("CRASHPOINT_AT=" + at)
	select {
	case <-p.ended:
	case <-time.After(Patience):
		p.t.Fatalf("%s did not die at %s", p.name, at)
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("%s did not die at %s: it ended with %d", p.name, at, p.cmd.ProcessState.ExitCode())
	}
}

// RestartToFreeze is RestartToDie for a process that is to stop at that point, until it is thawed.
func (p *Program) RestartToFreeze(at string) {
	p.t.Helper()
	p.launch("CRASHPOINT_AT=" + at + ":stop")
	stat := fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid)
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		// pid (name) state …
		content, err := os.ReadFile(stat)
		if err != nil {
			p.t.Fatalf("%s ended: %v", p.name, err)
		}
		if _, state, _ := strings.Cut(string(content), ") "); strings.HasPrefix(state, "T") {
			return
		}
	}
	p.t.Fatalf("%s did not stop at %s", p.name, at)
}

// PID is the process's number.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a power cut would, as far as a process can tell.
func (p *Program) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// Freeze stops the process in the middle of whatever it does, and Thaw lets it go on.
func (p *Program) Freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) } // it may have ended

// Thaw ends a Freeze.
func (p *Program) Thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) } // it may have ended

// Await waits until the process that runs has logged something.
func (p *Program) Await(text string) {
	p.t.Helper()
	newest := p.stderr[len(p.stderr)-1]
	for deadline := time.Now().Add(Patience); !strings.Contains(newest.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not log %s", p.name, text)
		}
	}
}

// Printed is what its processes have said on standard output.
func (p *Program) Printed() string { return p.said(&p.stdout) }

// Logged is what its processes have logged.
func (p *Program) Logged() string { return p.said(&p.stderr) }

func (p *Program) said(where *[]*servicetest.Output) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all strings.Builder
	for _, one := range *where {
		all.WriteString(one.String())
	}
	return all.String()
}

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

// ports that were given out.
var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// freeAddress returns an address of loopback that nobody has, and that stays so while its program is
// away: the system takes the ports of its own choice from above these.
func freeAddress(t *testing.T) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		ports.given[port] = true
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
	t.Fatal("there is no free port")
	return ""
}
