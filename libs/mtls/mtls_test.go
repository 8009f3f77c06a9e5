package mtls_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
)

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func made(t *testing.T, c *clock, services ...string) string {
	t.Helper()
	dir := t.TempDir()
	renew(t, dir, c, services...)
	return dir
}

func renew(t *testing.T, dir string, c *clock, services ...string) {
	t.Helper()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: services, Hosts: []string{"localhost", "127.0.0.1"}, Clock: c.Now}); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string, c *clock) *mtls.Files {
	t.Helper()
	f, err := mtls.Load(dir, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve answers every request with the caller's name.
func serve(t *testing.T, f *mtls.Files) (url string) {
	t.Helper()
	return served(t, f.Server())
}

func served(t *testing.T, c *tls.Config) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto+" "+mtls.Caller(r)) }),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	go s.Serve(tls.NewListener(l, c))
	t.Cleanup(func() { s.Close() })
	return "https://" + l.Addr().String()
}

func client(t *testing.T, c *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// refusal is what a server says to a client it does not take: in TLS 1.3 only after the handshake.
func refusal(url string, c *tls.Config) error {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), c)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			return err
		}
	}
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestServicesKnowEachOther(t *testing.T) {
	c := &clock{now: start}
	dir := made(t, c, "api-server", "ballot-server")
	url := serve(t, load(t, filepath.Join(dir, "ballot-server"), c))
	got, err := get(t, client(t, load(t, filepath.Join(dir, "api-server"), c).Client("ballot-server")), url)
	if err != nil || got != "HTTP/2.0 api-server" {
		t.Errorf("%q %v", got, err)
	}
}

func TestWhoIsNotTaken(t *testing.T) {
	c := &clock{now: start}
	dir, stranger := made(t, c, "api-server", "ballot-server"), made(t, c, "api-server", "ballot-server")
	url := serve(t, load(t, filepath.Join(dir, "ballot-server"), c))
	ours := load(t, filepath.Join(dir, "api-server"), c)

	if _, err := get(t, client(t, ours.Client("sms-gateway")), url); !errors.Is(err, mtls.ErrWrongService) || !strings.Contains(err.Error(), "ballot-server") {
		t.Errorf("another service: %v", err)
	}
	theirs := load(t, filepath.Join(stranger, "api-server"), c)
	if _, err := get(t, client(t, theirs.Client("ballot-server")), url); !errors.Is(err, mtls.ErrUnknownCA) {
		t.Errorf("a server of another CA: %v", err)
	}
	// A client of another CA that takes any server is refused by the server.
	careless := theirs.Client("ballot-server")
	careless.VerifyConnection = nil
	if err := refusal(url, careless); err == nil || !strings.Contains(err.Error(), "remote error: tls: unknown certificate authority") {
		t.Errorf("a client of another CA: %v", err)
	}
	nameless := ours.Client("ballot-server")
	nameless.GetClientCertificate = nil
	if err := refusal(url, nameless); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a client without a certificate: %v", err)
	}
	old := ours.Client("ballot-server")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if err := refusal(url, old); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}

func TestExpired(t *testing.T) {
	c := &clock{now: start}
	dir := made(t, c, "api-server", "ballot-server")
	server := load(t, filepath.Join(dir, "ballot-server"), c)
	url, ours := serve(t, server), load(t, filepath.Join(dir, "api-server"), c)
	c.add(devca.LeafLife + time.Second)
	if _, err := get(t, client(t, ours.Client("ballot-server")), url); !errors.Is(err, mtls.ErrExpired) {
		t.Errorf("the server's: %v", err)
	}
	careless := ours.Client("ballot-server")
	careless.VerifyConnection = nil
	if err := refusal(url, careless); err == nil || !strings.Contains(err.Error(), "expired certificate") {
		t.Errorf("the client's: %v", err)
	}
	if err := server.Check(context.Background()); !errors.Is(err, mtls.ErrExpired) {
		t.Errorf("the check says %v", err)
	}
	if _, err := mtls.Load(filepath.Join(dir, "api-server"), c.Now); !errors.Is(err, mtls.ErrExpired) {
		t.Errorf("loading says %v", err)
	}
	// Renewed, the same files serve again, without a restart.
	renew(t, dir, c, "api-server", "ballot-server")
	c.add(time.Second)
	if _, err := get(t, client(t, ours.Client("ballot-server")), url); err != nil {
		t.Error(err)
	}
}

// TestRenewedWhileConnected: a live connection goes on, the next one shows the new certificate; half a
// renewal leaves the old one in use.
func TestRenewedWhileConnected(t *testing.T) {
	c := &clock{now: start}
	dir := made(t, c, "api-server", "ballot-server")
	server := load(t, filepath.Join(dir, "ballot-server"), c)
	url, ours := serve(t, server), load(t, filepath.Join(dir, "api-server"), c)
	serial := func(h *http.Client) string {
		t.Helper()
		r, err := h.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		return r.TLS.PeerCertificates[0].SerialNumber.String()
	}
	live := client(t, ours.Client("ballot-server"))
	before := serial(live)

	key := filepath.Join(dir, "ballot-server", mtls.KeyFile)
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.add(time.Second)
	if got := serial(client(t, ours.Client("ballot-server"))); got != before {
		t.Error("it used something else than what it had")
	}
	if err := server.Check(context.Background()); err == nil {
		t.Error("nobody is told that the files cannot be read")
	}
	if err := os.WriteFile(key, good, 0o600); err != nil {
		t.Fatal(err)
	}

	renew(t, dir, c, "api-server", "ballot-server")
	c.add(time.Second)
	if got := serial(live); got != before {
		t.Error("the live connection was cut")
	}
	if got := serial(client(t, ours.Client("ballot-server"))); got == before {
		t.Error("a new connection still sees the old certificate")
	}
	if err := server.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestRefusesKeysOthersMayRead(t *testing.T) {
	c := &clock{now: start}
	dir := filepath.Join(made(t, c, "api-server"), "api-server")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o700} {
		if err := os.Chmod(filepath.Join(dir, mtls.KeyFile), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := mtls.Load(dir, c.Now); err == nil || !strings.Contains(err.Error(), "0600") {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, mtls.KeyFile), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := mtls.Load(dir, c.Now); err != nil {
		t.Errorf("0400: %v", err)
	}
	if _, err := mtls.Load(t.TempDir(), c.Now); err == nil {
		t.Error("an empty directory was taken")
	}
}

func TestNobodyWithoutTLS(t *testing.T) {
	if got := mtls.Caller(&http.Request{}); got != "" {
		t.Error(got)
	}
	for _, name := range []string{"", "Api", "a/b", "../x", "1a", strings.Repeat("a", 64)} {
		if _, err := mtls.URI(name); err == nil {
			t.Errorf("%q is a service", name)
		}
	}
}
