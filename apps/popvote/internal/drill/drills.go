//go:build unix

package drill

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Drill is one thing to go wrong.
type Drill struct {
	Name       string
	Hypothesis string
	// Limit is the longest time without a write that is allowed; 0: writes must stop, as nobody could
	// make them safe.
	Limit time.Duration
	// Walk is the longest time in which nobody's phone is verified that is allowed; 0: any, as voters can wait.
	Walk time.Duration
	// Hold is how long the fault lasts at most.
	Hold time.Duration
	// Works has it end once writes go on and Nomad has replaced the lost work, which it must in time.
	Works bool
	// Gentle says that the lost cloud's work ends in order: how soon edges leave it out is not judged.
	Gentle bool
	// Still says that nobody else may come to lead anything.
	Still bool
	// Prepared has enough voters verified before it begins to cast for a minute.
	Prepared bool
	// takes says what is taken away, where that isn't a cloud.
	takes string
	// other takes a cloud without leaders instead of the leaders' own.
	other bool

	fault, undo func(ctx context.Context, l *Lab) error
	// shown, where there is one, is what has to be seen before the fault ends, and what it says then.
	shown func(ctx context.Context, l *Lab) (bool, error)
	says  string
}

// Drills are all that there are, in the order in which they run.
var Drills = []Drill{
	{
		Name: "kill-leaders", Limit: 30 * time.Second, Hold: 120 * time.Second, Works: true,
		Hypothesis: "The cloud that leads everything loses its power: another leads within 30 s, and no acknowledged vote is lost.",
		fault:      kill, undo: back,
	},
	{
		Name: "freeze-leaders", Limit: 30 * time.Second, Hold: 120 * time.Second, Works: true,
		Hypothesis: "All processes of the leaders' cloud stand still and keep their connections: the others go on within 30 s, and what it says after the thaw changes nothing.",
		fault:      func(ctx context.Context, l *Lab) error { return l.target.Freeze(ctx) },
		undo:       func(ctx context.Context, l *Lab) error { return l.target.Thaw(ctx) },
	},
	{
		Name: "kill-other", Limit: 8 * time.Second, Hold: 120 * time.Second, Works: true, other: true,
		Hypothesis: "A cloud without the primary and without Consul's and Nomad's leaders loses its power: writes stop for 8 s at most.",
		fault:      kill, undo: back,
	},
	{
		Name: "partition-leaders", Limit: 30 * time.Second, Hold: 120 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is cut off from everybody: it acknowledges nothing, and the others go on within 30 s.",
		fault: func(ctx context.Context, l *Lab) error {
			return l.target.Cut(ctx, netns.Both, append(l.Others(l.target), l.Network.Host())...)
		},
		undo: heal,
	},
	{
		Name: "reachable-leaders", Limit: 30 * time.Second, Hold: 120 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is cut off from the other clouds, while voters still reach it: it acknowledges nothing, and the others go on within 30 s.",
		fault: func(ctx context.Context, l *Lab) error {
			return l.target.Cut(ctx, netns.Both, l.Others(l.target)...)
		},
		undo: heal,
	},
	{
		Name: "deaf-leaders", Limit: 30 * time.Second, Hold: 120 * time.Second, Works: true,
		Hypothesis: "The leaders' cloud is heard by the others but hears nothing of them: the others go on within 30 s.",
		fault: func(ctx context.Context, l *Lab) error {
			return l.target.Cut(ctx, netns.In, l.Others(l.target)...)
		},
		undo: heal,
	},
	{
		Name: "slow-leaders", Limit: 8 * time.Second, Walk: 20 * time.Second, Hold: 60 * time.Second, Still: true,
		takes:      "the network of %s",
		Hypothesis: "Each packet to and from the leaders' cloud takes 80 ms longer, and one in a hundred is lost: everybody goes on, more slowly, and nothing changes its leader.",
		fault: func(ctx context.Context, l *Lab) (err error) {
			l.slow, err = l.Network.Slow(ctx, l.target, netns.Delay{By: 80 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.01})
			return err
		},
		undo: func(ctx context.Context, l *Lab) error {
			if l.slow == nil {
				return nil
			}
			return l.slow.Mend(ctx)
		},
	},
	{
		Name: "vault-sealed", Limit: 8 * time.Second, Walk: 20 * time.Second, Hold: 180 * time.Second,
		takes:      "every Vault",
		Hypothesis: "Every Vault is sealed for three minutes: voters notice nothing, because the services hold what they need.",
		fault:      func(ctx context.Context, l *Lab) error { return l.SealVault(ctx) },
		undo:       func(ctx context.Context, l *Lab) error { return l.UnsealVault(ctx) },
	},
	{
		Name: "rotate-keys", Limit: 8 * time.Second, Walk: 20 * time.Second, Hold: 360 * time.Second,
		takes:      "the key of access tokens, and the edges' certificate",
		Hypothesis: "The key of access tokens and the edges' certificate are replaced: nobody is logged out, and every edge shows the new one within six minutes.",
		fault:      func(ctx context.Context, l *Lab) error { return l.RotateKeys(ctx) },
		undo:       func(context.Context, *Lab) error { return nil }, // it stays
		// The new key seals after two minutes.
		shown: func(ctx context.Context, l *Lab) (bool, error) { return l.EdgesRenewed(ctx) },
		says:  "every edge shows the new certificate",
	},
	{
		Name: "redis-gone", Limit: 8 * time.Second, Walk: 30 * time.Second, Hold: 60 * time.Second,
		takes:      "Redis in %s",
		Hypothesis: "One cloud's Redis is gone: voters go on, those in that cloud too, and limits hold as well as each server can tell.",
		fault:      func(ctx context.Context, l *Lab) error { return l.target.Refuse(ctx, redisPort) },
		undo:       heal,
	},
	{
		Name: "redis-all-gone", Limit: 8 * time.Second, Hold: 45 * time.Second, Prepared: true,
		takes:      "every Redis",
		Hypothesis: "No cloud has a Redis: nobody's phone is verified, and who was verified casts as before.",
		fault: func(ctx context.Context, l *Lab) (err error) {
			for _, cloud := range l.Network.All() {
				err = errors.Join(err, cloud.Refuse(ctx, redisPort))
			}
			return err
		},
		undo: func(ctx context.Context, l *Lab) (err error) {
			for _, cloud := range l.Network.All() {
				err = errors.Join(err, cloud.Heal(ctx))
			}
			return err
		},
	},
	{
		Name: "drain-leaders", Limit: 8 * time.Second, Walk: 20 * time.Second, Hold: 180 * time.Second, Works: true, Gentle: true,
		takes:      "%s, by Nomad",
		Hypothesis: "Nomad moves everything out of the leaders' cloud: voters notice nothing.",
		fault:      func(ctx context.Context, l *Lab) error { return l.Drain(ctx, l.target) },
		undo:       func(ctx context.Context, l *Lab) error { return l.Undrain(ctx, l.target) },
	},
	{
		Name: "consul-lost", Hold: 45 * time.Second,
		takes:      "Consul in %s and another cloud",
		Hypothesis: "Two of three Consul servers stand still: after at most a lease nobody writes, and all goes on when they do.",
		fault:      func(_ context.Context, l *Lab) error { return l.consul(syscall.SIGSTOP) },
		undo:       func(_ context.Context, l *Lab) error { return l.consul(syscall.SIGCONT) },
	},
	{
		Name: "two-lost", Hold: 45 * time.Second,
		takes:      "all clouds but %s",
		Hypothesis: "All but the leaders' cloud lose their power: nothing is acknowledged, and nothing is lost when they are back.",
		fault: func(ctx context.Context, l *Lab) (err error) {
			for _, cloud := range l.Network.All() {
				if cloud != l.target {
					err = errors.Join(err, cloud.Kill(ctx))
				}
			}
			return err
		},
		undo: func(ctx context.Context, l *Lab) (err error) {
			for _, cloud := range l.Network.All() {
				if cloud != l.target {
					err = errors.Join(err, l.Back(ctx, cloud))
				}
			}
			return err
		},
	},
}

// redisPort is that of jobs/vars/lab.vars.hcl.
const redisPort = 6379

func kill(ctx context.Context, l *Lab) error { return l.target.Kill(ctx) }
func back(ctx context.Context, l *Lab) error { return l.Back(ctx, l.target) }
func heal(ctx context.Context, l *Lab) error { return l.target.Heal(ctx) }

// consul signals the Consul servers of two clouds, the leaders' among them.
func (l *Lab) consul(signal syscall.Signal) error {
	clouds := l.Network.All()
	next := clouds[0]
	if next == l.target {
		next = clouds[1]
	}
	return errors.Join(l.Signal(l.target, "consul", signal), l.Signal(next, "consul", signal))
}
