//go:build unix

package drill

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
)

// planOf writes a plan for a server of loopback, whose process the fault stops where it is.
func planOf(t *testing.T, fault string) *Plan {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	i := instance.Start(t, binary, instance.Options{Args: append([]string{"--seed-demo"}, everybodyAtOnce...)})
	t.Cleanup(i.Resume)
	var plan strings.Builder
	fmt.Fprintf(&plan, "name: a server of loopback\nedges: [%s, %s]\nphones: [%s]\n", edge(t, i), edge(t, i), i.Phone)
	poll := fmt.Sprintf("%s poll", binary)
	shares := filepath.Join(i.Data, "trustees", "$POLL")
	fmt.Fprintf(&plan, `
ready: test "$(cat is-well)" = yes
open: echo hk-2014-06
finish: >
  { %[1]s close $POLL --yes --data %[2]s && %[1]s count $POLL --share %[3]s/share-1.json --share %[3]s/share-3.json --data %[2]s &&
  %[1]s publish $POLL --yes --data %[2]s && %[1]s bundle $POLL $DRILL.zip --data %[2]s; } >&2 && echo $DRILL.zip
drills:
  - name: freeze
    hypothesis: The server stands still for three seconds, and votes are safe all the same.
    target: the server
    limit: 20s
    hold: 3s
    fault: %[4]s
    undo: kill -CONT %[5]d && echo undone > undone
`, poll, i.Data, shares, fmt.Sprintf(fault, i.Pid()), i.Pid())
	path := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(path, []byte(plan.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "is-well"), []byte("yes"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPlan(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A plan's commands take a server away and give it back, open the poll and finish it; what voters were told
// is true.
func TestPlan(t *testing.T) {
	p := planOf(t, "kill -STOP %d")
	var said []string
	r, err := Run(t.Context(), &Field{Plan: p}, p.List()[0], Options{Voters: 4, Dir: t.TempDir(), Say: func(line string) { said = append(said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Acknowledged < 20 || r.Gap < 2 || r.Target != "the server" {
		t.Errorf("%+v\n%s", r, strings.Join(said, "\n"))
	}
	if r.UndoAt-r.FaultAt < 2 || r.UndoAt-r.FaultAt > 20 {
		t.Errorf("the fault lasted from %.1f s to %.1f s", r.FaultAt, r.UndoAt)
	}
}

// Where the fault fails halfway, it is undone, and the drill fails; nothing begins where all is not well.
func TestPlanFails(t *testing.T) {
	p := planOf(t, "kill -STOP %d; false")
	run := func() error {
		_, err := Run(t.Context(), &Field{Plan: p}, p.List()[0], Options{Voters: 2, Dir: t.TempDir(), Say: func(string) {}})
		return err
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "the plan calls fault") {
		t.Errorf("a fault that fails: %v", err)
	}
	undone := filepath.Join(p.dir, "undone")
	if err := os.Remove(undone); err != nil {
		t.Errorf("it was not undone: %v", err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "is-well"), []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "the plan calls ready") {
		t.Errorf("where all is not well: %v", err)
	}
	if _, err := os.Stat(undone); err == nil {
		t.Error("something was undone that was never done")
	}
}

// All that is wrong with a plan is said, by its own words.
func TestBrokenPlans(t *testing.T) {
	const good = `
name: staging
edges: [https://a.example.org, https://b.example.org]
phones: [http://10.0.0.1:8090]
ready: "true"
open: echo poll
finish: echo bundle.zip
drills:
  - {name: one, hypothesis: h, target: t, limit: 1s, hold: 2s, fault: "true", undo: "true"}
`
	read := func(text string) (*Plan, error) {
		path := filepath.Join(t.TempDir(), "plan.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadPlan(path)
	}
	p, err := read(good)
	if err != nil || p.List()[0].Hold != 2*time.Second {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, test := range []struct{ from, to, want string }{
		{"name: staging", "", "name is missing"},
		{", https://b.example.org", "", "fewer than two"},
		{"https://a.example.org,", "a.example.org,", "no origin"},
		{`ready: "true"`, "", "ready is missing"},
		{`undo: "true"`, "", "drill 1"},
		{"hold: 2s", "hold: 0s", "drill 1"},
		{"open:", "opens:", "opens"},
		{"limit: 1s", "limit: soon", "soon"},
		{"drills:\n", "drills:\n  - {name: one, hypothesis: h, target: t, limit: 1s, hold: 2s, fault: f, undo: u}\n", "two of the name one"},
	} {
		if _, err := read(strings.Replace(good, test.from, test.to, 1)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s → %s: %v", test.from, test.to, err)
		}
	}
}
