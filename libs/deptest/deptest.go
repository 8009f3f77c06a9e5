// Package deptest keeps packages out of programs. What a program cannot import it cannot do: an API
// server without a database driver has no way to read the participation table.
package deptest

import (
	"bytes"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

// Forbid fails the test if the package under test imports, however deeply, any of the import paths
// (or a package below one), and prints the reason given for it and who imports it. A path that ends
// with $ stands for itself alone: "database/sql$" does not mean the types of database/sql/driver, which
// libraries far from any database mention.
func Forbid(t *testing.T, reasons map[string]string) {
	t.Helper()
	for _, line := range violations(list(t), reasons) {
		t.Error(line)
	}
}

// dependency is one package and what it imports.
type dependency struct {
	path    string
	imports []string
}

// list gives everything that goes into the package under test, which is the working directory.
func list(t *testing.T) []dependency {
	t.Helper()
	var complaint bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".")
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("couldn't list the dependencies: %v\n%s", err, complaint.Bytes())
	}
	var all []dependency
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 0 {
			all = append(all, dependency{words[0], words[1:]})
		}
	}
	return all
}

func violations(all []dependency, reasons map[string]string) []string {
	importers := map[string][]string{}
	for _, one := range all {
		for _, path := range one.imports {
			importers[path] = append(importers[path], one.path)
		}
	}
	var found []string
	for _, one := range all {
		for banned, reason := range reasons {
			path, alone := strings.CutSuffix(banned, "$")
			if one.path == path || !alone && strings.HasPrefix(one.path, path+"/") {
				by := importers[one.path]
				sort.Strings(by)
				found = append(found, one.path+" must not be here: "+reason+" (imported by "+strings.Join(by, ", ")+")")
			}
		}
	}
	sort.Strings(found)
	return found
}
