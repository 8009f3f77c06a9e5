// Package nodetest runs a script in Node for a test, with the packages of apps/package-lock.json: other
// people's implementations of what ours speaks.
package nodetest

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// patience is how long a line of a script's is waited for.
const patience = 20 * time.Second

// Script is a script that runs. It says what happens in lines of JSON, and ends with the test.
type Script struct {
	t     testing.TB
	in    io.WriteCloser
	lines chan string
}

// Start runs a script that uses a package; what it writes to its standard error is the test's. Where Node
// or the package is missing the test is skipped, but not where everything has to be proved (CI).
func Start(t testing.TB, uses, script string, args ...string) *Script {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	apps := filepath.Join(filepath.Dir(here), "..", "..")
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(apps, "node_modules", uses))
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s can't be asked: %v", uses, err)
		}
		t.Skipf("%s can't be asked; make npm installs it: %v", uses, err)
	}
	cmd := exec.Command(node, append([]string{"--input-type=module", "-e", script, "--"}, args...)...) //nolint:gosec // the test's own
	cmd.Dir = apps
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Script{t: t, in: in, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		for range s.lines {    // Wait must not close what is still read
			continue
		}
		_ = cmd.Wait()
	})
	return s
}

// Next reads the next line that the script says.
func (s *Script) Next(into any) {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatal("the script has ended")
		}
		if err := json.Unmarshal([]byte(line), into); err != nil {
			s.t.Fatalf("the script says %q: %v", line, err)
		}
	case <-time.After(patience):
		s.t.Fatal("the script says nothing")
	}
}

// Tell writes a line of JSON to the script's standard input.
func (s *Script) Tell(what any) {
	s.t.Helper()
	line, err := json.Marshal(what)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		s.t.Fatal(err)
	}
}
