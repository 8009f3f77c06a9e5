//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// movable are the jobs whose copies Nomad makes elsewhere when a cloud is lost. Redis and HAProxy serve
// their own cloud.
var movable = []string{"ballot-server", "sms-gateway", "api-server", "control-panel"}

// Spread is how many copies of each movable job run in each cloud.
type Spread map[string]map[string]int

// Spread asks Nomad, which doesn't count copies on machines that it has lost. It is empty if none answers.
func (c *Cluster) Spread(ctx context.Context) Spread {
	for _, cloud := range c.Network.All() {
		var allocations []struct{ JobID, NodeName, ClientStatus, DesiredStatus string }
		if c.ask(ctx, "GET", cloud.Addr, nomadPort, "/v1/allocations?namespace=popvote", "", nil, &allocations) != nil {
			continue
		}
		s := Spread{}
		for _, a := range allocations {
			if !slices.Contains(movable, a.JobID) || a.ClientStatus != "running" || a.DesiredStatus != "run" {
				continue
			}
			if s[a.JobID] == nil {
				s[a.JobID] = map[string]int{}
			}
			s[a.JobID][a.NodeName]++
		}
		return s
	}
	return Spread{}
}

// Without is whether the other clouds have as many copies of every job as there were before.
func (s Spread) Without(cloud string, before Spread) bool {
	for job, by := range before {
		want, have := 0, 0
		for _, n := range by {
			want += n
		}
		for at, n := range s[job] {
			if at != cloud {
				have += n
			}
		}
		if have < want {
			return false
		}
	}
	return true
}

// Uneven are the jobs that have two copies more in one cloud than in another.
func (s Spread) Uneven(clouds []string) (jobs []string) {
	for _, job := range slices.Sorted(maps.Keys(s)) {
		least, most := s[job][clouds[0]], 0
		for _, cloud := range clouds {
			least, most = min(least, s[job][cloud]), max(most, s[job][cloud])
		}
		if most-least > 1 {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// String is the spread of all jobs, with the clouds in order.
func (s Spread) String() string {
	var all []string
	for _, job := range slices.Sorted(maps.Keys(s)) {
		var each []string
		for _, cloud := range slices.Sorted(maps.Keys(s[job])) {
			each = append(each, fmt.Sprintf("%s %d", cloud, s[job][cloud]))
		}
		all = append(all, job+": "+strings.Join(each, ", "))
	}
	return strings.Join(all, "; ")
}

// rounds are how often Rebalance tries: each copy is placed where it scores best at that moment, while
// others are still where they were.
const rounds = 3

// Rebalance spreads the copies of all jobs evenly again after a cloud has come back, which Nomad doesn't
// do: another value of the job files' variable has it place each copy anew, one at a time. It promotes the
// first of each job itself, once that is healthy. It returns the jobs that it did this to.
func (c *Cluster) Rebalance(ctx context.Context) (done []string, err error) {
	for range rounds {
		uneven := c.Spread(ctx).Uneven(c.Network.Clouds)
		if len(uneven) == 0 {
			return done, nil
		}
		c.say("unevenly spread: %s", strings.Join(uneven, ", "))
		for _, job := range uneven {
			if !slices.Contains(done, job) {
				done = append(done, job)
			}
			// Another word than ever before.
			word := "rebalance=" + strconv.FormatInt(time.Now().Unix(), 10)
			if _, err := c.nomad(ctx, "job", "run", "-detach", "-var-file="+site, "-var", word, job+".nomad.hcl"); err != nil {
				return done, err
			}
		}
		what := "every copy placed anew: " + strings.Join(uneven, ", ")
		if err := c.await(ctx, what, func(ctx context.Context) (err error) {
			for _, job := range uneven { // each goes on while others do
				err = errors.Join(err, c.deployed(ctx, job))
			}
			return err
		}); err != nil {
			return done, err
		}
	}
	if uneven := c.Spread(ctx).Uneven(c.Network.Clouds); len(uneven) > 0 {
		err = fmt.Errorf("couldn't spread %s evenly in %d rounds: %s", strings.Join(uneven, ", "), rounds, c.Spread(ctx))
	}
	return done, err
}

// deployment is a change of a job, as Nomad tells of it.
type deployment struct {
	ID, JobID, Status, StatusDescription string
	TaskGroups                           map[string]struct {
		Promoted                       bool
		DesiredCanaries, HealthyAllocs int
	}
}

// canary is whether a deployment waits to be promoted or given up.
func (d deployment) canary() bool {
	for _, group := range d.TaskGroups {
		if d.Status == "running" && !group.Promoted && group.DesiredCanaries > 0 {
			return true
		}
	}
	return false
}

// healthy is whether all canaries are.
func (d deployment) healthy() bool {
	for _, group := range d.TaskGroups {
		if group.HealthyAllocs < group.DesiredCanaries {
			return false
		}
	}
	return true
}

// Deploying are the jobs that are being changed, or have a canary that nobody has promoted: Nomad mixes such a
// deployment up when a machine goes meanwhile.
func (c *Cluster) Deploying(ctx context.Context) (jobs []string, err error) {
	var all []deployment
	if err := c.ask(ctx, "GET", c.Network.Cloud(0).Addr, nomadPort, "/v1/deployments?namespace=popvote", "", nil, &all); err != nil {
		return nil, err
	}
	for _, d := range all {
		if d.Status == "running" {
			jobs = append(jobs, d.JobID)
		}
	}
	return jobs, nil
}

// deployed says how far a job's last deployment is, and promotes it where that is all it waits for.
func (c *Cluster) deployed(ctx context.Context, job string) error {
	addr := c.Network.Cloud(0).Addr
	var d deployment
	if err := c.ask(ctx, "GET", addr, nomadPort, "/v1/job/"+job+"/deployment?namespace=popvote", "", nil, &d); err != nil {
		return err
	}
	switch {
	case d.Status == "successful":
		return nil
	case d.canary() && d.healthy():
		body := map[string]any{"DeploymentID": d.ID, "All": true}
		err := c.ask(ctx, "PUT", addr, nomadPort, "/v1/deployment/promote/"+d.ID+"?namespace=popvote", "", body, nil)
		return errors.Join(errors.New("it is promoted just now"), err)
	}
	return fmt.Errorf("its deployment is %s: %s", d.Status, d.StatusDescription)
}

// Drain has Nomad move everything but edges out of a cloud, each copy once another is healthy; Undrain lets
// it place work there again.
func (c *Cluster) Drain(ctx context.Context, cloud netns.Cloud) error {
	const second = 1_000_000_000
	return c.eachNode(ctx, cloud, map[string]any{"DrainSpec": map[string]any{"Deadline": 300 * second, "IgnoreSystemJobs": true}})
}

// Undrain ends a Drain.
func (c *Cluster) Undrain(ctx context.Context, cloud netns.Cloud) error {
	return c.eachNode(ctx, cloud, map[string]any{"DrainSpec": nil, "MarkEligible": true})
}

func (c *Cluster) eachNode(ctx context.Context, cloud netns.Cloud, drain map[string]any) error {
	var nodes []struct{ ID, Datacenter string }
	if err := c.ask(ctx, "GET", cloud.Addr, nomadPort, "/v1/nodes", "", nil, &nodes); err != nil {
		return err
	}
	for _, node := range nodes {
		if node.Datacenter != cloud.Name {
			continue
		}
		drain["NodeID"] = node.ID
		if err := c.ask(ctx, "PUT", cloud.Addr, nomadPort, "/v1/node/"+node.ID+"/drain", "", drain, nil); err != nil {
			return err
		}
	}
	return nil
}
