package setup_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

// wanted is the repository's directory, with values for all that an installation has to say, but the
// database: other tests have one.
func wanted(t *testing.T, w *vaulttest.Workloads) setup.Config {
	dir := t.TempDir()
	return setup.Config{Files: os.DirFS("../../../vault-policies"), Values: map[string]string{
		"jwks_url": w.URL, "audit_first": filepath.Join(dir, "first.log"), "audit_second": filepath.Join(dir, "second.log"),
	}}
}

func apply(t *testing.T, s *vaulttest.Server, c setup.Config) []setup.Step {
	t.Helper()
	steps, err := setup.Apply(t.Context(), s.Client(), c)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// rights is all that each policy gives of the paths below; what is not listed is denied.
var rights = map[string]map[string]string{
	"api-server": {
		"transit/export/encryption-key/popvote-token": "read", "transit/keys/popvote-token": "read",
		"secret/data/popvote/polls/lunch/voter-tags": "create read", "secret/data/popvote/fingerprints/polls/lunch/voter-tags": "create read",
		"secret/data/popvote/verification": "create read", "secret/data/popvote/codes": "create read", "secret/data/popvote/challenges": "create read",
		"pki_int/sign/api-server": "update",
	},
	"ballot-server": {
		"database/creds/ballot-server": "read", "secret/data/popvote/signing/documents": "create read",
		"secret/metadata/popvote/polls/lunch/voter-tags": "read", "secret/delete/popvote/polls/lunch/voter-tags": "update",
		"secret/destroy/popvote/polls/lunch/voter-tags": "update", "secret/data/popvote/fingerprints/polls/lunch/voter-tags": "read",
		"pki_int/sign/ballot-server": "update",
	},
	"sms-gateway": {
		"secret/data/popvote/verification": "read", "secret/data/popvote/sms-providers": "read", "pki_int/sign/sms-gateway": "update",
	},
	"control-panel": {"transit/keys/popvote-token": "read", "pki_int/sign/control-panel": "update"},
	"migrate":       {"database/creds/migrate": "read"},
	"verify":        {"pki_int/sign/verify": "update"},
	"haproxy":       {"secret/data/popvote/haproxy": "read"},
	"redis":         {"pki_int/issue/redis": "update"},
	"patroni":       {"pki_int/issue/popvote-db": "update"},
	"keymaster": {
		"transit/keys/popvote-token": "read", "transit/keys/popvote-token/rotate": "update", "transit/keys/popvote-token/config": "update",
	},
	"ops-drill": {"sys/step-down": "sudo update", "sys/seal": "sudo update", "sys/leader": "read"},
}

// nobodys are paths that no policy may open, each for what it could do.
var nobodys = []string{
	"transit/encrypt/popvote-token", "transit/decrypt/popvote-token", "transit/backup/popvote-token", "transit/export/encryption-key/other",
	"transit/keys/popvote-token/trim", "transit/keys/other",
	"secret/undelete/popvote/polls/lunch/voter-tags", "secret/metadata/popvote/signing/documents", "secret/destroy/popvote/signing/documents",
	"secret/delete/popvote/signing/documents", "secret/data/popvote", "secret/data/other", "secret/config", "secret/metadata/popvote/fingerprints/polls/lunch/voter-tags",
	"database/config/popvote", "database/roles/ballot-server", "database/creds/other", "database/rotate-root/popvote",
	"pki/root/sign-intermediate", "pki_int/roles/api-server", "pki_int/sign-verbatim", "pki_int/sign/other", "pki_int/issue/api-server", "pki_int/issue/ballot-server",
	"auth/jwt-nomad/role/api-server", "auth/jwt-nomad/config", "auth/token/create",
	"sys/policies/acl/api-server", "sys/mounts/other", "sys/audit/first", "sys/rotate", "sys/raw/core", "sys/generate-root/attempt",
}

// TestPoliciesByPath: policy × path, as the real Vault sees it.
func TestPoliciesByPath(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	apply(t, s, wanted(t, w))
	paths := slices.Clone(nobodys)
	for _, by := range rights {
		for path := range by {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)

	files, err := filepath.Glob("../../../vault-policies/*.hcl")
	if err != nil || len(files) != len(rights) {
		t.Fatalf("%d policies, and rights for %d (%v)", len(files), len(rights), err)
	}
	for policy, may := range rights {
		token := s.Token(policy)
		for _, path := range paths {
			got, err := s.Client().Sys().CapabilitiesWithContext(t.Context(), token, path)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			want, listed := may[path]
			if !listed {
				want = "deny"
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s may %s on %s, not %s", policy, got, path, want)
			}
		}
	}
}

// TestAWorkloadGetsItsOwnRoleOnly: the API server, with the identity that Nomad gives it, can't have
// database credentials, neither by asking nor by another's role.
func TestAWorkloadGetsItsOwnRoleOnly(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	apply(t, s, wanted(t, w))
	open := func(namespace, job, role string) (*vault.Client, error) {
		return vault.Open(t.Context(), vault.Settings{Address: s.Address(), JWT: w.File(namespace, job)}, role, slog.New(slog.DiscardHandler))
	}
	c, err := open("popvote", "api-server", "api-server")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct{ Keys map[string][]byte }
	}
	if err := c.Read(t.Context(), "transit/export/encryption-key/popvote-token", &answer); err != nil || len(answer.Data.Keys["1"]) != 32 {
		t.Errorf("it can't have the token keys: %v", err)
	}
	for _, role := range []string{"ballot-server", "migrate"} {
		if err := c.Read(t.Context(), "database/creds/"+role, nil); !errors.Is(err, vault.ErrDenied) {
			t.Errorf("asked for the database's credentials of %s: %v", role, err)
		}
		if _, err := open("popvote", "api-server", role); err == nil {
			t.Errorf("it has taken the role %s", role)
		}
	}
	if _, err := open("other", "api-server", "api-server"); err == nil {
		t.Error("a job of another namespace has taken its role")
	}
	// It is not that nobody could: the ballot server gets as far as to the database, which is not there.
	c, err = open("popvote", "ballot-server", "ballot-server")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Read(t.Context(), "database/creds/ballot-server", nil); err == nil || errors.Is(err, vault.ErrDenied) {
		t.Errorf("the ballot server asks: %v", err)
	}
}

// TestApplyingTwiceChangesNothing, and a check finds whatever was changed in between, and changes nothing.
func TestApplyingTwiceChangesNothing(t *testing.T) {
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	c := wanted(t, w)
	check := c
	check.Check = true
	would := apply(t, s, check)
	done := apply(t, s, c)
	if !slices.EqualFunc(would, done, func(a, b setup.Step) bool { return a.Path == b.Path }) || !setup.Differs(done) {
		t.Errorf("said %v, and did %v", would, done)
	}
	for _, c := range []setup.Config{check, c} {
		if steps := apply(t, s, c); setup.Differs(steps) || len(steps) != 1 || steps[0].Path != "database/config/popvote" {
			t.Errorf("the second time: %v", steps)
		}
	}

	for path, body := range map[string]map[string]any{
		"sys/policies/acl/migrate":            {"policy": `path "secret/*" { capabilities = ["read"] }`},
		"transit/keys/popvote-token/config":   {"auto_rotate_period": "48h"},
		"pki_int/roles/api-server":            {"allow_any_name": true},
		"auth/jwt-nomad/role/api-server":      {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "other"},
		"database/roles/ballot-server":        {"db_name": "popvote", "creation_statements": "CREATE ROLE x"},
		"secret/config":                       {"cas_required": false},
		"sys/policies/acl/one-more-of-theirs": {"policy": `path "other/*" { capabilities = ["read"] }`},
	} {
		if _, err := s.Client().Logical().WriteWithContext(t.Context(), path, body); err != nil {
			t.Fatal(err)
		}
	}
	changed := apply(t, s, check)
	var paths []string
	for _, step := range changed {
		if step.Do == setup.Change {
			paths = append(paths, step.Path)
		}
	}
	slices.Sort(paths)
	if want := []string{
		"auth/jwt-nomad/role/api-server", "database/roles/ballot-server", "pki_int/roles/api-server", "secret/config",
		"sys/policies/acl/migrate", "transit/keys/popvote-token/config",
	}; !slices.Equal(paths, want) {
		t.Errorf("the check finds %v", changed)
	}
	if again := apply(t, s, check); !slices.Equal(again, changed) {
		t.Errorf("the check has changed something: %v", again)
	}
	apply(t, s, c)
	if steps := apply(t, s, check); setup.Differs(steps) {
		t.Errorf("applied again: %v", steps)
	}

	// What can't be changed is said, and left.
	c.Files = fstest.MapFS{
		"p.hcl":           {Data: []byte(`path "sys/health" { capabilities = ["read"] }`)},
		"mounts.json":     {Data: []byte(`{}`)},
		"settings/1.json": {Data: []byte(`[{"path": "transit/keys/popvote-token", "once": true, "data": {"type": "rsa-2048"}}]`)},
	}
	if _, err := setup.Apply(t.Context(), s.Client(), c); !errors.Is(err, setup.ErrFixed) {
		t.Errorf("another type of key: %v", err)
	}
}
