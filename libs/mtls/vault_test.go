package mtls_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

// TestCertificatesFromVault: services know each other by what Vault has signed; it is renewed in time, stays in
// use while Vault gives no other, and names nobody else.
func TestCertificatesFromVault(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	_, err := setup.Apply(t.Context(), s.Client(), setup.Config{Files: os.DirFS("../../vault-policies"), Values: map[string]string{"jwks_url": w.URL}})
	if err != nil {
		t.Fatal(err)
	}
	from := func(service string, life time.Duration) *mtls.Vault {
		t.Helper()
		client, err := vault.Open(t.Context(), vault.Settings{Address: s.Address(), JWT: w.File("popvote", service)}, service, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		v, err := mtls.FromVault(t.Context(), mtls.VaultConfig{Client: client, Service: service, Life: life, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		go v.Run(t.Context())
		return v
	}
	shown := func(v *mtls.Vault) string {
		t.Helper()
		c, err := v.Client("ballot-server").GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Leaf.Raw)
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for range 3000 {
			if is() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("waited in vain until %s", what)
	}
	ballots, api := from("ballot-server", 0), from("api-server", 6*time.Second)
	url := served(t, ballots.Server())
	first := shown(api)
	for range 2 {
		now := shown(api)
		got, err := get(t, client(t, api.Client("ballot-server")), url)
		if err != nil || got != "HTTP/2.0 api-server" {
			t.Fatalf("%q %v", got, err)
		}
		await("it is renewed", func() bool { return shown(api) != now })
	}
	if err := api.Check(t.Context()); err != nil || shown(api) == first {
		t.Errorf("it is the first still, or wrong: %v", err)
	}
	if _, err := get(t, client(t, api.Client("sms-gateway")), url); !errors.Is(err, mtls.ErrWrongService) {
		t.Errorf("another service: %v", err)
	}
	// One from files, of another CA, is nobody's here.
	stranger := load(t, filepath.Join(made(t, &clock{now: time.Now()}, "api-server"), "api-server"), &clock{now: time.Now()})
	if _, err := get(t, client(t, stranger.Client("ballot-server")), url); !errors.Is(err, mtls.ErrUnknownCA) {
		t.Errorf("another CA: %v", err)
	}

	s.Seal()
	now := shown(api)
	await("it can't be renewed", func() bool { return api.Check(t.Context()) != nil })
	if shown(api) != now {
		t.Error("the old one is given up")
	}
	s.Unseal()
	await("it is renewed again", func() bool { return shown(api) != now && api.Check(t.Context()) == nil })
	if got, err := get(t, client(t, api.Client("ballot-server")), url); err != nil || got != "HTTP/2.0 api-server" {
		t.Errorf("%q %v", got, err)
	}
}
