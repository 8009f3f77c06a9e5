//go:build unix

package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/popvote/popvote/apps/popvote/internal/cluster"
	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Lab is the cluster on this machine.
type Lab struct {
	*cluster.Cluster
	// Vote opens a poll for a drill, where the services are; nil: they aren't, and rows stand for votes.
	Vote func(ctx context.Context) (*Vote, error)

	target netns.Cloud
}

func (l *Lab) begin(ctx context.Context, d Drill) (target, before string, err error) {
	if d.Services && l.Vote == nil {
		return "", "", errors.New("the services aren't there, which it is about")
	}
	if err := l.Ready(ctx); err != nil {
		return "", "", fmt.Errorf("not all is as it should be: %w", err)
	}
	if l.target, err = l.Gather(ctx); err != nil {
		return "", "", err
	}
	if d.other {
		all := l.Network.All()
		l.target = all[(slices.Index(all, l.target)+1)%len(all)]
	}
	if err := l.PlaceWork(ctx); err != nil {
		return "", "", err
	}
	s := l.Status(ctx)
	return l.target.Name, fmt.Sprintf("leaders: Consul %s, Nomad %s, Vault %s, PostgreSQL %s (synchronous standby %s)",
		s.Consul, s.Nomad, s.Vault, s.Primary, s.Synchronous), nil
}

func (l *Lab) load(ctx context.Context, d Drill, at int, dir string) (load, error) {
	if l.Vote == nil {
		return newRows(ctx, l)
	}
	vote, err := l.Vote(ctx)
	if err != nil {
		return nil, err
	}
	return begun(ctx, vote, d, at, dir)
}

// begun are voters of whom enough are verified.
func begun(ctx context.Context, vote *Vote, d Drill, at int, dir string) (load, error) {
	v, err := newVoters(ctx, vote, dir, at)
	if err != nil {
		return nil, err
	}
	want := 5 * at
	if d.Prepared {
		want = perVoter * at
	}
	return v, v.prepare(ctx, at, want)
}

func (l *Lab) fault(ctx context.Context, d Drill) error { return d.fault(ctx, l.Cluster, l.target) }
func (l *Lab) undo(ctx context.Context, d Drill) error  { return d.undo(ctx, l.Cluster, l.target) }

func (l *Lab) look(ctx context.Context) map[string]string {
	s := l.Status(ctx)
	return map[string]string{
		"Consul's leader": s.Consul, "Nomad's leader": s.Nomad, "Vault's active server": s.Vault,
		"PostgreSQL's primary": s.Primary, "the synchronous standby": s.Synchronous,
	}
}

func (l *Lab) replaced(ctx context.Context) bool {
	elsewhere := 0
	for cloud, n := range l.Work(ctx) {
		if cloud != l.target.Name {
			elsewhere += n
		}
	}
	return elsewhere >= len(l.Network.Clouds)
}

func (l *Lab) ejected(context.Context) bool { return false }

func (l *Lab) whole(ctx context.Context) error { return l.Ready(ctx) }

func (l *Lab) settle(context.Context) (string, error) { return "", nil }

func (l *Lab) end(ctx context.Context) error { return l.RemoveWork(ctx) }
