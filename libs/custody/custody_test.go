package custody_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

func deps() custody.Deps {
	return custody.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}

// needs is what each program asks for, and the purpose of a secret that it uses.
var needs = map[string]struct {
	tokens  bool
	purpose keyring.Purpose
}{
	"api-server":    {true, keyring.Verification},
	"sms-gateway":   {false, keyring.Verification},
	"ballot-server": {false, keyring.Documents},
	"control-panel": {false, ""},
}

// TestVaultGivesEachProgramWhatItNeeds, with the policies that there are, and no file.
func TestVaultGivesEachProgramWhatItNeeds(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	_, err := setup.Apply(t.Context(), s.Client(), setup.Config{Files: os.DirFS("../../vault-policies"), Values: map[string]string{"jwks_url": w.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"api-server", "sms-gateway", "ballot-server", "control-panel"} {
		n := needs[program]
		held, err := custody.Open(t.Context(), custody.Config{
			Program: program, Vault: vault.Settings{Address: s.Address(), JWT: w.File("popvote", program)}, Tokens: n.tokens, Secrets: n.purpose != "",
		}, deps())
		if err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		if err := errors.Join(held.Check(t.Context()), held.Certificates.Check(t.Context())); err != nil {
			t.Errorf("%s: %v", program, err)
		}
		if (held.Tokens != nil) != n.tokens || (held.Secrets != nil) != (n.purpose != "") {
			t.Errorf("%s has tokens %t, secrets %t", program, held.Tokens != nil, held.Secrets != nil)
		}
		if held.Secrets != nil {
			if _, err := held.Secrets.Secret(t.Context(), n.purpose, ""); err != nil {
				t.Errorf("%s: %v", program, err)
			}
		}
	}
	// For development: a token instead of a workload's identity, of the environment or a file.
	t.Setenv("VAULT_TOKEN", s.Token("api-server"))
	for _, file := range []string{"", s.TokenFile("api-server")} {
		if _, err := custody.Open(t.Context(), custody.Config{Program: "api-server", Vault: vault.Settings{Address: s.Address(), Token: file}, Tokens: true}, deps()); err != nil {
			t.Errorf("with a token: %v", err)
		}
		t.Setenv("VAULT_TOKEN", "")
	}
	if _, err := custody.Open(t.Context(), custody.Config{Program: "api-server", Vault: vault.Settings{Address: s.Address()}}, deps()); err == nil {
		t.Error("without anything, it is let in")
	}
}

// TestFilesGoFirst: what a file is named for is not asked of Vault, which need not be there.
func TestFilesGoFirst(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: []string{"api-server"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	c := custody.Config{Program: "api-server", Keys: filepath.Join(t.TempDir(), "keys.json"), TLS: filepath.Join(dir, "api-server"), Tokens: true, Secrets: true}
	held, err := custody.Open(t.Context(), c, deps())
	if err != nil || held.Tokens == nil || held.Secrets == nil || held.Certificates == nil || held.Vault != nil {
		t.Fatalf("%+v, %v", held, err)
	}
	c.TLS = dir
	if _, err := custody.Open(t.Context(), c, deps()); !errors.Is(err, service.ErrConfig) {
		t.Errorf("a directory without certificates: %v", err)
	}
}
