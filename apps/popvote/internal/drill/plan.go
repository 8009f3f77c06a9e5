//go:build unix

package drill

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/popvote/popvote/apps/e2e/votecheck"
)

// Plan is what an operator writes of a cluster on other machines: where voters come in, and what takes a
// cloud away and gives it back. Commands are the operator's own, run by sh as they stand, in the plan's
// directory, with DRILL, the drill's name, and POLL, once there is one, in the environment.
type Plan struct {
	// Name is what whoever starts it types to confirm: it should say which cluster this is.
	Name string `yaml:"name"`
	// Edges are the origins where voters come in, one in each cloud.
	Edges []string `yaml:"edges"`
	// CA is a file of who signs the edges' certificates; empty: whom this machine trusts.
	CA string `yaml:"ca"`
	// Phones are the origins of simulated phone networks: nobody drills with people's phones.
	Phones []string `yaml:"phones"`
	// Ready succeeds if all is as it should be.
	Ready string `yaml:"ready"`
	// Open opens a poll in which voters text, and prints its id.
	Open string `yaml:"open"`
	// Finish closes that poll, counts and publishes it, and prints the path of its bundle.
	Finish string `yaml:"finish"`
	// Settle puts back what doesn't come back by itself; empty: nothing does.
	Settle string `yaml:"settle"`
	// Drills are what is taken away, in this order.
	Drills []PlanDrill `yaml:"drills"`

	dir string
}

// PlanDrill is one of a plan's drills.
type PlanDrill struct {
	Name       string `yaml:"name"`
	Hypothesis string `yaml:"hypothesis"`
	// Target is what is taken away, in words.
	Target string `yaml:"target"`
	// Limit is the longest time without a vote that is allowed; 0: nobody may be told that a vote is safe.
	Limit time.Duration `yaml:"limit"`
	// Hold is how long the fault lasts; it ends before if no vote comes for twice the limit.
	Hold time.Duration `yaml:"hold"`
	// Fault takes it away, and Undo gives it back: also when Fault failed, or somebody interrupted.
	Fault string `yaml:"fault"`
	Undo  string `yaml:"undo"`
}

// ReadPlan reads a plan, and says all that is wrong with it.
func ReadPlan(path string) (*Plan, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plan: %w", err)
	}
	p := &Plan{}
	if err := yaml.UnmarshalWithOptions(text, p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("couldn't read the plan:\n%w", err)
	}
	if p.dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("couldn't find the plan's directory: %w", err)
	}
	return p, p.check()
}

func (p *Plan) check() error {
	var wrong []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	must(p.Name != "", "name is missing: whoever starts it types it to confirm")
	must(len(p.Edges) >= 2, "edges are fewer than two: voters have to come in where nothing is taken away")
	must(len(p.Phones) > 0, "phones are missing: voters text by a simulated network")
	for _, origin := range slices.Concat(p.Edges, p.Phones) {
		u, err := url.Parse(origin)
		must(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && strings.Trim(u.Path, "/") == "", "%q is no origin, like https://vote.example.org", origin)
	}
	for name, command := range map[string]string{"ready": p.Ready, "open": p.Open, "finish": p.Finish} {
		must(command != "", "%s is missing", name)
	}
	must(len(p.Drills) > 0, "drills are missing")
	seen := map[string]bool{}
	for i, d := range p.Drills {
		must(d.Name != "" && d.Hypothesis != "" && d.Target != "" && d.Fault != "" && d.Undo != "" && d.Hold > 0 && d.Limit >= 0,
			"drill %d: wants a name, a hypothesis, a target, a fault, an undo and how long to hold it", i+1)
		must(!seen[d.Name], "drill %d: there are two of the name %s", i+1, d.Name)
		seen[d.Name] = true
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the plan is broken:\n%w", errors.Join(wrong...))
}

// List are the plan's drills.
func (p *Plan) List() []Drill {
	all := make([]Drill, len(p.Drills))
	for i, d := range p.Drills {
		all[i] = Drill{Name: d.Name, Hypothesis: d.Hypothesis, Limit: d.Limit, Hold: d.Hold}
	}
	return all
}

// Field is the scene of a plan.
type Field struct {
	Plan *Plan

	poll string // once it is open
}

func (f *Field) of(d Drill) PlanDrill {
	i := slices.IndexFunc(f.Plan.Drills, func(p PlanDrill) bool { return p.Name == d.Name })
	return f.Plan.Drills[i]
}

func (f *Field) begin(ctx context.Context, d Drill) (target, before string, err error) {
	f.poll = ""
	if err := f.whole(ctx); err != nil {
		return "", "", err
	}
	return f.of(d).Target, "all was as it should be by the word of " + f.Plan.Ready, nil
}

func (f *Field) load(ctx context.Context, d Drill, at int, dir string) (*voters, error) {
	vote := &Vote{
		Edges: f.Plan.Edges, Phones: func(context.Context) ([]string, error) { return f.Plan.Phones, nil },
		Finish: func(ctx context.Context, _ string) (votecheck.Final, error) {
			bundle, err := f.run(ctx, "finish", f.Plan.Finish, d.Name)
			if err != nil {
				return votecheck.Final{}, err
			}
			if !filepath.IsAbs(bundle) {
				bundle = filepath.Join(f.Plan.dir, bundle)
			}
			return votecheck.ReadBundle(bundle)
		},
	}
	if f.Plan.CA != "" {
		path := f.Plan.CA
		if !filepath.IsAbs(path) {
			path = filepath.Join(f.Plan.dir, path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the edges' CA: %w", err)
		}
		vote.CA = x509.NewCertPool()
		if !vote.CA.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("couldn't read the edges' CA: no certificate is in %s", path)
		}
	}
	var err error
	if f.poll, err = f.run(ctx, "open", f.Plan.Open, d.Name); err != nil {
		return nil, err
	}
	vote.Poll = f.poll
	return begun(ctx, vote, d, at, dir)
}

func (f *Field) fault(ctx context.Context, d Drill) error {
	_, err := f.run(ctx, "fault", f.of(d).Fault, d.Name)
	return err
}

func (f *Field) undo(ctx context.Context, d Drill) error {
	_, err := f.run(ctx, "undo", f.of(d).Undo, d.Name)
	return err
}

func (f *Field) whole(ctx context.Context) error {
	_, err := f.run(ctx, "ready", f.Plan.Ready, "")
	return err
}

// mend leaves it to the people who watch.
func (f *Field) mend(context.Context) (string, error) { return "", nil }

func (f *Field) settle(ctx context.Context) (string, error) {
	if f.Plan.Settle == "" {
		return "", nil
	}
	_, err := f.run(ctx, "settle", f.Plan.Settle, "")
	return "settled", err
}

// What only a cluster on this machine shows.
func (f *Field) look(context.Context) map[string]string       { return nil }
func (f *Field) replaced(context.Context) bool                { return false }
func (f *Field) ejected(context.Context) bool                 { return false }
func (f *Field) shown(context.Context, Drill) (string, error) { return "", nil }

// longestCommand is how long any command may take: opening a cloud's Vaults by hand, say.
const longestCommand = 30 * time.Minute

// run runs a command to its end, and returns the last line that it printed.
func (f *Field) run(ctx context.Context, what, command, drill string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, longestCommand)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = f.Plan.dir
	cmd.Env = append(os.Environ(), "DRILL="+drill, "POLL="+f.poll)
	// Ctrl-C is for us: what gives a cloud back must not be cut short by it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("couldn't do what the plan calls %s: %w: %s", what, err, strings.TrimSpace(errs.String()))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return strings.TrimSpace(lines[len(lines)-1]), nil
}
