//go:build unix

package drill

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// finder finds the database's primary, and how to log in there.
type finder interface {
	Primary(ctx context.Context) (netip.Addr, error)
	DSN(addr netip.Addr, database string) (string, error)
}

// rows is a load of votes that go straight into the database, for a cluster without services. They follow
// the ballot server's own rules (DESIGN.md §4): acknowledged only if the commit came back without a warning
// on a server that waits for a standby; what is unknown is tried again with the same key; and who finds
// the vote there already waits for the standby too.
type rows struct {
	ledger
	find    finder
	primary atomic.Pointer[netip.Addr]
}

const schema = `CREATE SCHEMA IF NOT EXISTS drill;
DROP TABLE IF EXISTS drill.vote;
CREATE TABLE drill.vote (voter text PRIMARY KEY, writer int NOT NULL)`

func newRows(ctx context.Context, find finder) (*rows, error) {
	l := &rows{ledger: newLedger(), find: find}
	addr, err := find.Primary(ctx)
	if err != nil {
		return nil, err
	}
	l.primary.Store(&addr)
	conn, _, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, schema); err != nil {
		return nil, fmt.Errorf("couldn't make the drill's table: %w", err)
	}
	return l, nil
}

// run has voters vote until ctx ends, and then gives those that wait a little longer.
func (l *rows) run(ctx context.Context, voters int) {
	var all sync.WaitGroup
	all.Go(func() { l.follow(ctx) })
	for n := range voters {
		all.Go(func() { l.votes(ctx, n) })
	}
	all.Wait()
}

// follow keeps the primary's address current; the last known one stays while nobody says.
func (l *rows) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if addr, err := l.find.Primary(ctx); err == nil {
			l.primary.Store(&addr)
		}
		wait(ctx, 250*time.Millisecond)
	}
}

// votes is one writer: a vote after the other, each until it is acknowledged.
func (l *rows) votes(ctx context.Context, n int) {
	var conn *pgx.Conn
	var warned *atomic.Bool
	drop := func() {
		if conn != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.Close(closing)
			cancel()
			conn = nil
		}
	}
	defer drop()
	for ctx.Err() == nil {
		key, start := rand.Text(), time.Now()
		l.ask(key)
		for ctx.Err() == nil {
			try, cancel := context.WithTimeout(ctx, patience)
			var err error
			if conn != nil && conn.Config().Host != l.primary.Load().String() {
				drop() // an old primary that is frozen, or cut off, still looks like one
			}
			if conn == nil {
				conn, warned, err = l.connect(try)
			}
			if err == nil {
				err = vote(try, conn, key, n)
				if err == nil && warned.Load() {
					err = errors.New("the wait for the standby was cut short")
				}
			}
			cancel()
			if err == nil {
				l.acked(key, start)
				break
			}
			drop()
			l.failed(err)
			wait(ctx, 100*time.Millisecond)
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func (l *rows) failed(err error) {
	text := "connection lost"
	var p *pgconn.PgError
	switch {
	case errors.As(err, &p):
		text = p.Message
	case errors.Is(err, context.DeadlineExceeded):
		text = "no answer in time"
	case errors.Is(err, errStandby):
		text = errStandby.Error()
	}
	l.tried(text)
}

var errStandby = errors.New("not a primary that waits for a standby")

// connect opens a connection to who is the primary now, and checks that it may be believed.
func (l *rows) connect(ctx context.Context) (*pgx.Conn, *atomic.Bool, error) {
	dsn, err := l.find.DSN(*l.primary.Load(), "postgres")
	if err != nil {
		return nil, nil, err
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't read the database's address: %w", err)
	}
	warned := &atomic.Bool{}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		// "canceling wait for synchronous replication": the commit says success all the same.
		if n.Code == "01000" {
			warned.Store(true)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't connect to the database: %w", err)
	}
	var good bool
	err = conn.QueryRow(ctx, `SELECT NOT pg_is_in_recovery() AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
		AND current_setting('synchronous_standby_names') <> '' AND current_setting('fsync') = 'on'`).Scan(&good)
	if err == nil && !good {
		err = errStandby
	}
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, nil, fmt.Errorf("couldn't use the database: %w", err)
	}
	return conn, warned, nil
}

// vote records one vote, in one transaction that ends durable in two clouds.
func vote(ctx context.Context, conn *pgx.Conn, key string, writer int) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO drill.vote (voter, writer) VALUES ($1, $2) ON CONFLICT DO NOTHING`, key, writer)
		if err != nil {
			return fmt.Errorf("couldn't record a vote: %w", err)
		}
		if tag.RowsAffected() == 0 {
			// It is there, but maybe here alone: this commit has to wait as well.
			if _, err := tx.Exec(ctx, `SELECT pg_logical_emit_message(true, 'popvote', 'dup')`); err != nil {
				return fmt.Errorf("couldn't confirm a vote: %w", err)
			}
		}
		return nil
	})
}

// check reads every vote from the primary that there is in the end, and from the disk, not an index.
func (l *rows) check(ctx context.Context) (c count, err error) {
	addr, err := l.find.Primary(ctx)
	if err != nil {
		return c, err
	}
	l.primary.Store(&addr)
	conn, _, err := l.connect(ctx)
	if err != nil {
		return c, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off`); err != nil {
		return c, fmt.Errorf("couldn't count the votes: %w", err)
	}
	rows, err := conn.Query(ctx, `SELECT voter FROM drill.vote`)
	if err != nil {
		return c, fmt.Errorf("couldn't count the votes: %w", err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return c, fmt.Errorf("couldn't count the votes: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := make([]string, len(l.acks))
	for i, a := range l.acks {
		acked[i] = a.key
	}
	c = compare(acked, l.open, there)
	c.Failed, c.Reasons = l.tries, l.errors
	return c, nil
}

// compare holds what was told against what is there.
func compare(acked []string, open map[string]bool, there []string) count {
	c := count{Acknowledged: len(acked), Stored: len(there), Unknown: len(open)}
	seen := map[string]int{}
	for _, key := range there {
		seen[key]++
		if seen[key] == 2 {
			c.Doubled++
		}
	}
	known := map[string]bool{}
	for _, key := range acked {
		known[key] = true
		if seen[key] == 0 {
			c.Lost++
		}
	}
	for key := range seen {
		switch {
		case open[key]:
			c.Recovered++
		case !known[key]:
			c.Strange++
		}
	}
	return c
}
