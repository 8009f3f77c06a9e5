// Package smoke starts Consul, Nomad and Vault of bin/tools, each by itself on loopback, and asks each
// for the one thing that the cluster has it for. It is for a new pin: make cluster-smoke.
package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything is waited for; a busy machine takes ten times what an idle one does.
const patience = 2 * time.Minute

// program is a running one.
type program struct {
	*testing.T
	address string // of its HTTP API
	header  http.Header
	gone    chan struct{} // closed when it has exited
	command *exec.Cmd
}

// start runs a program of bin/tools until the test ends.
func start(t *testing.T, address, name string, args ...string) *program {
	t.Helper()
	path, err := filepath.Abs("../../bin/tools/" + name)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{T: t, address: address, header: http.Header{}, gone: make(chan struct{}), command: exec.Command(path, args...)}
	p.command.Stdout, p.command.Stderr = log, log
	// A proxy of this machine is not asked for what is on this machine, and nobody is told that it runs.
	p.command.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*", "CHECKPOINT_DISABLE=1")
	// Whoever kills the test kills what it started.
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		t.Fatalf("couldn't start %s: %v (make cluster-tools builds it)", name, err)
	}
	go func() {
		defer close(p.gone)
		p.command.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		log.Close()
		if said, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s said:\n%s", name, said[max(0, len(said)-20_000):])
		}
	})
	return p
}

// stop asks the program to go, and kills it if it doesn't.
func (p *program) stop() {
	p.Helper()
	p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.Error("it didn't stop when it was asked to")
		p.command.Process.Kill()
		<-p.gone
	}
}

// ask sends a request, with a JSON body if there is one, and reads the JSON answer into into.
func (p *program) ask(method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, sent)
	if err != nil {
		return err
	}
	request.Header = p.header.Clone()
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// must asks what has to work at once.
func (p *program) must(method, path string, body, into any) {
	p.Helper()
	if err := p.ask(method, path, body, into); err != nil {
		p.Fatal(err)
	}
}

// await asks until the answer is as it should be.
func (p *program) await(what string, try func() error) {
	p.Helper()
	began := time.Now()
	for {
		err := try()
		if err == nil {
			p.Logf("%s after %.1f s", what, time.Since(began).Seconds())
			return
		}
		select {
		case <-p.gone:
			p.Fatalf("it exited before %s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > patience {
			p.Fatalf("not %s after %s: %v", what, patience, err)
		}
	}
}

// leader awaits that a server has elected itself.
func (p *program) leader() {
	p.Helper()
	p.await("leader elected", func() error {
		var leader string
		err := p.ask("GET", "/v1/status/leader", nil, &leader)
		if err == nil && leader == "" {
			err = errors.New("there is none")
		}
		return err
	})
}

// ports returns free ones; they are kept until all are found, so that no two are the same.
func ports(t *testing.T, n int) (free []string) {
	t.Helper()
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		free = append(free, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	}
	return free
}

// write writes a file into a directory of the test's and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
