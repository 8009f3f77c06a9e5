//go:build unix

package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is a program in the cloud. Its mounts and its shared memory are the cloud's own too: they go
// with it, however it goes. Its process is the one that is started: nothing stands between.
func (c Cloud) Command(program string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{ //nolint:gosec // running programs is what this is for
		"--net=" + c.path(), "unshare", "--mount", "--ipc", program,
	}, args...)...)
}

// Start starts a Command, and returns when its process is in the cloud: only then is it killed with it.
func (c Cloud) Start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("couldn't start %s in %s: %w", strings.Join(cmd.Args, " "), c.Name, err)
	}
	for range 5000 {
		if c.Has(cmd.Process.Pid) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Process.Kill()
	return fmt.Errorf("couldn't start %s in %s: it never got there", strings.Join(cmd.Args, " "), c.Name)
}

// Processes are those in the cloud, whoever started them; not the threads.
func (c Cloud) Processes() ([]int, error) {
	own, err := os.Stat(c.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't look at the namespace of %s: %w", c.Name, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var inside []int
	for _, p := range all {
		if within(p, own) {
			pid, err := strconv.Atoi(filepath.Base(p))
			if err != nil {
				return nil, err
			}
			inside = append(inside, pid)
		}
	}
	return inside, nil
}

// Has is whether a process is in the cloud, and no zombie.
func (c Cloud) Has(pid int) bool {
	own, err := os.Stat(c.path())
	if err != nil {
		return false
	}
	return within(fmt.Sprintf("/proc/%d", pid), own)
}

// within is whether any thread of a process is in a namespace: the first may be gone, and the others
// still hold its sockets. A zombie is in none.
func within(process string, namespace fs.FileInfo) bool {
	if in, err := os.Stat(process + "/ns/net"); err == nil {
		return os.SameFile(in, namespace)
	}
	threads, err := filepath.Glob(process + "/task/*/ns/net")
	if err != nil {
		return false
	}
	for _, thread := range threads {
		if in, err := os.Stat(thread); err == nil && os.SameFile(in, namespace) {
			return true
		}
	}
	return false
}

// Kill ends all of the cloud's processes as the loss of its power would, and returns when none is left.
func (c Cloud) Kill(ctx context.Context) error {
	return c.signalAll(ctx, syscall.SIGKILL, func(int) bool { return false })
}

// Freeze stops all of the cloud's processes where they are. Their connections stay open, and the kernel
// goes on taking new ones for them.
func (c Cloud) Freeze(ctx context.Context) error {
	return c.signalAll(ctx, syscall.SIGSTOP, stopped)
}

// Thaw lets them go on.
func (c Cloud) Thaw(ctx context.Context) error {
	return c.signalAll(ctx, syscall.SIGCONT, func(pid int) bool { return !stopped(pid) })
}

// Terminate asks all of the cloud's processes to go, and kills those that are there when time is up.
func (c Cloud) Terminate(ctx context.Context, patience time.Duration) error {
	polite, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := map[int]bool{}
	for {
		inside, err := c.Processes()
		if err != nil || len(inside) == 0 {
			return err
		}
		for _, pid := range inside {
			if !asked[pid] {
				asked[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM) // it may have gone
			}
		}
		select {
		case <-polite.Done():
			return c.Kill(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// signalAll signals the cloud's processes until all that are there are as they should be: while it goes
// through them, those that are left make new ones.
func (c Cloud) signalAll(ctx context.Context, signal syscall.Signal, done func(pid int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		inside, err := c.Processes()
		if err != nil {
			return err
		}
		left := 0
		for _, pid := range inside {
			if done(pid) {
				continue
			}
			left++
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("couldn't send %s to a process of %s: %w", signal, c.Name, err)
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("couldn't send %s to all of %s: %d processes are left", signal, c.Name, left)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// stopped is whether a process is; one that is gone is as good as.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The name, in brackets, may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}
