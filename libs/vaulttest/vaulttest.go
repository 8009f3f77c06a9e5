// Package vaulttest starts the real Vault for tests, with storage of its own, so that it can be sealed,
// unsealed, killed and started again. Nothing of it is left when the test is over, and its root token is
// in no argument and no file.
package vaulttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// startTime is how long a server may take, asked every poll; it takes some 2 s where nothing else runs.
const (
	startTime = 60 * time.Second
	poll      = 25 * time.Millisecond
)

// Server is one Vault on loopback, unsealed with one share.
type Server struct {
	t      testing.TB
	dir    string
	port   int
	client *api.Client
	share  string

	cmd   *exec.Cmd
	out   *bytes.Buffer
	ended chan struct{} // closed when cmd has
}

// Start starts a server on a free port, initialises and unseals it, and ends it with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir()}
	// The port may be taken by somebody else between here and the server's start: then another is tried.
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.run(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("couldn't start vault: %v", err)
	}
	t.Cleanup(s.Kill)
	born, err := s.client.Sys().InitWithContext(t.Context(), &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatalf("couldn't initialise vault: %v", err)
	}
	s.share = born.KeysB64[0]
	s.client.SetToken(born.RootToken)
	s.Unseal()
	return s
}

// program finds bin/tools/vault above the package under test.
func program() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "bin", "tools", "vault")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", fmt.Errorf("there is no bin/tools/vault: run make cluster-tools")
		}
		dir = above
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Address is the server's, http://….
func (s *Server) Address() string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Client asks as root.
func (s *Server) Client() *api.Client { return s.client }

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Token makes a token with these policies.
func (s *Server) Token(policies ...string) string {
	s.t.Helper()
	made, err := s.client.Auth().Token().CreateWithContext(s.t.Context(), &api.TokenCreateRequest{Policies: policies, TTL: "1h"})
	if err != nil {
		s.t.Fatalf("couldn't make a token: %v", err)
	}
	return made.Auth.ClientToken
}

// TokenFile makes a file with a token with these policies.
func (s *Server) TokenFile(policies ...string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(s.Token(policies...)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Seal seals the server: it gives nothing until Unseal.
func (s *Server) Seal() {
	s.t.Helper()
	if err := s.client.Sys().SealWithContext(s.t.Context()); err != nil {
		s.t.Fatalf("couldn't seal vault: %v", err)
	}
}

// Unseal unseals the server, and waits until it is active.
func (s *Server) Unseal() {
	s.t.Helper()
	if _, err := s.client.Sys().UnsealWithContext(s.t.Context(), s.share); err != nil {
		s.t.Fatalf("couldn't unseal vault: %v", err)
	}
	for range startTime / poll {
		if h, err := s.client.Sys().HealthWithContext(s.t.Context()); err == nil && !h.Sealed && !h.Standby {
			return
		}
		time.Sleep(poll)
	}
	s.t.Fatalf("vault isn't active %v after it was unsealed:\n%s", startTime, s.out.Bytes())
}

// Kill ends the server at once, if it runs.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// Start starts a server that was killed, at the same address, with what it held, sealed.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("couldn't start vault again: %v", err)
	}
}

func (s *Server) run() error {
	path, err := program()
	if err != nil {
		return err
	}
	config := filepath.Join(s.dir, "vault.hcl")
	err = os.WriteFile(config, fmt.Appendf(nil, `
storage "file" {
  path = %q
}
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
api_addr      = %q
disable_mlock = true
log_level     = "warn"
`, filepath.Join(s.dir, "data"), s.port, s.Address()), 0o600)
	if err != nil {
		return err
	}
	s.cmd, s.out, s.ended = exec.Command(path, "server", "-config="+config), &bytes.Buffer{}, make(chan struct{}) //nolint:gosec // the program of this repository
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = attributes()
	// Nobody is told that it runs, and nothing that is meant for another Vault is for this one.
	s.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VAULT_") }),
		"CHECKPOINT_DISABLE=1", "NO_PROXY=*", "no_proxy=*")
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := s.cmd, s.ended
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	if s.client == nil {
		transport := &http.Transport{}
		s.t.Cleanup(transport.CloseIdleConnections)
		client, err := api.NewClient(&api.Config{Address: s.Address(), HttpClient: &http.Client{Transport: transport}})
		if err != nil {
			return err
		}
		client.ClearToken()
		s.client = client
	} else if err := s.client.SetAddress(s.Address()); err != nil {
		return err
	}
	for range startTime / poll {
		if s.answers() {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended:\n%s", s.out.Bytes())
		case <-time.After(poll):
		}
	}
	s.Kill()
	return fmt.Errorf("it did not answer within %v:\n%s", startTime, s.out.Bytes())
}

func (s *Server) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := s.client.Sys().SealStatusWithContext(ctx)
	return err == nil
}
