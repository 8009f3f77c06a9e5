// Package server is the ballot server: the only owner of the database. It keeps polls, takes sealed
// ballots, keeps the public log of them, and counts.
package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/ballot-server/internal/crashpoint"
	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/signed"
)

// Config is how a ballot server is run. Zero values are the defaults.
type Config struct {
	// Dir is the data directory of an SQLite database. It is made if it is not there, and is one process's at
	// a time.
	Dir string
	// DSN is how to reach a PostgreSQL database, instead of Dir: several ballot servers may share it. Migrate
	// must have been run on it. It may hold a password.
	DSN string
	// Credentials are whom it is connected to as, instead of the DSN's, where they change all the time.
	Credentials Credentials
	// Cluster refuses a PostgreSQL database whose commits wait for no standby.
	Cluster bool
	// Queue is how many ballots may wait (8,192). More are refused at once as overloaded: at any rate a
	// disk can sustain, a longer queue would only add to everybody's waiting.
	Queue int
	// Batch is the most ballots in one transaction (1,024).
	Batch int
	// Tick is how often polls are closed by the clock and the log is extended (1 s).
	Tick time.Duration
}

// Credentials of a database, which somebody keeps valid.
type Credentials = store.Credentials

func (c Config) withDefaults() Config {
	if c.Queue == 0 {
		c.Queue = 8192
	}
	if c.Batch == 0 {
		c.Batch = 1024
	}
	if c.Tick == 0 {
		c.Tick = time.Second
	}
	return c
}

// Deps is what a ballot server needs of others.
type Deps struct {
	// Secrets holds the keys of documents, checkpoints and requests. The documents' key must be the one
	// that signed the manifests in Config.Dir.
	Secrets keyring.Secrets
	// Clock tells the time; also to SQLite, inside its statements. time.Now by default. PostgreSQL has a clock
	// of its own, which decides whether a ballot is in time whatever this one says.
	Clock func() time.Time
	// Log hears what an operator should know; slog.Default() by default.
	Log *slog.Logger
	// Metrics is where metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer

	// commit is the tests' way to make commits fail, and testClock to set PostgreSQL's clock by Clock; see
	// store.Config.
	commit    func(commit func() error) error
	testClock bool
	// clockGoesBack leaves Clock as it is, for tests that set it freely; see forward.
	clockGoesBack bool
}

// Server is an open ballot server. It implements ballotapi.Caster and ballotapi.Admin, and is safe for
// concurrent use.
type Server struct {
	clock  func() time.Time
	log    *slog.Logger
	store  *store.Store
	shared bool // other servers change polls in the same database
	signer *signed.Signer
	// notes signs checkpoints; each poll's log has a name of its own under the one key.
	notes ed25519.PrivateKey
	// requests keys the hashes in the participation table.
	requests [32]byte

	committer *committer
	cache     *cache
	live      *live

	ring       keyring.Secrets
	destroying sync.Mutex // held while an identity key is destroyed

	counting sync.Mutex // held during a count
	progress progress

	stop context.CancelFunc // ends the ticker
	done sync.WaitGroup
}

var (
	_ ballotapi.EachCaster = (*Server)(nil)
	_ ballotapi.Admin      = (*Server)(nil)
)

// Migrate brings the schema of a PostgreSQL database up to date, as the role that owns it. It is safe while
// ballot servers are using the database.
func Migrate(ctx context.Context, ownerDSN string) error { return store.Migrate(ctx, ownerDSN) }

// Open opens the ballot server of a data directory or a PostgreSQL database. It refuses a directory that
// is in use, that cannot be written, or that a newer version wrote; a database whose settings would not
// keep votes; and an audit chain that was tampered with.
func Open(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	cfg = cfg.withDefaults()
	if deps.Clock == nil {
		deps.Clock = time.Now //nolint:forbidigo // what is injected where nothing is
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	deps.Clock, deps.commit = crashpoint.Clock(deps.Clock), crashpoint.Commit(deps.commit)
	if !deps.clockGoesBack {
		deps.Clock = forward(deps.Clock)
	}
	s := &Server{clock: deps.Clock, log: deps.Log, cache: newCache(), live: newLive(deps.Clock)}
	if err := s.keys(ctx, deps.Secrets); err != nil {
		return nil, err
	}
	s.shared = cfg.DSN != ""
	var err error
	s.store, err = store.Open(ctx, store.Config{
		Dir: cfg.Dir, DSN: cfg.DSN, Credentials: cfg.Credentials, Cluster: cfg.Cluster,
		Clock: deps.Clock, TestClock: deps.testClock, Log: deps.Log, Commit: deps.commit,
	})
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	metrics, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	s.committer = newCommitter(cfg, s, metrics)
	if err := metrics.watch(s.committer); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}

	ticking, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(s.committer.run)
	s.done.Go(func() { s.tick(ticking, cfg.Tick) })
	return s, nil
}

// Close takes no more ballots, records those that wait, and closes the database.
func (s *Server) Close() error {
	s.stop()
	s.committer.close()
	s.done.Wait()
	return s.store.Close()
}

// check looks at what is in the database before anything is done with it.
func (s *Server) check(ctx context.Context) error {
	polls, err := s.store.Polls(ctx)
	if err != nil {
		return err
	}
	for i := range polls {
		p := &polls[i]
		if p.SigningKey != s.signer.Key().Kid {
			return fmt.Errorf("couldn't go on with poll %s: its manifest is signed by key %s, and the key ring has %s: bring back the key file that belongs to this data directory",
				p.ID, p.SigningKey, s.signer.Key().Kid)
		}
		if err := s.checkAudit(ctx, p); err != nil {
			return err
		}
		if err := s.remember(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// tick does what the clock asks for, until the context ends.
func (s *Server) tick(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := s.Tick(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelError, "the ticker failed", slog.String("error", err.Error()))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Tick closes the polls whose time has come and extends the logs. It runs every Config.Tick by itself.
func (s *Server) Tick(ctx context.Context) error {
	if s.shared {
		if err := s.catchUp(ctx); err != nil {
			return err
		}
	}
	for _, id := range s.cache.due(s.clock()) {
		if err := s.closeDue(ctx, id); err != nil {
			return err
		}
	}
	return s.extendLogs(ctx)
}
