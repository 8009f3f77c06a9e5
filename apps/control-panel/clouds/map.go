package clouds

import (
	"cmp"
	"slices"
	"time"
)

// Map is all clouds at a glance, as the page draws it.
type Map struct {
	Now time.Time `json:"now"`
	// Nomad knows the clouds and the jobs, Consul the services; leaders are known to both.
	Nomad    Source    `json:"nomad"`
	Consul   Source    `json:"consul"`
	Clouds   []Cloud   `json:"clouds"`
	Jobs     []Job     `json:"jobs"`
	Services []Service `json:"services"`
	Leaders  []Leader  `json:"leaders"`
}

// Source is how well one of the two answers.
type Source struct {
	// Asked is false where nobody has said where it is.
	Asked bool `json:"asked"`
	// At is when it was last read whole; zero for never.
	At time.Time `json:"at,omitzero"`
	// Failing says that the newest question had no answer; Denied, that the answer was no.
	Failing bool `json:"failing"`
	Denied  bool `json:"denied"`
}

// NodeState is what a machine is good for.
type NodeState string

// Ready machines get work. Draining ones lose it, drained ones get none, until somebody takes them back. Down
// ones haven't been heard of.
const (
	Ready    NodeState = "ready"
	Draining NodeState = "draining"
	Drained  NodeState = "drained"
	Down     NodeState = "down"
)

// Cloud is the machines of one datacenter of Nomad's.
type Cloud struct {
	Name  string `json:"name"`
	Nodes []Node `json:"nodes"`
}

// Node is one machine.
type Node struct {
	Name  string    `json:"name"`
	Pool  string    `json:"pool"`
	State NodeState `json:"state"`
	// By and Why are who drained it, and the reason given; empty if it wasn't this panel.
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`

	id string
}

func (c *Cloud) count(state NodeState) (n int) {
	for _, node := range c.Nodes {
		if node.State == state {
			n++
		}
	}
	return n
}

// Job is one whose copies are to run all the time.
type Job struct {
	ID      string  `json:"id"`
	Version uint64  `json:"version"`
	Groups  []Group `json:"groups"`
	// Deployment is the one under way, if any.
	Deployment *Deployment `json:"deployment,omitempty"`
}

// Group is the copies of a job, of which there is usually one kind.
type Group struct {
	Name string `json:"name"`
	// Desired is how many copies there ought to be; a copy is running, starting or failing, or not there at all.
	Desired  int `json:"desired"`
	Running  int `json:"running"`
	Starting int `json:"starting"`
	Failing  int `json:"failing"`
	// Old is how many of those that run are of an earlier version.
	Old int `json:"old"`
	// Clouds is how many run in each.
	Clouds map[string]int `json:"clouds"`
	// Bounds are how many there may be; none if the job has none, and then it isn't scaled.
	Bounds *Bounds `json:"bounds,omitempty"`
	// Move is what would make the copies more even, if the job allows that and all of them run.
	Move *Move `json:"move,omitempty"`
}

// Bounds are of a job's scaling block.
type Bounds struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Move takes one copy out of the cloud that has the most; Nomad places another where there are fewest.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`

	allocation string
}

// Deployment is a new version on its way.
type Deployment struct {
	ID      string `json:"id"`
	Version uint64 `json:"version"`
	// Canaries are copies of the new version beside the old; they wait for a person if Waiting.
	Canaries []Canary `json:"canaries"`
	Wanted   int      `json:"wanted"`
	Waiting  bool     `json:"waiting"`
	// Reverts says that the version before comes back if this one fails.
	Reverts bool `json:"reverts"`
	// Until is when it fails by itself if there is no progress.
	Until time.Time `json:"until,omitzero"`
}

// Canary is one new copy.
type Canary struct {
	Cloud   string `json:"cloud"`
	Healthy bool   `json:"healthy"`
	Failing bool   `json:"failing"`
}

// Ready says whether all canaries that were wanted are there and well.
func (d *Deployment) Ready() bool {
	return len(d.Canaries) >= d.Wanted && !slices.ContainsFunc(d.Canaries, func(c Canary) bool { return !c.Healthy })
}

// Service is what Consul says of all instances of one.
type Service struct {
	Name      string     `json:"name"`
	Instances []Instance `json:"instances"`
}

// Instance is one of a service's.
type Instance struct {
	Cloud   string `json:"cloud"`
	Node    string `json:"node"`
	Address string `json:"address"`
	// State is passing, warning or critical: the worst of its checks.
	State string `json:"state"`
	// Says is what the worst of them says, if it isn't passing.
	Says   string `json:"says,omitempty"`
	Canary bool   `json:"canary,omitempty"`
}

// What is led by somebody, as the page knows it.
const (
	ofConsul   = "consul"
	ofNomad    = "nomad"
	ofVault    = "vault"
	ofDatabase = "postgresql"
)

// Leader is who leads one thing. Nobody is one to worry about, and so are several.
type Leader struct {
	Of string  `json:"of"`
	At []Place `json:"at"`
}

// Place is a machine in a cloud.
type Place struct {
	Cloud string `json:"cloud"`
	Node  string `json:"node"`
}

// workload is what Nomad says, services what Consul says. They are replaced, never changed.
type workload struct {
	clouds []Cloud
	jobs   []Job
	leader []Place
}

type services struct {
	all     []Service
	leaders map[string][]Place
}

// draw puts the two together. A service that has a job is shown even when nothing of it is left.
func draw(now time.Time, nomadIs, consulIs Source, work workload, found services) *Map {
	m := &Map{
		Now: now, Nomad: nomadIs, Consul: consulIs,
		Clouds: some(work.clouds), Jobs: some(work.jobs), Services: slices.Clone(some(found.all)),
		Leaders: []Leader{},
	}
	if !consulIs.At.IsZero() {
		for _, job := range work.jobs {
			if !slices.ContainsFunc(m.Services, func(s Service) bool { return s.Name == job.ID }) {
				m.Services = append(m.Services, Service{Name: job.ID, Instances: []Instance{}})
			}
		}
		slices.SortFunc(m.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	}
	for _, of := range []string{ofConsul, ofNomad, ofVault, ofDatabase} {
		switch {
		case of == ofNomad && !nomadIs.At.IsZero():
			m.Leaders = append(m.Leaders, Leader{Of: of, At: some(work.leader)})
		case of != ofNomad && !consulIs.At.IsZero():
			m.Leaders = append(m.Leaders, Leader{Of: of, At: some(found.leaders[of])})
		}
	}
	return m
}

// some makes an empty list of nil, which JSON would show as null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
