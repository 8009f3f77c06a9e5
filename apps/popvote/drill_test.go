package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/drill"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

// Drills of a plan begin only when somebody at a terminal has said twice that they should.
func TestPlanIsConfirmed(t *testing.T) {
	drills := []drill.Drill{{Name: "freeze", Hypothesis: "It goes on."}}
	for name, test := range map[string]struct {
		said     string
		terminal bool
		ok       bool
	}{
		"twice":                  {"staging\nyes\n", true, true},
		"nobody there":           {"staging\nyes\n", false, false},
		"another cluster's name": {"production\nyes\n", true, false},
		"only once":              {"staging\n", true, false},
		"no":                     {"staging\nno\n", true, false},
		"nothing":                {"", true, false},
	} {
		var out bytes.Buffer
		err := confirmPlan(strings.NewReader(test.said), &out, test.terminal, "staging", drills)
		if test.ok != (err == nil) || err != nil && exit.Of(err) != exit.Refused {
			t.Errorf("%s: %v", name, err)
		}
		if test.terminal && !strings.Contains(out.String(), "freeze") {
			t.Errorf("%s: it doesn't say what it is about: %s", name, out.String())
		}
	}
	// The command asks before anything else: nothing of this plan could be run.
	path := filepath.Join(t.TempDir(), "plan.yaml")
	plan := `{name: staging, edges: ["http://127.0.0.1:1", "http://127.0.0.1:2"], phones: ["http://127.0.0.1:3"], ready: "false", open: "false",
finish: "false", drills: [{name: freeze, hypothesis: h, target: t, hold: 1s, fault: "false", undo: "false"}]}`
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := command(t, "", "drill", "--plan", path); code != exit.Refused {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, errs, code := command(t, "", "drill", "--plan", path, "thaw"); code != exit.Usage || !strings.Contains(errs, "freeze") {
		t.Errorf("a drill that is not in it: exit %d: %s", code, errs)
	}
}
