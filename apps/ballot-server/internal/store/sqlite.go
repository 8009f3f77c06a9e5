package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"
)

// FileName is the database's name in the data directory.
const FileName = "popvote.db"

// readers is how many connections read at once. SQLite readers neither wait for the writer nor hold it
// up; a few are enough for what the API server's caches let through.
const readers = 4

// sqlite is the engine of one machine: a file in a data directory. One connection writes; others read.
type sqlite struct {
	dir    string
	clock  func() time.Time
	commit func(commit func() error) error
	lock   *os.File

	pool *sql.DB // of the one writing connection
	read *gorm.DB
	pure *sql.DB // read's pool

	// writing guards the writing connection: whoever holds it has the only transaction.
	writing sync.Mutex
	conn    *sql.Conn
	write   *gorm.DB

	// The log of writes, and what folds it into the database; see folder.
	folding     *sql.DB
	logPages    atomic.Int64 // how long the log is
	foldedPages atomic.Int64 // how much of it was in the database when that was last looked at
	fold        chan struct{}
	closing     chan struct{} // closed to end folder
	folded      chan struct{} // closed when it has ended
}

// openSQLite opens the database of a data directory, or makes it, and brings its schema up to date. It
// takes the directory for this process alone until close.
func openSQLite(ctx context.Context, cfg Config) (*sqlite, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make data directory %s: %w", cfg.Dir, err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &sqlite{
		dir: cfg.Dir, clock: cfg.Clock, commit: cfg.Commit, lock: lock,
		fold: make(chan struct{}, 1), closing: make(chan struct{}), folded: make(chan struct{}),
	}
	if err := s.open(ctx, cfg.Log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *sqlite) reader() *gorm.DB { return s.read }

// atOnce implements engine: SQLite has one writer.
func (s *sqlite) atOnce() int { return 1 }

func (s *sqlite) dialect() *dialect { return &sqliteDialect }

func (s *sqlite) schema() int { return len(migrations) }

func (s *sqlite) open(ctx context.Context, log *slog.Logger) error {
	file := filepath.Join(s.dir, FileName)
	var err error
	writer := func(c *sqlite3.Conn) error {
		s.watchLog(c)
		return s.prepare(writing)(c)
	}
	if s.pool, err = driver.Open(dsn(file), writer); err != nil {
		return fmt.Errorf("couldn't open database %s: %w", file, err)
	}
	s.pool.SetMaxOpenConns(1)
	if s.conn, err = s.pool.Conn(ctx); err != nil {
		return fmt.Errorf("couldn't open database %s: %w", file, explain(err))
	}
	if err := migrateSQLite(ctx, s.conn, log); err != nil {
		return fmt.Errorf("couldn't bring database %s up to date: %w", file, err)
	}
	if s.write, err = gorm.Open(gormlite.OpenDB(s.conn), sqliteConfig(log)); err != nil {
		return fmt.Errorf("couldn't open database %s: %w", file, err)
	}
	if s.pure, err = driver.Open(dsn(file), s.prepare(reading)); err != nil {
		return fmt.Errorf("couldn't open database %s: %w", file, err)
	}
	s.pure.SetMaxOpenConns(readers)
	s.pure.SetMaxIdleConns(readers)
	if err := s.pure.PingContext(ctx); err != nil {
		return fmt.Errorf("couldn't read database %s: %w", file, explain(err))
	}
	if s.read, err = gorm.Open(gormlite.OpenDB(s.pure), sqliteConfig(log)); err != nil {
		return fmt.Errorf("couldn't read database %s: %w", file, err)
	}
	if s.folding, err = driver.Open(dsn(file), s.prepare(folding)); err != nil {
		return fmt.Errorf("couldn't open database %s: %w", file, err)
	}
	s.folding.SetMaxOpenConns(1)
	go s.folder(log)
	return nil
}

// dsn names the file in a way that keeps "?" and "%" in a path from becoming parameters.
func dsn(file string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(file)}).String()
}

// sqliteConfig has statements prepared once, which the driver does not do by itself.
func sqliteConfig(log *slog.Logger) *gorm.Config {
	cfg := gormConfig(log)
	cfg.PrepareStmt = true
	return cfg
}

// prepare readies each connection as it opens: settings first, then the proof that they hold.
func (s *sqlite) prepare(settings []setting) func(*sqlite3.Conn) error {
	return func(c *sqlite3.Conn) error {
		err := c.CreateFunction("poll_clock", 0, sqlite3.DIRECTONLY, func(ctx sqlite3.Context, _ ...sqlite3.Value) {
			ctx.ResultInt64(s.clock().UnixMilli())
		})
		if err != nil {
			return fmt.Errorf("couldn't give the database its clock: %w", err)
		}
		return apply(c, settings)
	}
}

// close ends all connections and gives the directory free.
func (s *sqlite) close() error {
	var errs []error
	if s.folding != nil {
		close(s.closing)
		<-s.folded
		errs = append(errs, s.folding.Close())
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.pure != nil {
		errs = append(errs, s.pure.Close())
	}
	if s.conn != nil {
		// The log of writes is folded into the database, so that it does not keep their order.
		if s.write != nil {
			errs = append(errs, s.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)").Error, finalize(s.write))
		}
		errs = append(errs, s.conn.Close())
	}
	if s.pool != nil {
		errs = append(errs, s.pool.Close())
	}
	// Closing the file ends its lock.
	errs = append(errs, s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("couldn't close the database: %w", err)
	}
	return nil
}

// finalize closes the statements that GORM keeps prepared on the writing connection. A pool does that
// for its own; on a single connection nobody does, and SQLite doesn't close before.
func finalize(db *gorm.DB) error {
	prepared, ok := db.ConnPool.(*gorm.PreparedStmtDB)
	if !ok {
		return nil
	}
	var errs []error
	for _, key := range prepared.Stmts.Keys() {
		if stmt, ok := prepared.Stmts.Get(key); ok {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// transact implements engine.
func (s *sqlite) transact(ctx context.Context, _ with, fn func(tx *gorm.DB) error) (err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	tx := s.write.WithContext(context.WithoutCancel(ctx))
	if err := tx.Exec("BEGIN IMMEDIATE").Error; err != nil {
		return fmt.Errorf("couldn't begin a transaction: %w", err)
	}
	ended := false
	defer func() {
		if !ended {
			// After some errors SQLite has rolled back by itself, and says that there is nothing to.
			_ = tx.Exec("ROLLBACK").Error
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := s.commit(func() error { return tx.Exec("COMMIT").Error }); err != nil {
		if rolledBack(err) {
			return fmt.Errorf("couldn't commit: %w", err)
		}
		return fmt.Errorf("couldn't commit: %w: %w", ErrUnknown, err)
	}
	ended = true
	return nil
}

// rolledBack tells the errors of COMMIT after which nothing of the transaction can ever appear: a log
// whose last frame was not written whole is cut off there, and SQLite writes no frame after it (the
// file system keeps neighbouring bytes, "psow"). A frame that was written but not synced is another
// matter: it may be found at the next start, unless it is written over.
func rolledBack(err error) bool {
	return errors.Is(err, sqlite3.FULL) || errors.Is(err, sqlite3.BUSY) ||
		errors.Is(err, sqlite3.IOERR_WRITE) || errors.Is(err, sqlite3.READONLY)
}

// explain gives the errors of a start the words an operator needs.
func explain(err error) error {
	switch {
	case errors.Is(err, sqlite3.NOTADB):
		return fmt.Errorf("it is not a database: %w", err)
	case errors.Is(err, sqlite3.CANTOPEN), errors.Is(err, sqlite3.READONLY):
		return fmt.Errorf("it cannot be written: %w", err)
	case errors.Is(err, sqlite3.FULL):
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}
