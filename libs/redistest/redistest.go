// Package redistest starts Debian's redis-server for tests: a real one, which can be killed, frozen
// and started again at the same address. Nothing of it is left when the test is over.
package redistest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// startTime is how long a server may take to answer, asked every poll; it takes some 20 ms where
// nothing else runs.
const (
	startTime = 20 * time.Second
	poll      = 10 * time.Millisecond
)

// Server is one redis-server that keeps nothing: what it held is gone when it starts again.
type Server struct {
	t    testing.TB
	dir  string
	port int
	// password is what clients have to say; empty for none.
	password string
	// tls is a directory with ca.pem, cert.pem and key.pem; empty for none.
	tls string

	cmd   *exec.Cmd
	out   *bytes.Buffer
	ended chan struct{} // closed when cmd has
}

// Start starts a server on a free loopback port, and ends it with the test. A machine without
// redis-server fails the test: make bootstrap installs it.
func Start(t testing.TB) *Server { return StartWithPassword(t, "") }

// StartWithPassword starts a server that wants a password.
func StartWithPassword(t testing.TB, password string) *Server {
	t.Helper()
	return start(t, &Server{password: password})
}

// StartWithTLS starts a server that speaks TLS only, with ca.pem, cert.pem and key.pem of a directory, and
// lets nobody in without a certificate of that CA.
func StartWithTLS(t testing.TB, dir, password string) *Server {
	t.Helper()
	return start(t, &Server{password: password, tls: dir})
}

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.t, s.dir = t, t.TempDir()
	// The port may be taken by somebody else between here and the server's start: then another is tried.
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.run(); err == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatalf("couldn't start redis-server: %v", err)
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Addr is where the server listens, host:port; the same after another start.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Start starts a server that was killed, at the same address and empty.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("couldn't start redis-server again: %v", err)
	}
}

// Kill ends the server at once, if it runs.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// Pause freezes the server: connections stay open, and nobody answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("couldn't signal redis-server: %v", err)
	}
}

func (s *Server) run() error {
	args := []string{"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no"}
	if s.tls == "" {
		args = append(args, "--port", strconv.Itoa(s.port))
	} else {
		args = append(args, "--port", "0", "--tls-port", strconv.Itoa(s.port), "--tls-ca-cert-file", filepath.Join(s.tls, "ca.pem"),
			"--tls-cert-file", filepath.Join(s.tls, "cert.pem"), "--tls-key-file", filepath.Join(s.tls, "key.pem"))
	}
	if s.password != "" {
		args = append(args, "--requirepass", s.password)
	}
	s.cmd, s.out, s.ended = exec.Command("redis-server", args...), &bytes.Buffer{}, make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = attributes()
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("%w (make bootstrap installs it)", err)
	}
	cmd, ended := s.cmd, s.ended
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
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

// answers says whether the server is there: any reply will do, a demand for the password too.
func (s *Server) answers() bool {
	c, err := s.dial()
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	// A connection without a deadline fails below.
	_ = c.SetDeadline(time.Now().Add(time.Second)) //nolint:forbidigo // a deadline of the socket's
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return false
	}
	one := make([]byte, 1)
	_, err = io.ReadFull(c, one)
	return err == nil && (one[0] == '+' || one[0] == '-')
}

func (s *Server) dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	if s.tls == "" {
		return dialer.Dial("tcp", s.Addr())
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.tls, "cert.pem"), filepath.Join(s.tls, "key.pem"))
	if err != nil {
		return nil, err
	}
	return tls.DialWithDialer(dialer, "tcp", s.Addr(), &tls.Config{
		Certificates:       []tls.Certificate{pair},
		InsecureSkipVerify: true, //nolint:gosec // it only asks whether somebody answers
	})
}
