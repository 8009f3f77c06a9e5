package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// process is a program of the benchmark's own, in a process of its own so that its CPU time is its own.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan error
}

// startTime is how long a process may take to say where it listens.
const startTime = 30 * time.Second

// spawn starts this binary with other arguments and reads the first line it prints, JSON, into ready.
func spawn(ctx context.Context, ready any, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("couldn't find this program: %w", err)
	}
	p := &process{cmd: exec.Command(self, args...), ended: make(chan error, 1)}
	p.cmd.Stderr = &p.stderr
	// Ctrl-C goes to the benchmark, which then stops its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("couldn't start %s: %w", args[0], err)
	}
	line := make(chan []byte, 1)
	go func() {
		out := bufio.NewReader(stdout)
		first, _ := out.ReadBytes('\n') // cut short is unreadable below
		line <- first
		_, _ = out.WriteTo(discard{})
		p.ended <- p.cmd.Wait()
	}()
	select {
	case first := <-line:
		if err := json.Unmarshal(first, ready); err != nil {
			return nil, errors.Join(fmt.Errorf("couldn't start %s: %s", args[0], bytes.TrimSpace(p.stderr.Bytes())), p.stop())
		}
		return p, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), p.stop())
	case <-time.After(startTime):
		return nil, errors.Join(fmt.Errorf("couldn't start %s within %s", args[0], startTime), p.stop())
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// stop ends the process: kindly, then not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-p.ended:
		return err
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		return <-p.ended
	}
}

// ticks is the kernel's USER_HZ, 100 on every Linux architecture Go runs on.
const ticks = 100

// cpu is the processor time the process has used, from /proc; 0 where there is none, or no process
// of ours.
func (p *process) cpu() time.Duration {
	if p == nil {
		return 0
	}
	return cpuOf(p.cmd.Process.Pid)
}

func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything; the fields are counted from behind it.
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := bytes.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * time.Second / ticks
}
