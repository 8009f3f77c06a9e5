package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// need is one thing that must hold on every connection.
type need struct {
	// name is what an operator knows it by; query reads it as text.
	name, query string
	// want is what it may be.
	want []string
	// why is what would be lost otherwise.
	why string
	// cluster is needed in a cluster only.
	cluster bool
	// but is a value that is refused, where all others are fine.
	but *string
}

var (
	empty = ""
	needs = []need{
		{
			name: "pg_is_in_recovery()", query: "pg_is_in_recovery()::text", want: []string{"false"},
			why: "a standby takes no votes",
		},
		{
			name: "fsync", query: "current_setting('fsync')", want: []string{"on"},
			why: "a vote is acknowledged only when it would survive a loss of power",
		},
		{
			name: "full_page_writes", query: "current_setting('full_page_writes')", want: []string{"on"},
			why: "a page that is half written when the power goes must be mended",
		},
		{
			name: "synchronous_commit", query: "current_setting('synchronous_commit')", want: []string{"on", "remote_apply"},
			why: "a vote is acknowledged only when it is on disk, and on the standby's, too",
		},
		{
			name: "synchronous_standby_names", query: "current_setting('synchronous_standby_names')", but: &empty, cluster: true,
			why: "a vote that is on one server only is lost with it",
		},
	}
)

// accepts says whether a value is fine.
func (n *need) accepts(value string) bool {
	if n.but != nil {
		return value != *n.but
	}
	return slices.Contains(n.want, value)
}

// timeline counts the promotions of standbys up to this server.
const timeline = `CASE WHEN pg_is_in_recovery() THEN 0
	ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END`

// check proves, as a connection opens, that votes are safe with it, and returns the server's timeline.
func check(ctx context.Context, c *pgx.Conn, cluster bool) (at int64, err error) {
	asked := slices.DeleteFunc(slices.Clone(needs), func(n need) bool { return n.cluster && !cluster })
	query, got := "SELECT "+timeline, make([]string, len(asked))
	into := []any{&at}
	for i := range asked {
		query += ", " + asked[i].query
		into = append(into, &got[i])
	}
	if err := c.QueryRow(ctx, query).Scan(into...); err != nil {
		return 0, fmt.Errorf("couldn't read the database's settings: %w", err)
	}
	for i, n := range asked {
		if !n.accepts(got[i]) {
			return 0, fmt.Errorf("the database's setting %s is %q: %s", n.name, got[i], n.why)
		}
	}
	return at, nil
}
