package vault_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

const allowed, forbidden = "transit/keys/popvote-token", "database/creds/ballot-server"

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// TestStayingLoggedIn: whatever ends a token, the program logs in again, with the identity that lies there then;
// and what a policy denies is no reason to.
func TestStayingLoggedIn(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	_, err := setup.Apply(t.Context(), s.Client(), setup.Config{Files: os.DirFS("../../vault-policies"), Values: map[string]string{"jwks_url": w.URL}})
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	var logins atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(to)
	counting := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login") {
			logins.Add(1)
		}
		proxy.ServeHTTP(rw, r)
	}))
	defer counting.Close()
	identity := w.File("popvote", "control-panel")
	c, err := vault.Open(t.Context(), vault.Settings{Address: counting.URL, JWT: identity}, "control-panel", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	// Denied by the policy: one more log-in says so, and not one each time.
	for range 20 {
		if err := c.Read(t.Context(), forbidden, nil); !errors.Is(err, vault.ErrDenied) {
			t.Fatalf("the database's credentials: %v", err)
		}
	}
	if n := logins.Load(); n != 2 {
		t.Errorf("it has logged in %d times", n)
	}

	// A token that can't be renewed, and ends after two seconds, without anybody asking.
	role, err := s.Client().Logical().Read("auth/jwt-nomad/role/control-panel")
	if err != nil {
		t.Fatal(err)
	}
	role.Data["token_period"], role.Data["token_ttl"], role.Data["token_max_ttl"] = "0", "2s", "2s"
	if _, err := s.Client().Logical().Write("auth/jwt-nomad/role/control-panel", role.Data); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Logical().Write("sys/leases/revoke-prefix/auth/jwt-nomad/login", nil); err != nil {
		t.Fatal(err)
	}
	c, err = vault.Open(t.Context(), vault.Settings{Address: counting.URL, JWT: identity}, "control-panel", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go c.Run(t.Context())
	for range 2 {
		session := c.Session()
		select {
		case <-session.Ended():
		case <-time.After(time.Minute):
			t.Fatal("it keeps a token that has ended")
		}
		if err := c.Read(t.Context(), allowed, nil); err != nil {
			t.Errorf("logged in again: %v", err)
		}
	}

	// The identity is read at each log-in: a broken one ends it, and the next one is taken up.
	if err := os.WriteFile(identity, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the broken identity is shown", func() bool { return c.Read(t.Context(), allowed, nil) != nil })
	good, err := os.ReadFile(w.File("popvote", "control-panel"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(identity, good, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the new identity is taken up", func() bool { return c.Read(t.Context(), allowed, nil) == nil })

	s.Seal()
	if err := c.Read(t.Context(), allowed, nil); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("sealed, it says: %v", err)
	}
}

// slowBody gives what it has after a while.
type slowBody struct{ io.ReadCloser }

func (s slowBody) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.ReadCloser.Read(p)
}

// TestAnswersThatComeInParts: the head of an answer may be there long before the rest of it.
func TestAnswersThatComeInParts(t *testing.T) {
	s := vaulttest.Start(t)
	to, err := url.Parse(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Body = slowBody{r.Body}
		return nil
	}
	slow := httptest.NewServer(proxy)
	defer slow.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.Client().Token()), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := vault.Open(t.Context(), vault.Settings{Address: slow.URL, Token: token}, "control-panel", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var may map[string]any
	if err := c.Write(t.Context(), "sys/capabilities-self", map[string]any{"paths": []string{"sys/mounts"}}, &may); err != nil {
		t.Errorf("writing: %v", err)
	}
	if err := c.Read(t.Context(), "sys/policies/acl/default", &may); err != nil {
		t.Errorf("reading: %v", err)
	}
}
