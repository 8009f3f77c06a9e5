// Fences checks what the compiler doesn't while go.work is there: go.work makes one program of all
// modules, and would let a database driver reach the public face without anybody saying so.
//
// It takes the root of the repository, prints a line per fence and everything that is wrong, and
// exits with 1 if anything is.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// services are the programs that run in a cluster. One name joins everything about each.
var services = []string{"api-server", "ballot-server", "control-panel", "sms-gateway"}

// databaseFree are the modules that nothing of a database may be in, not even as a dependency of a
// dependency.
var databaseFree = []string{"libs", "apps/api-server", "apps/sms-gateway", "apps/control-panel"}

// drivers are parts of module paths that mean a database.
var drivers = []string{"gorm", "pgx", "jackc", "sqlite", "database/"}

// nomads are the modules that may speak to Nomad: it can run anything as anybody.
var nomads = []string{"apps/control-panel", "apps/popvote"}

// fences are all checks; each returns what is wrong.
var fences = []struct {
	name  string
	check func(root string) []string
}{
	{"go.work lists every module", everyModuleIsUsed},
	{"one go version", oneGoVersion},
	{"one version of each dependency", oneVersion},
	{"no database behind the public face", noDatabase},
	{"nobody speaks to Nomad but who shows and makes clusters", noNomad},
	{"every database-free program bans drivers in deps_test.go", depsTests},
	{"one name for each service", oneName},
	{"job files and policies are HCL", parseHCL},
	{"go.mod files are tidy", tidy},
	{"each module stands by itself", standsAlone},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fences ROOT")
		os.Exit(2)
	}
	root, err := filepath.Abs(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "fences:", err)
		os.Exit(1)
	}
	failed := false
	for _, fence := range fences {
		wrong := fence.check(root)
		if len(wrong) == 0 {
			fmt.Printf("ok    %s\n", fence.name)
			continue
		}
		failed = true
		fmt.Printf("FAIL  %s\n", fence.name)
		for _, line := range wrong {
			fmt.Printf("      %s\n", strings.ReplaceAll(strings.TrimSpace(line), "\n", "\n      "))
		}
	}
	if failed {
		os.Exit(1)
	}
}

// run runs a program in a directory, without the workspace.
func run(directory string, command ...string) (string, error) {
	var out, complaint bytes.Buffer
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr = directory, &out, &complaint
	c.Env = append(os.Environ(), "GOWORK=off")
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s in %s: %w\n%s%s", strings.Join(command, " "), directory, err, out.String(), complaint.String())
	}
	return out.String(), nil
}

// modFile is what `go mod edit -json` and `go work edit -json` say.
type modFile struct {
	Go      string
	Require []struct{ Path, Version string }
	Use     []struct{ DiskPath string }
}

func readMod(root, directory, kind string) (modFile, error) {
	out, err := run(filepath.Join(root, directory), "go", kind, "edit", "-json")
	if err != nil {
		return modFile{}, err
	}
	var file modFile
	if err := json.Unmarshal([]byte(out), &file); err != nil {
		return modFile{}, fmt.Errorf("couldn't read go %s edit: %w", kind, err)
	}
	return file, nil
}

// used returns the modules of go.work, as paths below the root.
func used(root string) ([]string, error) {
	out, err := run(root, "go", "work", "edit", "-json", filepath.Join(root, "go.work"))
	if err != nil {
		return nil, err
	}
	var work modFile
	if err := json.Unmarshal([]byte(out), &work); err != nil {
		return nil, fmt.Errorf("couldn't read go.work: %w", err)
	}
	var modules []string
	for _, use := range work.Use {
		modules = append(modules, filepath.ToSlash(filepath.Clean(use.DiskPath)))
	}
	return modules, nil
}

// everyModuleIsUsed: a go.mod that go.work doesn't list is compiled by nobody. Tools are the exception.
func everyModuleIsUsed(root string) (wrong []string) {
	modules, err := used(root)
	if err != nil {
		return []string{err.Error()}
	}
	err = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		switch {
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || below == ".git" || below == "tools" || below == "bin"):
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			directory := filepath.ToSlash(filepath.Dir(below))
			if !slices.Contains(modules, directory) {
				wrong = append(wrong, directory+" has a go.mod that go.work doesn't list")
			}
		}
		return nil
	})
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, module := range modules {
		if _, err := os.Stat(filepath.Join(root, module, "go.mod")); err != nil {
			wrong = append(wrong, "go.work lists "+module+", which has no go.mod")
		}
	}
	return wrong
}

func each(root string, do func(module string) error) (wrong []string) {
	modules, err := used(root)
	if err != nil {
		return []string{err.Error()}
	}
	for _, module := range modules {
		if err := do(module); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

func oneGoVersion(root string) []string {
	out, err := run(root, "go", "work", "edit", "-json", filepath.Join(root, "go.work"))
	if err != nil {
		return []string{err.Error()}
	}
	var work modFile
	if err := json.Unmarshal([]byte(out), &work); err != nil {
		return []string{err.Error()}
	}
	return each(root, func(module string) error {
		file, err := readMod(root, module, "mod")
		if err == nil && file.Go != work.Go {
			err = fmt.Errorf("%s says go %s, go.work says go %s", module, file.Go, work.Go)
		}
		return err
	})
}

// oneVersion: two modules that are tested together in the workspace, which takes the higher version,
// must not be shipped with a lower one.
func oneVersion(root string) []string {
	versions := map[string]map[string][]string{} // path, version, modules
	wrong := each(root, func(module string) error {
		file, err := readMod(root, module, "mod")
		for _, r := range file.Require {
			if versions[r.Path] == nil {
				versions[r.Path] = map[string][]string{}
			}
			versions[r.Path][r.Version] = append(versions[r.Path][r.Version], module)
		}
		return err
	})
	return append(wrong, differing(versions)...)
}

func differing(versions map[string]map[string][]string) (wrong []string) {
	for path, by := range versions {
		if len(by) < 2 {
			continue
		}
		var parts []string
		for version, modules := range by {
			parts = append(parts, version+" in "+strings.Join(modules, ", "))
		}
		slices.Sort(parts)
		wrong = append(wrong, path+": "+strings.Join(parts, "; "))
	}
	slices.Sort(wrong)
	return wrong
}

func noDatabase(root string) (wrong []string) {
	for _, module := range databaseFree {
		out, err := run(filepath.Join(root, module), "go", "list", "-m", "all")
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		for line := range strings.Lines(out) {
			path, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if isDriver(path) {
				wrong = append(wrong, module+" depends on "+path+" (go mod why -m "+path+")")
			}
		}
	}
	return wrong
}

func noNomad(root string) []string {
	return each(root, func(module string) error {
		file, err := readMod(root, module, "mod")
		for _, r := range file.Require {
			if strings.HasPrefix(r.Path, "github.com/hashicorp/nomad") && !slices.Contains(nomads, module) {
				err = fmt.Errorf("%s depends on %s", module, r.Path)
			}
		}
		return err
	})
}

func isDriver(path string) bool {
	return slices.ContainsFunc(drivers, func(part string) bool { return strings.Contains(path, part) })
}

func depsTests(root string) (wrong []string) {
	for _, module := range databaseFree {
		if !strings.HasPrefix(module, "apps/") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, module, "deps_test.go"))
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		for _, path := range []string{"database/sql", "gorm.io", "github.com/jackc/pgx", "github.com/ncruces"} {
			if !bytes.Contains(content, []byte(path)) {
				wrong = append(wrong, module+"/deps_test.go doesn't ban "+path)
			}
		}
	}
	return wrong
}

func tidy(root string) []string {
	return each(root, func(module string) error {
		diff, err := run(filepath.Join(root, module), "go", "mod", "tidy", "-diff")
		if err != nil && diff != "" {
			err = fmt.Errorf("%s: run GOWORK=off go mod tidy, which changes %d lines", module, changed(diff))
		}
		return err
	})
}

// changed counts the lines that a unified diff adds and takes away.
func changed(diff string) (n int) {
	for line := range strings.Lines(diff) {
		if (line[0] == '+' || line[0] == '-') && !strings.HasPrefix(line, "+++") && !strings.HasPrefix(line, "---") {
			n++
		}
	}
	return n
}

func standsAlone(root string) []string {
	return each(root, func(module string) error {
		_, err := run(filepath.Join(root, module), "go", "vet", "./...")
		return err
	})
}
