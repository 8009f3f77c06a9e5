package jobs

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/tools/jobs/agents"
)

// TestPlan: a real Nomad takes every job with every site, and would run the lab's on a machine of one of its clouds:
// what it doesn't place there is only what belongs into the other two.
func TestPlan(t *testing.T) {
	nomad := agents.Nomad(t, "cloud-a", "default", agents.Consul(t), agents.Vault(t))
	apply(t, nomad)
	for _, vars := range agents.Glob(t, root+"/vars/*.vars.hcl", 5) {
		for _, path := range agents.Glob(t, root+"/*.nomad.hcl", 9) {
			name := strings.TrimSuffix(filepath.Base(path), ".nomad.hcl")
			t.Run(name+" with "+strings.TrimSuffix(filepath.Base(vars), ".vars.hcl"), func(t *testing.T) {
				parsed, err := agents.Parse(t, path, vars)
				if err != nil {
					t.Fatal(err)
				}
				var request map[string]any
				if err := json.Unmarshal(parsed, &request); err != nil {
					t.Fatal(err)
				}
				request["Diff"] = true
				var plan struct {
					Diff           struct{ Type string }
					Warnings       string
					FailedTGAllocs map[string]struct {
						ConstraintFiltered, DimensionExhausted, ClassFiltered map[string]int
						NodesInPool                                           int
					}
					Annotations struct {
						DesiredTGUpdates map[string]struct{ Place int }
					}
				}
				nomad.For(t).Must("PUT", "/v1/job/"+name+"/plan?namespace=popvote", request, &plan)
				if plan.Diff.Type != "Added" || plan.Warnings != "" {
					t.Errorf("it is planned as %q, with the warnings %q", plan.Diff.Type, plan.Warnings)
				}
				if filepath.Base(vars) != "lab.vars.hcl" || name == "migrate" || name == "verify" {
					return // no machine of ours is of a provider's, and batches wait for somebody or for their hour
				}
				for group, update := range plan.Annotations.DesiredTGUpdates {
					if update.Place == 0 {
						t.Errorf("nothing of %s is to be placed", group)
					}
				}
				for group, failed := range plan.FailedTGAllocs {
					if len(failed.DimensionExhausted) > 0 {
						t.Errorf("%s needs more than there is: %v", group, failed.DimensionExhausted)
					}
					for constraint := range failed.ConstraintFiltered {
						if !strings.HasPrefix(constraint, "distinct_property: ${node.datacenter}") {
							t.Errorf("%s isn't placed because of %s", group, constraint)
						}
					}
				}
				if name == "haproxy" && len(plan.FailedTGAllocs) > 0 {
					t.Errorf("it isn't placed: %+v", plan.FailedTGAllocs)
				}
			})
		}
	}
}

// apply gives Nomad the namespace and the pools that the jobs are in.
func apply(t *testing.T, nomad *agents.Program) {
	t.Helper()
	for _, one := range [][]string{
		{"namespace", "apply", root + "/acl/namespace.popvote.hcl"},
		{"node", "pool", "apply", root + "/acl/node-pool.app.hcl"},
		{"node", "pool", "apply", root + "/acl/node-pool.edge.hcl"},
	} {
		command := exec.CommandContext(t.Context(), agents.Path(t, "nomad"), one...)
		command.Env = append(command.Environ(), "NOMAD_ADDR=http://"+nomad.Address, "NO_PROXY=*", "no_proxy=*")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("nomad %s: %v\n%s", strings.Join(one, " "), err, out)
		}
	}
}
