package clouds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	nomad "github.com/hashicorp/nomad/api"
)

// What Nomad keeps with a deed of ours, and what a job says if its copies may be moved.
const (
	metaBy        = "by"
	metaWhy       = "why"
	metaRebalance = "rebalance"
)

// drainDeadline is how long the copies of a drained machine may take to be elsewhere, before they are stopped.
const drainDeadline = 10 * time.Minute

// Change is who does something, and why.
type Change struct{ By, Why string }

// Refused is a deed that wasn't done, and nothing else was.
type Refused string

// The reasons.
const (
	NotThere        Refused = "there is no such thing"
	SomebodyFaster  Refused = "it has changed since it was looked at"
	CanaryWaits     Refused = "a canary waits for a decision"
	CanaryUnhealthy Refused = "not all canaries are healthy"
	OtherCloudAway  Refused = "another cloud is away"
	NothingToDo     Refused = "there is nothing to do"
	OutOfBounds     Refused = "the job allows no such number of copies"
	NotSettled      Refused = "the job is being changed, or not all of its copies run"
)

func (r Refused) Error() string { return string(r) }

// Unanswered is a deed of which Nomad said nothing, or that it couldn't; Begun says that it may have been done.
type Unanswered struct {
	Begun bool
	err   error
}

func (u *Unanswered) Error() string { return u.err.Error() }
func (u *Unanswered) Unwrap() error { return u.err }

// Drain has every machine of a cloud give its work to the others. It isn't done while a canary waits, because Nomad
// then mixes up the deployment; nor while another cloud is away, because what is left is too small for all of it.
func (c *Clouds) Drain(ctx context.Context, cloud string, change Change) error {
	return c.do(ctx, func(w workload, q *nomad.WriteOptions) (func() error, error) {
		this, err := findCloud(w, cloud)
		if err != nil {
			return nil, err
		}
		for _, job := range w.jobs {
			if job.Deployment != nil && job.Deployment.Waiting {
				return nil, CanaryWaits
			}
		}
		for i := range w.clouds {
			if w.clouds[i].Name != cloud && w.clouds[i].count(Ready) == 0 {
				return nil, OtherCloudAway
			}
		}
		spec := &nomad.DrainSpec{Deadline: drainDeadline}
		return c.setDrain(this, q, func(n Node) bool { return n.State == Ready }, &nomad.DrainOptions{DrainSpec: spec, Meta: change.meta()})
	})
}

// Undrain takes a cloud's machines back. What ran on them before comes back only if something moves it.
func (c *Clouds) Undrain(ctx context.Context, cloud string, change Change) error {
	return c.do(ctx, func(w workload, q *nomad.WriteOptions) (func() error, error) {
		this, err := findCloud(w, cloud)
		if err != nil {
			return nil, err
		}
		return c.setDrain(this, q, func(n Node) bool { return n.State == Draining || n.State == Drained }, &nomad.DrainOptions{MarkEligible: true, Meta: change.meta()})
	})
}

// Promote has all copies follow the canaries, which must be healthy.
func (c *Clouds) Promote(ctx context.Context, job, deployment string) error {
	return c.decide(ctx, job, deployment, func(d *Deployment) error {
		if !d.Ready() {
			return CanaryUnhealthy
		}
		return nil
	}, c.nomad.Deployments().PromoteAll)
}

// Fail takes the canaries away, and what else was new.
func (c *Clouds) Fail(ctx context.Context, job, deployment string) error {
	return c.decide(ctx, job, deployment, func(*Deployment) error { return nil }, c.nomad.Deployments().Fail)
}

func (c *Clouds) decide(ctx context.Context, job, deployment string, may func(*Deployment) error,
	deed func(string, *nomad.WriteOptions) (*nomad.DeploymentUpdateResponse, *nomad.WriteMeta, error),
) error {
	return c.do(ctx, func(w workload, q *nomad.WriteOptions) (func() error, error) {
		j, err := findJob(w, job)
		if err != nil {
			return nil, err
		}
		if j.Deployment == nil || j.Deployment.ID != deployment || !j.Deployment.Waiting {
			return nil, SomebodyFaster
		}
		if err := may(j.Deployment); err != nil {
			return nil, err
		}
		return func() error { _, _, err := deed(deployment, q); return err }, nil
	})
}

// Scale changes how many copies there are, within the job's own bounds, if there are still as many as were seen.
func (c *Clouds) Scale(ctx context.Context, job, group string, from, to int, change Change) error {
	return c.do(ctx, func(w workload, q *nomad.WriteOptions) (func() error, error) {
		j, g, err := findGroup(w, job, group)
		if err != nil {
			return nil, err
		}
		switch {
		case g.Bounds == nil || to < g.Bounds.Min || to > g.Bounds.Max:
			return nil, OutOfBounds
		case g.Desired != from:
			return nil, SomebodyFaster
		case from == to:
			return nil, NothingToDo
		case j.Deployment != nil:
			return nil, NotSettled
		}
		return func() error {
			_, _, err := c.nomad.Jobs().Scale(job, group, &to, change.Why, false, map[string]any{metaBy: change.By}, q)
			return err
		}, nil
	})
}

// MoveOne stops a copy in the cloud that has the most, and Nomad places another where there are fewest.
func (c *Clouds) MoveOne(ctx context.Context, job, group, from string) error {
	return c.do(ctx, func(w workload, q *nomad.WriteOptions) (func() error, error) {
		j, g, err := findGroup(w, job, group)
		switch {
		case err != nil:
			return nil, err
		case j.Deployment != nil || g.Running != g.Desired || g.Failing+g.Starting > 0:
			return nil, NotSettled
		case g.Move == nil:
			return nil, NothingToDo
		case g.Move.From != from:
			return nil, SomebodyFaster
		}
		return func() error {
			question, err := c.question(ctx)
			if err != nil {
				return err
			}
			question.AuthToken, question.AllowStale = q.AuthToken, false
			_, err = c.nomad.Allocations().Stop(&nomad.Allocation{ID: g.Move.allocation}, question)
			return err
		}, nil
	})
}

// do looks at how things are now, decides by that, and does it.
func (c *Clouds) do(ctx context.Context, decide func(workload, *nomad.WriteOptions) (func() error, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	now, err := c.askNomad(ctx)
	if err != nil {
		return &Unanswered{err: err}
	}
	secret, err := token(c.config.NomadTokenFile)
	if err != nil {
		return &Unanswered{err: err}
	}
	deed, err := decide(now, (&nomad.WriteOptions{AuthToken: secret}).WithContext(ctx))
	if err != nil {
		return err
	}
	defer c.Nudge()
	if err := deed(); err != nil {
		// An answer, even that it can't, means that nothing was done; but several machines are asked one by one.
		_, answered := errors.AsType[nomad.UnexpectedResponseError](err)
		_, several := errors.AsType[*partly](err)
		return &Unanswered{Begun: !answered || several, err: err}
	}
	return nil
}

// partly is what went wrong after some machines had done it.
type partly struct{ error }

func (p *partly) Unwrap() error { return p.error }

func (c *Clouds) setDrain(cloud *Cloud, q *nomad.WriteOptions, of func(Node) bool, options *nomad.DrainOptions) (func() error, error) {
	var nodes []Node
	for _, n := range cloud.Nodes {
		if of(n) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, NothingToDo
	}
	return func() error {
		for i, n := range nodes {
			if _, err := c.nomad.Nodes().UpdateDrainOpts(n.id, options, q); err != nil {
				err = fmt.Errorf("couldn't change %s: %w", n.Name, err)
				if i > 0 {
					err = &partly{err}
				}
				return err
			}
		}
		return nil
	}, nil
}

func (c Change) meta() map[string]string { return map[string]string{metaBy: c.By, metaWhy: c.Why} }

func findCloud(w workload, name string) (*Cloud, error) {
	i := slices.IndexFunc(w.clouds, func(c Cloud) bool { return c.Name == name })
	if i < 0 {
		return nil, NotThere
	}
	return &w.clouds[i], nil
}

func findJob(w workload, id string) (*Job, error) {
	i := slices.IndexFunc(w.jobs, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return nil, NotThere
	}
	return &w.jobs[i], nil
}

func findGroup(w workload, job, group string) (*Job, *Group, error) {
	j, err := findJob(w, job)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(j.Groups, func(g Group) bool { return g.Name == group })
	if i < 0 {
		return nil, nil, NotThere
	}
	return j, &j.Groups[i], nil
}
