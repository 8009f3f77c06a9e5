//go:build unix

package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/popvote/internal/cluster"
	"github.com/popvote/popvote/apps/popvote/internal/netns"
	"github.com/popvote/popvote/libs/ballotapi"
)

// Lab is the cluster on this machine.
type Lab struct {
	*cluster.Cluster

	target netns.Cloud
	// spread and routes are as they were before.
	spread cluster.Spread
	routes *cluster.Routes
	slow   *netns.Slow
}

func (l *Lab) begin(ctx context.Context, d Drill) (target, before string, err error) {
	if err := l.Ready(ctx); err != nil {
		return "", "", fmt.Errorf("not all is as it should be: %w", err)
	}
	deploying, err := l.Deploying(ctx)
	if err == nil && len(deploying) > 0 {
		err = fmt.Errorf("%s: being deployed, or waiting to be promoted, which Nomad would mix up", strings.Join(deploying, ", "))
	}
	if err != nil {
		return "", "", err
	}
	if l.target, err = l.Gather(ctx); err != nil {
		return "", "", err
	}
	if d.other {
		all := l.Network.All()
		l.target = all[(slices.Index(all, l.target)+1)%len(all)]
	}
	if l.routes, err = l.Routes(ctx); err != nil {
		return "", "", err
	}
	l.spread = l.Spread(ctx)
	s := l.Status(ctx)
	target = l.target.Name
	if d.takes != "" {
		target = strings.ReplaceAll(d.takes, "%s", target)
	}
	return target, fmt.Sprintf("leaders: Consul %s, Nomad %s, Vault %s, PostgreSQL %s (synchronous standby %s); copies: %s",
		s.Consul, s.Nomad, s.Vault, s.Primary, s.Synchronous, l.spread), nil
}

func (l *Lab) load(ctx context.Context, d Drill, at int, dir string) (*voters, error) {
	ca, err := l.CA()
	if err != nil {
		return nil, err
	}
	p, err := OpenPoll(ctx, func(ctx context.Context) (ballotapi.Admin, error) { return l.Box(ctx) })
	if err != nil {
		return nil, err
	}
	return begun(ctx, &Vote{
		Edges: l.Edges(), CA: ca, Phones: l.Phones, Poll: p.ID,
		Finish: func(ctx context.Context, dir string) (votecheck.Final, error) {
			f, err := p.Finish(ctx, dir)
			if err != nil {
				return f, err
			}
			stored, err := l.participants(ctx, p.ID)
			f.Readings = append(f.Readings, votecheck.Reading{Source: "the participation table", Ballots: stored})
			return f, err
		},
	}, d, at, dir)
}

// participants is how many voters of a poll the primary's table has, as the disk has them, not an index.
func (l *Lab) participants(ctx context.Context, poll string) (n int64, err error) {
	primary, err := l.Primary(ctx)
	if err != nil {
		return 0, err
	}
	dsn, err := l.DSN(primary, "popvote")
	if err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, fmt.Errorf("couldn't connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off`); err != nil {
		return 0, fmt.Errorf("couldn't count the voters: %w", err)
	}
	err = conn.QueryRow(ctx, `SELECT count(*) FROM participation JOIN polls ON polls.no = participation.poll WHERE polls.id = $1`, poll).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("couldn't count the voters: %w", err)
	}
	return n, nil
}

func (l *Lab) fault(ctx context.Context, d Drill) error { return d.fault(ctx, l) }
func (l *Lab) undo(ctx context.Context, d Drill) error  { return d.undo(ctx, l) }

func (l *Lab) shown(ctx context.Context, d Drill) (string, error) {
	if d.shown == nil {
		return "", nil
	}
	seen, err := d.shown(ctx, l)
	if !seen || err != nil {
		return "", err
	}
	return d.says, nil
}

func (l *Lab) look(ctx context.Context) map[string]string {
	s := l.Status(ctx)
	return map[string]string{
		"Consul's leader": s.Consul, "Nomad's leader": s.Nomad, "Vault's active server": s.Vault,
		"PostgreSQL's primary": s.Primary, standby: s.Synchronous,
	}
}

func (l *Lab) replaced(ctx context.Context) bool {
	return l.Spread(ctx).Without(l.target.Name, l.spread)
}

func (l *Lab) ejected(ctx context.Context) bool { return !l.routes.Lead(ctx, l.target.Name) }

func (l *Lab) whole(ctx context.Context) error { return l.Ready(ctx) }

func (l *Lab) mend(ctx context.Context) (string, error) { return l.MendVault(ctx) }

func (l *Lab) settle(ctx context.Context) (string, error) {
	done, err := l.Rebalance(ctx)
	if len(done) == 0 {
		return "", err
	}
	return "spread evenly again: " + strings.Join(done, ", "), err
}
