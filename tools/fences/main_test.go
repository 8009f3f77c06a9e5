package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files into a new directory: path, content, path, content …
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(root, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func expect(t *testing.T, wrong []string, want ...string) {
	t.Helper()
	got := strings.Join(wrong, "\n")
	if len(wrong) != len(want) {
		t.Errorf("got %d findings, want %d:\n%s", len(wrong), len(want), got)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("without %q:\n%s", w, got)
		}
	}
}

const work = "go 1.26.0\n\nuse ./a\n"

func TestAModuleThatNobodyCompilesIsFound(t *testing.T) {
	root := tree(t, "go.work", work, "a/go.mod", "module a\n\ngo 1.26.0\n", "b/go.mod", "module b\n", "tools/x/go.mod", "module x\n")
	expect(t, everyModuleIsUsed(root), "b has a go.mod that go.work doesn't list")
	expect(t, everyModuleIsUsed(tree(t, "go.work", work)), "go.work lists a, which has no go.mod")
}

func TestVersionsThatDifferAreFound(t *testing.T) {
	root := tree(t, "go.work", "go 1.26.0\n\nuse ./a\nuse ./b\n",
		"a/go.mod", "module a\n\ngo 1.26.0\n\nrequire example.com/x v1.0.0\n",
		"b/go.mod", "module b\n\ngo 1.25.0\n\nrequire example.com/x v1.1.0\n")
	expect(t, oneVersion(root), "example.com/x: v1.0.0 in a; v1.1.0 in b")
	expect(t, oneGoVersion(root), "b says go 1.25.0")
}

func TestWhoeverSpeaksToNomadIsFound(t *testing.T) {
	const asks = "\n\ngo 1.26.0\n\nrequire github.com/hashicorp/nomad/api v0.0.0-20260211190147-f876384fe3ab\n"
	root := tree(t, "go.work", "go 1.26.0\n\nuse ./libs\nuse ./apps/control-panel\n", "libs/go.mod", "module libs"+asks, "apps/control-panel/go.mod", "module panel"+asks)
	expect(t, noNomad(root), "libs depends on github.com/hashicorp/nomad/api")
}

func TestDriversAreRecognised(t *testing.T) {
	for path, want := range map[string]bool{
		"gorm.io/gorm": true, "github.com/jackc/pgx/v5": true, "github.com/ncruces/go-sqlite3": true,
		"github.com/ncruces/go-sqlite3/gormlite": true, "modernc.org/sqlite": true, "github.com/jackc/pgpassfile": true,
		"github.com/gin-gonic/gin": false, "github.com/prometheus/client_golang": false,
	} {
		if isDriver(path) != want {
			t.Errorf("%s: want %v", path, want)
		}
	}
}

func TestNamesThatDifferAreFound(t *testing.T) {
	var files []string
	for _, service := range services {
		files = append(files, "apps/"+service+"/go.mod", "", "jobs/"+service+".nomad.hcl", "", "vault-policies/"+service+".hcl", "")
	}
	files = append(files, "apps/popvote/go.mod", "", "apps/e2e/go.mod", "")
	expect(t, oneName(tree(t, files...)))
	expect(t, oneName(tree(t, append(files[2:], "jobs/other.nomad.hcl", "", "jobs/redis.nomad.hcl", "", "apps/new/go.mod", "")...)),
		"apps is without api-server", "jobs has other", "apps has new")
}

func TestBrokenJobsAndUnexplainedPathsAreFound(t *testing.T) {
	expect(t, parseHCL(tree(t,
		"jobs/a.nomad.hcl", "job \"a\" {}\n",
		"vault-policies/a.hcl", "# Why.\npath \"x\" {\n  capabilities = [\"read\"]\n}\n")))
	expect(t, parseHCL(tree(t,
		"jobs/a.nomad.hcl", "job \"b\" {}\n",
		"jobs/c.nomad.hcl", "",
		"jobs/d.nomad.hcl", "job \"d\" {\n",
		"vault-policies/a.hcl", "# Why.\npath \"x\" {}\npath \"y\" {}\n")),
		`holds the job "b"`, "c.nomad.hcl holds 0 jobs", "jobs/d.nomad.hcl:", `no comment above the path "y"`)
}
