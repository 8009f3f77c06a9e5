//go:build unix

package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// run starts the postmaster as our child, and waits until it takes connections. Processes of one that was
// killed may still be about to end: until they have, no other starts on their data.
func (n *Node) run() (err error) {
	for range patience / (50 * time.Millisecond) {
		if err = n.launch(); err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// launch is run, once.
func (n *Node) launch() error {
	begun := n.logged()
	log, err := os.OpenFile(n.data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("couldn't start %s: %w", n.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(filepath.Join(binaries, "postgres"), "-D", n.data, "-p", strconv.Itoa(n.port)) //nolint:gosec // as above
	cmd.Dir = n.data
	cmd.SysProcAttr = n.as.attributes()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("couldn't start %s: %w", n.name, err)
	}
	ended := make(chan struct{})
	n.cmd, n.ended, n.paused = cmd, ended, nil
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	for range patience / (50 * time.Millisecond) {
		if _, err = n.SQL("postgres", "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("couldn't start %s: %w: %s", n.name, err, n.lastWords(begun))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.Join(fmt.Errorf("couldn't start %s in %v: %w: %s", n.name, patience, err, n.lastWords(begun)), n.end(quitNow))
}

// logged is how long the server's log is.
func (n *Node) logged() int64 {
	info, err := os.Stat(n.data + ".log")
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastWords is the end of the server's log, of what it has said since.
func (n *Node) lastWords(since int64) string {
	log, err := os.ReadFile(n.data + ".log")
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, min(since, int64(len(log))), int64(len(log))-2000):])
}

func (n *Node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// end stops the server by a signal to the postmaster.
func (n *Node) end(how syscall.Signal) error {
	if !n.running() {
		return fmt.Errorf("couldn't stop %s: it does not run", n.name)
	}
	if err := n.Resume(); err != nil {
		return err
	}
	if err := n.cmd.Process.Signal(how); err != nil {
		return fmt.Errorf("couldn't stop %s: %w", n.name, err)
	}
	return n.wait()
}

// wait waits for the postmaster's end.
func (n *Node) wait() error {
	select {
	case <-n.ended:
		return nil
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		return fmt.Errorf("couldn't stop %s in %v", n.name, patience)
	}
}

// children are the postmaster's processes. Each is in a session of its own, so no signal reaches all.
func (n *Node) children() []int {
	parent := strconv.Itoa(n.cmd.Process.Pid)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …; the name may have spaces and brackets in it.
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != parent {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (a *account) credential() *syscall.Credential {
	if !a.switched {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} //nolint:gosec // of a real user
}
