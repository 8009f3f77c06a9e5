package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// notServices are programs without a job: one holds everything on one machine, one tests.
var notServices = []string{"popvote", "e2e"}

// otherPolicies are of jobs without a program of ours, of machines, and of people.
var otherPolicies = []string{"haproxy", "keymaster", "migrate", "ops-drill", "patroni", "redis", "verify"}

// otherJobs are of other people's programs, and of ours called otherwise.
var otherJobs = []string{"haproxy", "migrate", "prober", "redis", "verify"}

// oneName: apps/api-server = its binary = jobs/api-server.nomad.hcl = vault-policies/api-server.hcl.
func oneName(root string) (wrong []string) {
	programs := names(root, "apps/*/go.mod", func(path string) string { return filepath.Base(filepath.Dir(path)) })
	programs = slices.DeleteFunc(programs, func(name string) bool { return slices.Contains(notServices, name) })
	for what, found := range map[string][]string{
		"apps": programs,
		"jobs": slices.DeleteFunc(names(root, "jobs/*.nomad.hcl", func(path string) string { return strings.TrimSuffix(filepath.Base(path), ".nomad.hcl") }),
			func(name string) bool { return slices.Contains(otherJobs, name) }),
		"vault-policies": slices.DeleteFunc(names(root, "vault-policies/*.hcl", func(path string) string { return strings.TrimSuffix(filepath.Base(path), ".hcl") }),
			func(name string) bool { return slices.Contains(otherPolicies, name) }),
	} {
		wrong = append(wrong, compare(what, found)...)
	}
	slices.Sort(wrong)
	return wrong
}

func names(root, pattern string, name func(path string) string) (found []string) {
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		panic(err) // the patterns above are well formed
	}
	for _, path := range paths {
		found = append(found, name(path))
	}
	return found
}

func compare(what string, found []string) (wrong []string) {
	for _, service := range services {
		if !slices.Contains(found, service) {
			wrong = append(wrong, what+" is without "+service)
		}
	}
	for _, name := range found {
		if !slices.Contains(services, name) {
			wrong = append(wrong, what+" has "+name+", which is no service (see services in tools/fences)")
		}
	}
	return wrong
}

// parseHCL reads every job and policy: a job's name is its file's, and each policy's path says above
// it what it is for.
func parseHCL(root string) (wrong []string) {
	parser := hclparse.NewParser()
	for _, pattern := range []string{"jobs/*.hcl", "jobs/*/*.hcl", "vault-policies/*.hcl"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			panic(err) // the patterns above are well formed
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			file, diagnostics := parser.ParseHCL(content, strings.TrimPrefix(path, root+"/"))
			if diagnostics.HasErrors() {
				wrong = append(wrong, diagnostics.Error())
				continue
			}
			wrong = append(wrong, blocks(path, content, file)...)
		}
	}
	return wrong
}

func blocks(path string, content []byte, file *hcl.File) (wrong []string) {
	lines := strings.Split(string(content), "\n")
	name, isJob := strings.CutSuffix(filepath.Base(path), ".nomad.hcl")
	jobs := 0
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		switch block.Type {
		case "job":
			jobs++
			if block.Labels[0] != name {
				wrong = append(wrong, fmt.Sprintf("%s holds the job %q", path, block.Labels[0]))
			}
		case "path":
			line := block.DefRange().Start.Line // from 1
			if line < 2 || !strings.HasPrefix(lines[line-2], "#") {
				wrong = append(wrong, fmt.Sprintf("%s:%d: no comment above the path %q", path, line, block.Labels[0]))
			}
		}
	}
	if isJob && jobs != 1 {
		wrong = append(wrong, fmt.Sprintf("%s holds %d jobs", path, jobs))
	}
	return wrong
}
