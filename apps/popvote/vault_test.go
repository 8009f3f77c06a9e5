package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/vaulttest"
)

// TestVaultApply: checked, applied, checked again; and what cannot be done says why.
func TestVaultApply(t *testing.T) {
	s := vaulttest.Start(t)
	t.Setenv("VAULT_ADDR", s.Address())
	t.Setenv("VAULT_TOKEN", s.Client().Token())
	values := filepath.Join(t.TempDir(), "values.json")
	if err := os.WriteFile(values, []byte(`{"audit_first": "/dev/null"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, exit.Code) {
		var said strings.Builder
		root := newRootCommand()
		root.SetOut(&said)
		root.SetArgs(append([]string{"vault", "apply", "--dir", "../../vault-policies", "--values", values}, args...))
		return said.String(), exit.Of(root.ExecuteContext(t.Context()))
	}
	for _, step := range []struct {
		args []string
		want exit.Code
	}{
		{[]string{"--check"}, exit.Differs},
		{nil, exit.OK},
		{[]string{"--check"}, exit.OK},
		{nil, exit.OK},
		{[]string{"--dir", "."}, exit.Failed},
	} {
		if said, code := run(step.args...); code != step.want {
			t.Errorf("%q exits with %d, not %d:\n%s", step.args, code, step.want, said)
		}
	}
	if text, err := s.Client().Sys().GetPolicy("api-server"); err != nil || !strings.Contains(text, "transit/export") {
		t.Errorf("the policy is %q, %v", text, err)
	}
	if err := os.Chmod(values, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, code := run(); code != exit.BadInput {
		t.Errorf("a file that others can read exits with %d", code)
	}
	t.Setenv("VAULT_TOKEN", "")
	if err := os.Chmod(values, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, code := run(); code != exit.Usage {
		t.Errorf("no token exits with %d", code)
	}
}
