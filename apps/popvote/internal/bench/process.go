package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a program of the benchmark's own, in a process of its own so that its CPU time is its own.
type process struct {
	name       string
	cmd        *exec.Cmd
	complaints tail
	ended      chan error
}

// startTime is how long a process may take to say where it listens.
const startTime = 30 * time.Second

// spawn starts this binary with other arguments and reads the first line it prints, JSON, into ready.
func spawn(ctx context.Context, ready any, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("couldn't find this program: %w", err)
	}
	line := make(chan []byte, 1)
	p := newProcess(args[0], self, args)
	err = p.begin(&p.cmd.Stdout, func(stdout io.Reader) {
		out := bufio.NewReader(stdout)
		first, _ := out.ReadBytes('\n') // cut short is unreadable below
		line <- first
		_, _ = out.WriteTo(io.Discard)
	})
	if err != nil {
		return nil, err
	}
	return p, p.awaits(ctx, func() error { return json.Unmarshal(<-line, ready) })
}

// startProgram starts one of the programs and waits until its log has said where so many listeners are:
// host:port by name.
func startProgram(ctx context.Context, binary string, listeners int, args ...string) (*process, map[string]string, error) {
	at := map[string]string{}
	listening := make(chan error, 1)
	p := newProcess(filepath.Base(binary), binary, args)
	err := p.begin(&p.cmd.Stderr, func(log io.Reader) {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var event struct{ Msg, Name, Address string }
			if json.Unmarshal(lines.Bytes(), &event) == nil && event.Msg == "listening" && len(at) < listeners {
				if at[event.Name] = event.Address; len(at) == listeners {
					listening <- nil
				}
			}
		}
		listening <- errors.New("it ended")
		_, _ = io.Copy(io.Discard, log) // of a line too long to be ours
	})
	if err != nil {
		return nil, nil, err
	}
	return p, at, p.awaits(ctx, func() error { return <-listening })
}

func newProcess(name, binary string, args []string) *process {
	p := &process{name: name, cmd: exec.Command(binary, args...), ended: make(chan error, 1)} //nolint:gosec // programs of ours
	// Ctrl-C goes to the benchmark, which then stops its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.complaints
	return p
}

// begin starts the process; read reads to the end what it writes to one of its outputs.
func (p *process) begin(output *io.Writer, read func(io.Reader)) error {
	said, says := io.Pipe()
	if *output == nil {
		*output = says
	} else {
		*output = io.MultiWriter(*output, says)
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("couldn't start %s: %w", p.name, err)
	}
	go read(said)
	go func() {
		err := p.cmd.Wait()
		_ = says.Close() // its reader sees the end
		p.ended <- err
	}()
	return nil
}

// run starts a process whose output is of interest only if it fails.
func (p *process) run() error {
	p.cmd.Stdout = &p.complaints
	if err := p.cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; make bootstrap cluster-tools installs it", err)
		}
		return fmt.Errorf("couldn't start %s: %w", p.name, err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return nil
}

// awaits waits until a process is ready, and stops it if it does not get there.
func (p *process) awaits(ctx context.Context, ready func() error) error {
	done := make(chan error, 1)
	go func() { done <- ready() }()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return errors.Join(fmt.Errorf("couldn't start %s: %s", p.name, p.complaints.last()), p.stop())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	case <-time.After(startTime):
		return errors.Join(fmt.Errorf("couldn't start %s within %s", p.name, startTime), p.stop())
	}
}

// until asks a process until it is ready; what it said explains why it is not.
func (p *process) until(ctx context.Context, ask func(context.Context) error) error {
	if err := await(ctx, p.name, ask); err != nil {
		return fmt.Errorf("%w: %s", err, p.complaints.last())
	}
	return nil
}

// tail keeps the end of what is written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4<<10):]
	return len(p), nil
}

func (t *tail) last() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.TrimSpace(bytes.Clone(t.text))
}

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

// serving are the processes that together serve votes.
type serving []server

// server is one of them, with its children.
type server struct {
	name string
	pid  int
}

// cpu is what each server has used, its children that have ended included.
func (s serving) cpu() []time.Duration {
	used := make([]time.Duration, len(s))
	for i, one := range s {
		used[i] = cpuOf(one.pid)
		for _, child := range childrenOf(one.pid) {
			used[i] += cpuOf(child)
		}
	}
	return used
}

// since is the processor time per unit, microseconds, by server, of so many units since before.
func (s serving) since(before []time.Duration, units int) map[string]float64 {
	out := map[string]float64{}
	for i, now := range s.cpu() {
		out[s[i].name] += perUnit(now-before[i], units)
	}
	return out
}

func perUnit(d time.Duration, units int) float64 {
	if units == 0 {
		return 0
	}
	return float64(d.Microseconds()) / float64(units)
}

// ticks is the kernel's USER_HZ, 100 on every Linux architecture Go runs on.
const ticks = 100

// cpuOf is the processor time that a process and its children that have ended used, from /proc; 0 where
// there is none.
func cpuOf(pid int) time.Duration {
	fields := statOf(pid)
	if len(fields) < 15 {
		return 0
	}
	var sum int64
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(string(field), 10, 64)
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks
}

// statOf is a process's /proc/<pid>/stat from the state on.
func statOf(pid int) [][]byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name in parentheses may hold anything; the fields are counted from behind it.
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return bytes.Fields(rest)
}

func childrenOf(parent int) []int {
	var children []int
	stats, _ := filepath.Glob("/proc/[0-9]*") // the pattern is sound
	for _, dir := range stats {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if fields := statOf(pid); err == nil && len(fields) > 1 && string(fields[1]) == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	return children
}
