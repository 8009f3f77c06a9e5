//go:build unix

package drill

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/cluster"
	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Drill is one thing to go wrong.
type Drill struct {
	Name       string
	Hypothesis string
	// Limit is the longest time without a write that is allowed; 0: writes must stop, as nobody could
	// make them safe.
	Limit time.Duration
	// Hold is how long the fault lasts at most; Works has it end once writes go on and Nomad has replaced
	// the lost work.
	Hold  time.Duration
	Works bool
	// Walk is the longest time in which nobody's phone is verified that is allowed; 0: any, as voters can wait.
	Walk time.Duration
	// Services says that it takes something away from the services, and is nothing without them.
	Services bool
	// Prepared has enough voters verified before it begins to cast for as long as it holds.
	Prepared bool
	// other takes a cloud without leaders instead of the leaders' own.
	other bool

	fault, undo func(ctx context.Context, c *cluster.Cluster, target netns.Cloud) error
}

// Drills are all that there are, in the order in which they run.
var Drills = []Drill{
	{
		Name: "kill-leaders", Limit: 30 * time.Second, Hold: 100 * time.Second, Works: true,
		Hypothesis: "The cloud that leads everything loses its power: another leads within 30 s, and no acknowledged vote is lost.",
		fault:      func(ctx context.Context, _ *cluster.Cluster, t netns.Cloud) error { return t.Kill(ctx) },
		undo:       back,
	},
	{
		Name: "freeze-leaders", Limit: 30 * time.Second, Hold: 100 * time.Second, Works: true,
		Hypothesis: "All processes of the leaders' cloud stand still and keep their connections: the others go on within 30 s, and what it says after the thaw changes nothing.",
		fault:      func(ctx context.Context, _ *cluster.Cluster, t netns.Cloud) error { return t.Freeze(ctx) },
		undo:       func(ctx context.Context, _ *cluster.Cluster, t netns.Cloud) error { return t.Thaw(ctx) },
	},
	{
		Name: "kill-other", Limit: 8 * time.Second, Hold: 100 * time.Second, Works: true, other: true,
		Hypothesis: "A cloud without the primary and without Consul's and Nomad's leaders loses its power: writes stop for 8 s at most.",
		fault:      func(ctx context.Context, _ *cluster.Cluster, t netns.Cloud) error { return t.Kill(ctx) },
		undo:       back,
	},
	{
		Name: "partition-leaders", Limit: 30 * time.Second, Hold: 100 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is cut off from everybody: it acknowledges nothing, and the others go on within 30 s.",
		fault: func(ctx context.Context, c *cluster.Cluster, t netns.Cloud) error {
			return t.Cut(ctx, netns.Both, append(c.Others(t), c.Network.Host())...)
		},
		undo: heal,
	},
	{
		Name: "reachable-leaders", Limit: 30 * time.Second, Hold: 100 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is cut off from the other clouds, while voters still reach it: it acknowledges nothing, and the others go on within 30 s.",
		fault: func(ctx context.Context, c *cluster.Cluster, t netns.Cloud) error {
			return t.Cut(ctx, netns.Both, c.Others(t)...)
		},
		undo: heal,
	},
	{
		Name: "deaf-leaders", Limit: 30 * time.Second, Hold: 100 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is heard by the others but hears nothing of them: the others go on within 30 s.",
		fault: func(ctx context.Context, c *cluster.Cluster, t netns.Cloud) error {
			return t.Cut(ctx, netns.In, c.Others(t)...)
		},
		undo: heal,
	},
	{
		Name: "consul-lost", Hold: 45 * time.Second,
		Hypothesis: "Two of three Consul servers stand still: after at most a lease nobody writes, and all goes on when they do.",
		fault: func(_ context.Context, c *cluster.Cluster, t netns.Cloud) error {
			return consul(c, t, syscall.SIGSTOP)
		},
		undo: func(_ context.Context, c *cluster.Cluster, t netns.Cloud) error {
			return consul(c, t, syscall.SIGCONT)
		},
	},
	{
		Name: "two-lost", Hold: 45 * time.Second,
		Hypothesis: "All but the leaders' cloud lose their power: nothing is acknowledged, and nothing is lost when they are back.",
		fault: func(ctx context.Context, c *cluster.Cluster, t netns.Cloud) (err error) {
			for _, cloud := range c.Network.All() {
				if cloud != t {
					err = errors.Join(err, cloud.Kill(ctx))
				}
			}
			return err
		},
		undo: func(ctx context.Context, c *cluster.Cluster, t netns.Cloud) (err error) {
			for _, cloud := range c.Network.All() {
				if cloud != t {
					err = errors.Join(err, c.Back(ctx, cloud))
				}
			}
			return err
		},
	},
}

func heal(ctx context.Context, _ *cluster.Cluster, t netns.Cloud) error { return t.Heal(ctx) }

// consul signals the Consul servers of two clouds, the leaders' among them.
func consul(c *cluster.Cluster, target netns.Cloud, signal syscall.Signal) error {
	clouds := c.Network.All()
	next := clouds[0]
	if next == target {
		next = clouds[1]
	}
	return errors.Join(c.Signal(target, "consul", signal), c.Signal(next, "consul", signal))
}

func back(ctx context.Context, c *cluster.Cluster, t netns.Cloud) error { return c.Back(ctx, t) }
