package vaulttest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Workloads signs workload identities as Nomad does, and shows its public keys as Nomad does.
type Workloads struct {
	// URL is where Vault finds the public keys.
	URL    string
	t      testing.TB
	signer jose.Signer
}

// NewWorkloads makes a signer whose keys are shown until the test ends.
func NewWorkloads(t testing.TB) *Workloads {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "test"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "test", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(shown) }))
	t.Cleanup(s.Close)
	return &Workloads{URL: s.URL + "/.well-known/jwks.json", t: t, signer: signer}
}

// File is a file with the identity of a job's task.
func (w *Workloads) File(namespace, job string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "nomad_vault_default.jwt")
	now := time.Now() //nolint:forbidigo // Vault looks at the same clock
	text, err := jwt.Signed(w.signer).Claims(jwt.Claims{
		Subject: "global:" + namespace + ":" + job + ":" + job + ":" + job + ":vault_default", Audience: jwt.Audience{"vault.io"},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-time.Minute)), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}).Claims(map[string]any{
		"nomad_namespace": namespace, "nomad_job_id": job, "nomad_task": job, "nomad_allocation_id": "1",
	}).Serialize()
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}
