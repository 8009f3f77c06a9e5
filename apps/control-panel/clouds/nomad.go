package clouds

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	nomad "github.com/hashicorp/nomad/api"
)

// question is how Nomad is asked. Any server may answer, whether there is a leader or not.
func (c *Clouds) question(ctx context.Context) (*nomad.QueryOptions, error) {
	secret, err := token(c.config.NomadTokenFile)
	if err != nil {
		return nil, err
	}
	return (&nomad.QueryOptions{AllowStale: true, AuthToken: secret}).WithContext(ctx), nil
}

func (c *Clouds) readNomad(ctx context.Context) (w workload, err error) {
	q, err := c.question(ctx)
	if err != nil {
		return w, err
	}
	nodes, _, err := c.nomad.Nodes().List(q)
	if err != nil {
		return w, fmt.Errorf("couldn't list nodes: %w", err)
	}
	// What is to run; what was stopped long ago is listed for hours.
	wanted := *q
	wanted.Filter = `DesiredStatus == "run"`
	copies, _, err := c.nomad.Allocations().List(&wanted)
	if err != nil {
		return w, fmt.Errorf("couldn't list allocations: %w", err)
	}
	deployments, _, err := c.nomad.Deployments().List(q)
	if err != nil {
		return w, fmt.Errorf("couldn't list deployments: %w", err)
	}
	jobs, err := c.readJobs(q)
	if err != nil {
		return w, err
	}
	if w.leader, err = c.nomadLeader(q); err != nil {
		return w, err
	}
	w.clouds = cloudsOf(nodes)
	for _, job := range jobs {
		w.jobs = append(w.jobs, jobOf(job, w.clouds, copies, deployments))
	}
	return w, nil
}

// readJobs returns those that are to run all the time: batches come and go.
func (c *Clouds) readJobs(q *nomad.QueryOptions) (jobs []*nomad.Job, err error) {
	list, _, err := c.nomad.Jobs().List(q)
	if err != nil {
		return nil, fmt.Errorf("couldn't list jobs: %w", err)
	}
	for _, stub := range list {
		if stub.Stop || (stub.Type != nomad.JobTypeService && stub.Type != nomad.JobTypeSystem) {
			continue
		}
		job, _, err := c.nomad.Jobs().Info(stub.ID, q)
		if err != nil {
			return nil, fmt.Errorf("couldn't read job %s: %w", stub.ID, err)
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// nomadLeader finds the leader among the servers that are known; none is no error.
func (c *Clouds) nomadLeader(q *nomad.QueryOptions) ([]Place, error) {
	var leader string
	if _, err := c.nomad.Raw().Query("/v1/status/leader", &leader, q); err != nil {
		return nil, fmt.Errorf("couldn't ask for Nomad's leader: %w", err)
	}
	servers, err := c.nomad.Agent().MembersOpts(q)
	if err != nil {
		return nil, fmt.Errorf("couldn't list Nomad's servers: %w", err)
	}
	for _, server := range servers.Members {
		if leader == server.Tags["rpc_addr"]+":"+server.Tags["port"] || leader == server.Addr+":"+server.Tags["port"] {
			return []Place{{Cloud: server.Tags["dc"], Node: server.Name}}, nil
		}
	}
	return nil, nil
}

func cloudsOf(nodes []*nomad.NodeListStub) (clouds []Cloud) {
	by := map[string][]Node{}
	for _, n := range nodes {
		node := Node{Name: n.Name, Pool: n.NodePool, State: Ready, id: n.ID}
		switch {
		case n.Status != nomad.NodeStatusReady:
			node.State = Down
		case n.Drain:
			node.State = Draining
		case n.SchedulingEligibility != nomad.NodeSchedulingEligible:
			node.State = Drained
		}
		if (node.State == Draining || node.State == Drained) && n.LastDrain != nil {
			node.By, node.Why = n.LastDrain.Meta[metaBy], n.LastDrain.Meta[metaWhy]
		}
		by[n.Datacenter] = append(by[n.Datacenter], node)
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		slices.SortFunc(by[name], func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
		clouds = append(clouds, Cloud{Name: name, Nodes: by[name]})
	}
	return clouds
}

// cloudOf says which cloud a node is in; empty if Nomad has forgotten it.
func cloudOf(clouds []Cloud, node string) string {
	for _, c := range clouds {
		if slices.ContainsFunc(c.Nodes, func(n Node) bool { return n.id == node }) {
			return c.Name
		}
	}
	return ""
}

func jobOf(job *nomad.Job, clouds []Cloud, copies []*nomad.AllocationListStub, deployments []*nomad.Deployment) Job {
	j := Job{ID: *job.ID, Version: *job.Version}
	for _, d := range deployments {
		// One that was made for an earlier job of the same name is none of this one's.
		if d.JobID == j.ID && d.JobCreateIndex == *job.CreateIndex && active(d) {
			j.Deployment = deploymentOf(d, clouds, copies)
		}
	}
	for _, tg := range job.TaskGroups {
		g := Group{Name: *tg.Name, Clouds: map[string]int{}}
		var running []*nomad.AllocationListStub
		for _, a := range copies {
			if a.JobID != j.ID || a.TaskGroup != g.Name {
				continue
			}
			if *job.Type == nomad.JobTypeSystem {
				g.Desired++
			}
			switch {
			case failing(a):
				g.Failing++
			case a.ClientStatus == nomad.AllocClientStatusPending:
				g.Starting++
			case a.ClientStatus == nomad.AllocClientStatusRunning:
				g.Running++
				g.Clouds[cloudOf(clouds, a.NodeID)]++
				if a.JobVersion != j.Version {
					g.Old++
				}
				running = append(running, a)
			}
		}
		if *job.Type == nomad.JobTypeService {
			g.Desired = *tg.Count
			if s := tg.Scaling; s != nil && s.Max != nil && (s.Enabled == nil || *s.Enabled) {
				g.Bounds = &Bounds{Max: int(*s.Max)}
				if s.Min != nil {
					g.Bounds.Min = int(*s.Min)
				}
			}
			if _, allowed := job.Meta[metaRebalance]; allowed && j.Deployment == nil && g.Running == g.Desired && g.Failing+g.Starting == 0 {
				g.Move = moveOf(job, &g, clouds, running)
			}
		}
		j.Groups = append(j.Groups, g)
	}
	return j
}

// failing is a copy that isn't what it ought to be: ended, lost, out of reach, unhealthy, or starting again and again.
func failing(a *nomad.AllocationListStub) bool {
	switch a.ClientStatus {
	case nomad.AllocClientStatusFailed, nomad.AllocClientStatusLost, nomad.AllocClientStatusUnknown:
		return true
	case nomad.AllocClientStatusPending:
		for _, task := range a.TaskStates {
			if task.Restarts > 0 {
				return true
			}
		}
	}
	return a.DeploymentStatus != nil && a.DeploymentStatus.Healthy != nil && !*a.DeploymentStatus.Healthy
}

func active(d *nomad.Deployment) bool {
	return d.Status != nomad.DeploymentStatusSuccessful && d.Status != nomad.DeploymentStatusFailed && d.Status != nomad.DeploymentStatusCancelled
}

func deploymentOf(d *nomad.Deployment, clouds []Cloud, copies []*nomad.AllocationListStub) *Deployment {
	is := &Deployment{ID: d.ID, Version: d.JobVersion, Canaries: []Canary{}}
	for _, state := range d.TaskGroups {
		is.Reverts = is.Reverts || state.AutoRevert
		if is.Until.IsZero() || state.RequireProgressBy.Before(is.Until) {
			is.Until = state.RequireProgressBy
		}
		if state.DesiredCanaries == 0 || state.Promoted {
			continue
		}
		is.Waiting = true
		is.Wanted += state.DesiredCanaries
		for _, a := range copies {
			if slices.Contains(state.PlacedCanaries, a.ID) {
				healthy := a.DeploymentStatus != nil && a.DeploymentStatus.Healthy != nil && *a.DeploymentStatus.Healthy
				is.Canaries = append(is.Canaries, Canary{Cloud: cloudOf(clouds, a.NodeID), Healthy: healthy, Failing: failing(a)})
			}
		}
	}
	// It is zero, in Unix time, until the first copy is placed.
	if is.Until.Unix() <= 0 {
		is.Until = time.Time{}
	}
	return is
}

// moveOf looks for a cloud that has at least two copies more than another that could run one.
func moveOf(job *nomad.Job, g *Group, clouds []Cloud, running []*nomad.AllocationListStub) *Move {
	var most, least string
	for _, c := range clouds {
		if !slices.ContainsFunc(job.Datacenters, func(pattern string) bool { ok, _ := path.Match(pattern, c.Name); return ok }) ||
			!slices.ContainsFunc(c.Nodes, func(n Node) bool { return n.State == Ready && (*job.NodePool == "all" || n.Pool == *job.NodePool) }) {
			continue
		}
		if most == "" || g.Clouds[c.Name] > g.Clouds[most] {
			most = c.Name
		}
		if least == "" || g.Clouds[c.Name] < g.Clouds[least] {
			least = c.Name
		}
	}
	if most == "" || g.Clouds[most]-g.Clouds[least] < 2 {
		return nil
	}
	// The newest: it is the one that was placed when a cloud was away.
	var newest *nomad.AllocationListStub
	for _, a := range running {
		if cloudOf(clouds, a.NodeID) == most && (newest == nil || a.CreateIndex > newest.CreateIndex) {
			newest = a
		}
	}
	return &Move{From: most, To: least, allocation: newest.ID}
}
