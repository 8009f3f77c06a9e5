package instance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/service/servicetest"
)

// Patience is how long a start or a stop may take on a busy machine.
const Patience = 60 * time.Second

// Options say how an instance is started. Addresses are free ports of loopback unless fixed by Ports.
type Options struct {
	// Data is the data directory; empty means one of the test's own.
	Data string
	// Args are further arguments of "popvote up".
	Args []string
	// Env is added to the environment, as "name=value".
	Env []string
	// At fixes the addresses, so that a restart is found where the process before it was.
	At *Addresses
	// Log receives everything the process prints, the line with the login link left out; nil for the
	// test's own log on failure.
	Log *servicetest.Output
}

// Addresses are where an instance listens.
type Addresses struct {
	Voters string `json:"voters"`
	Panel  string `json:"panel"`
	Phone  string `json:"phone"`
	Admin  string `json:"admin"`
}

// Instance is a running popvote.
type Instance struct {
	Addresses
	Data   string
	Output *servicetest.Output

	t      *testing.T
	binary string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended; then code is set
	code   int
}

// Start starts popvote and waits until it serves. The test ends it if it still runs by then.
func Start(t *testing.T, binary string, o Options) *Instance {
	t.Helper()
	i, err := start(t, binary, o)
	if err != nil {
		t.Fatalf("popvote did not start: %v\n%s", err, i.Output)
	}
	return i
}

// Try starts popvote and expects it to end by itself: it returns its exit code and what it said.
func Try(t *testing.T, binary string, o Options) (code int, said string) {
	t.Helper()
	i, err := start(t, binary, o)
	if err == nil {
		i.Stop()
		t.Fatalf("popvote started, and should not have:\n%s", i.Output)
	}
	return i.code, i.Output.String()
}

var errEnded = errors.New("it ended")

func start(t *testing.T, binary string, o Options) (*Instance, error) {
	t.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	if o.Log == nil {
		o.Log = &servicetest.Output{}
	}
	at := Addresses{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}
	if o.At != nil {
		at = *o.At
	}
	args := append([]string{
		"up", "-o", "json", "--data", o.Data, "--listen", bare(at.Voters), "--panel-listen", bare(at.Panel),
		"--phone-listen", bare(at.Phone), "--admin-listen", bare(at.Admin), "--challenge-cost", "1",
	}, o.Args...)
	i := &Instance{Data: o.Data, Output: o.Log, t: t, binary: binary, ended: make(chan struct{})}
	i.cmd = exec.Command(binary, args...)
	i.cmd.Stderr = o.Log
	i.cmd.Env = append(os.Environ(), o.Env...)
	stdout, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan []byte, 1)
	go func() {
		out := bufio.NewReader(stdout)
		line, _ := out.ReadBytes('\n') // nothing, where it ends first
		ready <- line
		_, _ = io.Copy(o.Log, out)
		_ = i.cmd.Wait() // the exit code says it all
		i.code = i.cmd.ProcessState.ExitCode()
		close(i.ended)
	}()
	t.Cleanup(i.Kill)
	select {
	case line := <-ready:
		if json.Unmarshal(line, &i.Addresses) != nil {
			<-i.ended
			return i, errEnded
		}
		return i, nil
	case <-time.After(Patience):
		i.Kill()
		return i, errors.New("it took too long")
	}
}

// bare is host:port of an origin, or of itself.
func bare(address string) string { return strings.TrimPrefix(address, "http://") }

// Kill ends the process as a power cut would, as far as a process can tell.
func (i *Instance) Kill() {
	_ = i.cmd.Process.Kill() // it may have ended
	<-i.ended
}

// Pid is the process's number, for programs that signal it.
func (i *Instance) Pid() int { return i.cmd.Process.Pid }

// Ended is closed when the process has ended, by itself or not.
func (i *Instance) Ended() <-chan struct{} { return i.ended }

// Pause stops the process in the middle of whatever it does, as a long collection or a frozen machine
// would, and Resume lets it go on.
func (i *Instance) Pause() { _ = i.cmd.Process.Signal(syscall.SIGSTOP) } // it may have ended

// Resume ends a Pause.
func (i *Instance) Resume() { _ = i.cmd.Process.Signal(syscall.SIGCONT) } // it may have ended

// Stop presses Ctrl-C and returns the exit code.
func (i *Instance) Stop() int {
	i.t.Helper()
	_ = i.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-i.ended:
		return i.code
	case <-time.After(Patience):
		i.Kill()
		i.t.Errorf("popvote did not stop within %s of Ctrl-C", Patience)
		return -1
	}
}

// Restart starts another process in the place of one that has ended.
func (i *Instance) Restart(args ...string) *Instance {
	i.t.Helper()
	return i.RestartWith(nil, args...)
}

// RestartWith is Restart with an environment.
func (i *Instance) RestartWith(env []string, args ...string) *Instance {
	i.t.Helper()
	at := i.Addresses
	return Start(i.t, i.binary, Options{Data: i.Data, Args: args, Env: env, At: &at, Log: i.Output})
}

// RestartToDie is RestartWith for a process that is to die by SIGKILL at a crash point: which may be
// before it serves, since a start commits, too.
func (i *Instance) RestartToDie(env []string, args ...string) *Instance {
	i.t.Helper()
	at := i.Addresses
	next, err := start(i.t, i.binary, Options{Data: i.Data, Args: args, Env: env, At: &at, Log: i.Output})
	if err != nil {
		status, ok := next.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !errors.Is(err, errEnded) || !ok || status.Signal() != syscall.SIGKILL {
			i.t.Fatalf("popvote did not start: %v\n%s", err, next.Output)
		}
		next.Addresses = at
	}
	return next
}

// Run runs another popvote command and returns its exit code and output.
func Run(t *testing.T, binary string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("popvote %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Do runs "popvote poll …" on the instance's data directory; it must succeed.
func (i *Instance) Do(args ...string) string {
	i.t.Helper()
	args = append(append([]string{"poll"}, args...), "--data", i.Data)
	code, stdout, stderr := Run(i.t, i.binary, args...)
	if code != 0 {
		i.t.Fatalf("popvote %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// Finish closes, counts and publishes a demo poll with two of its three shares, and returns the path
// of its bundle, which "popvote verify" has confirmed.
func (i *Instance) Finish(poll string) (bundle string) {
	i.t.Helper()
	i.Do("close", poll, "--yes")
	return i.Publish(poll)
}

// Publish counts and publishes a closed poll.
func (i *Instance) Publish(poll string) (bundle string) {
	i.t.Helper()
	shares := filepath.Join(i.Data, "trustees", poll)
	i.Do("count", poll, "--share", filepath.Join(shares, "share-1.json"), "--share", filepath.Join(shares, "share-3.json"))
	i.Do("publish", poll, "--yes")
	bundle = filepath.Join(i.t.TempDir(), poll+".zip")
	i.Do("bundle", poll, bundle)
	if code, stdout, stderr := Run(i.t, i.binary, "verify", bundle); code != 0 {
		i.t.Fatalf("popvote verify: exit code %d\n%s%s", code, stdout, stderr)
	}
	return bundle
}

// Fetch reads a page of the admin listener.
func (i *Instance) Fetch(path string) (status int, body string) {
	i.t.Helper()
	res, err := http.Get(i.Admin + path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return res.StatusCode, string(content)
}

// Files are all files below the data directory.
func (i *Instance) Files() map[string][]byte {
	i.t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(i.Data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return files
}
