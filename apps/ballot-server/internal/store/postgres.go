package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
)

const (
	// commitsAtOnce is how many batches a ballot server has under way: one runs its statements, the others
	// wait for their commits, some milliseconds each if the standby is in another cloud.
	commitsAtOnce = 4
	// connections is how many a ballot server has at most: some record, the others read.
	connections = 12
	// turnover is how long a connection lives: what is checked as it opens is checked again that often, and
	// credentials that were taken back end with it.
	turnover = 5 * time.Minute
	// connecting is how long opening a connection may take. Voters wait behind it.
	connecting = 5 * time.Second
	// patience is how long a transaction may take. Then its connection is cut, not cancelled: a server that
	// is frozen or gone never answers, and one that waits for its standby goes on waiting.
	patience = 15 * time.Second
	// attempts is how often a transaction is run that the database undid because of another's.
	attempts = 5
)

// postgres is the engine of a cluster: a database that several ballot servers share, each of whose
// commits waits for a standby.
type postgres struct {
	servers *servers
	pool    *sql.DB
	db      *gorm.DB
	clock   func() time.Time // nil but in tests; see Config.TestClock
	commit  func(commit func() error) error
	applied int // the schema's version
	// patience is the constant of that name but in tests.
	patience time.Duration

	// unreplicated has the connections on which the server gave up waiting for the standby.
	unreplicated sync.Map // of *pgconn.PgConn
}

func openPostgres(ctx context.Context, cfg Config) (*postgres, error) {
	p := &postgres{commit: cfg.Commit, patience: patience}
	if cfg.TestClock {
		p.clock = cfg.Clock
	}
	var err error
	p.servers, err = newServers(cfg.DSN, cfg.Log, p.notice, func(ctx context.Context, c *pgx.Conn) (int64, error) {
		return check(ctx, c, cfg.Cluster)
	})
	if err != nil {
		return nil, err
	}
	p.servers.as = cfg.Credentials
	p.pool = sql.OpenDB(p.servers)
	p.pool.SetMaxOpenConns(connections)
	p.pool.SetMaxIdleConns(connections)
	p.pool.SetConnMaxLifetime(turnover)
	if err := p.open(ctx, cfg.Log); err != nil {
		return nil, errors.Join(fmt.Errorf("couldn't open the database at %s: %w", p.servers.names, err), p.close())
	}
	return p, nil
}

// parseDSN reads a DSN. The errors of pgx leave out a password.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	conn, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the database's DSN: %w", err)
	}
	conn.ConnectTimeout = connecting
	for name, value := range map[string]string{
		"application_name": "popvote",
		"timezone":         "UTC",
		// Nothing of ours waits for anything between two statements: a server that does is frozen, and must
		// not hold up the others for longer than an API server waits for a batch (8 s).
		"idle_in_transaction_session_timeout": "5s",
		// Every row is found by its key. A plan that was made while the tables were small reads them whole,
		// and a prepared statement keeps its plan for as long as the connection lives.
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
		// What waits for a lock on behalf of a connection that was cut ends.
		"client_connection_check_interval": "5s",
	} {
		conn.RuntimeParams[name] = value
	}
	return conn, nil
}

func (p *postgres) open(ctx context.Context, log *slog.Logger) (err error) {
	if err := p.pool.PingContext(ctx); err != nil {
		return err
	}
	// Each connection keeps its own prepared statements; GORM's are not needed beside them.
	if p.db, err = gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: reads{p.pool, p.servers}}), gormConfig(log)); err != nil {
		return err
	}
	p.applied, err = appliedPostgres(p.db.WithContext(ctx))
	return err
}

func (p *postgres) close() error {
	if err := p.pool.Close(); err != nil {
		return fmt.Errorf("couldn't close the database: %w", err)
	}
	return nil
}

func (p *postgres) atOnce() int       { return commitsAtOnce }
func (p *postgres) reader() *gorm.DB  { return p.db }
func (p *postgres) dialect() *dialect { return &postgresDialect }
func (p *postgres) schema() int       { return p.applied }

// truncate has nothing to do: PostgreSQL's log of writes is its server's, and its standbys need it.
func (p *postgres) truncate(context.Context) error { return nil }

func (p *postgres) diskFree() (int64, error) { return 0, nil }

// transact implements engine.
func (p *postgres) transact(ctx context.Context, w with, fn func(tx *gorm.DB) error) (err error) {
	ctx = context.WithoutCancel(ctx)
	for range attempts {
		if err = p.try(ctx, w, fn); err == nil || errors.Is(err, ErrUnknown) || !undone(err) {
			return err
		}
	}
	return err
}

// try runs a transaction once, on a connection of its own.
func (p *postgres) try(ctx context.Context, w with, fn func(tx *gorm.DB) error) error {
	defer p.servers.watch()()
	reach, cancel := context.WithTimeout(ctx, 2*connecting)
	conn, err := p.pool.Conn(reach)
	cancel()
	if err != nil {
		return fmt.Errorf("couldn't reach the database: %w", err)
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	defer p.cutLate(conn)()
	tx := p.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	tx.Statement.ConnPool = conn
	tx = tx.Session(&gorm.Session{NewDB: true})
	if err := p.begin(ctx, conn, w); err != nil {
		discard(conn)
		return fmt.Errorf("couldn't begin a transaction: %w", err)
	}
	if err := fn(tx); err != nil {
		if tx.Exec("ROLLBACK").Error != nil {
			discard(conn)
		}
		return err
	}
	err = p.commit(func() error {
		if err := tx.Exec("COMMIT").Error; err != nil {
			return err
		}
		return p.replicated(conn)
	})
	if err == nil {
		return nil
	}
	discard(conn)
	if reported(err) {
		return fmt.Errorf("couldn't commit: %w", err)
	}
	return fmt.Errorf("couldn't commit: %w: %w", ErrUnknown, err)
}

// locks are what a transaction takes as it begins. Votes share the first, and whoever changes polls has it
// alone: between two batches of votes, whichever server they are of. The second is the log's: of two servers
// that extend it, one waits and then finds it extended.
var locks = map[with]string{
	withVotes:   `SELECT pg_advisory_xact_lock_shared(1349473871)`,
	alone:       `SELECT pg_advisory_xact_lock(1349473871)`,
	besideVotes: `SELECT pg_advisory_xact_lock_shared(1349473871); SELECT pg_advisory_xact_lock(1349473872)`,
}

func (p *postgres) begin(ctx context.Context, conn *sql.Conn, w with) error {
	statements := "BEGIN; " + locks[w]
	if p.clock != nil {
		statements += fmt.Sprintf("; SELECT set_config('popvote.clock', '%d', true)", p.clock().UnixMilli())
	}
	// Together, as the simple protocol has it: each would cost a round trip while everybody waits.
	return conn.Raw(func(c any) error {
		return c.(*stdlib.Conn).Conn().PgConn().Exec(ctx, statements).Close()
	})
}

// notice hears what the server says beside its answers. When somebody cancels a commit's wait for the
// standby, the commit is reported as a success, and only a warning tells that it is on one disk alone.
func (p *postgres) notice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code == "01000" && strings.Contains(n.Message, "synchronous replication") {
		p.unreplicated.Store(c, true)
	}
}

var errUnreplicated = errors.New("the wait for the standby was cancelled")

// replicated says whether the commits of a connection have waited for the standby.
func (p *postgres) replicated(conn *sql.Conn) error {
	return conn.Raw(func(c any) error {
		if _, marked := p.unreplicated.LoadAndDelete(c.(*stdlib.Conn).Conn().PgConn()); marked {
			return errUnreplicated
		}
		return nil
	})
}

// cutLate cuts a connection whose transaction takes too long, until what it returns is called.
func (p *postgres) cutLate(conn *sql.Conn) (stop func()) {
	stop = func() {}
	_ = conn.Raw(func(c any) error {
		wire := c.(*stdlib.Conn).Conn().PgConn().Conn()
		t := time.AfterFunc(p.patience, func() { _ = wire.Close() })
		stop = func() { t.Stop() }
		return nil
	})
	return stop
}

// discard takes a connection out of the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// reported tells the errors of COMMIT by which the server says that it has rolled back: of a constraint,
// of other transactions, or of lacking space. (After the commit's record is written, it reports no error
// any more: it warns, or it crashes.)
func reported(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.SeverityUnlocalized != "ERROR" {
		return false
	}
	switch e.Code[:2] {
	case "23", "40", "53":
		return true
	}
	return false
}

// undone tells the errors after which the same may succeed: a serialisation failure or a deadlock, or a
// row that another server inserted at the same moment, which the next try sees.
func undone(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01" || e.Code == "23505")
}
