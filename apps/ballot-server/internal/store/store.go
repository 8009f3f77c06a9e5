// Package store is the ballot server's database, through GORM: SQLite in a data directory of its own, or
// PostgreSQL. It is the only package of PopVote that knows SQL.
//
// A vote's way through it is Record, the hot insert; everything else is an operator's change, made in
// Write. What differs between the two databases is in sqlite*.go and postgres*.go: how they are opened
// and checked, when a commit is known to have happened (engine), and the statements that need each one's
// own words (dialect).
package store

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// Config says where the database is, and what time it is. Exactly one of Dir and DSN is set.
type Config struct {
	// Dir is the data directory of an SQLite database; made if it is not there (mode 0700).
	Dir string
	// DSN is how to reach a PostgreSQL database that Migrate has been run on, in any form pgx takes. It
	// may hold a password and is never logged.
	DSN string
	// Credentials, where set, are whom a PostgreSQL database is connected to as, instead of the DSN's: they
	// change while votes are recorded.
	Credentials Credentials
	// Cluster requires of a PostgreSQL database that its commits wait for a standby: without one, what was
	// acknowledged is lost with the server.
	Cluster bool
	// Clock is the SQLite database's clock: SQL calls it as poll_clock(), within the statement. PostgreSQL
	// has a clock of its own.
	Clock func() time.Time
	// TestClock tells a PostgreSQL database what Clock says, in the setting popvote.clock of each
	// transaction. Only the poll_clock() that tests put into theirs listens to it.
	TestClock bool
	// Log hears of statements that failed. Values never appear in it.
	Log *slog.Logger

	// Commit, where set, stands between a transaction and its COMMIT, so that tests can make a commit
	// fail, or persist and yet seem to fail. It gets the real commit and returns its error, or another.
	Commit func(commit func() error) error
}

// Credentials of a database, which somebody keeps valid. Safe for concurrent use.
type Credentials interface {
	// Get returns those that each new connection is made with. It never waits.
	Get(ctx context.Context) (user, password string, err error)
	// Refused tells that the database does not take a user.
	Refused(user string)
}

// Store is an open database. Safe for concurrent use.
type Store struct {
	engine engine
	read   *gorm.DB
	d      *dialect
	// wary counts down the batches in which copies are still looked for, ballot by ballot.
	wary atomic.Int32
}

// engine is one of the two databases.
type engine interface {
	// transact runs fn in a transaction of its own. An error that is ErrUnknown leaves open whether it is
	// in the database; after any other nothing of it is. The context's end does not stop it: what others
	// wait for too is not one caller's to cancel. fn may be run again, if the database undid it because of
	// another transaction.
	transact(ctx context.Context, w with, fn func(tx *gorm.DB) error) error
	// atOnce is how many transactions may be under way.
	atOnce() int
	// reader is for queries outside of transactions.
	reader() *gorm.DB
	dialect() *dialect
	// schema is the version of the database's schema.
	schema() int
	// truncate empties what keeps the order of writes, as far as it is ours to.
	truncate(ctx context.Context) error
	// diskFree is bytes; 0 where it cannot be known.
	diskFree() (int64, error)
	close() error
}

// with is what else may go on during a transaction.
type with int

const (
	// withVotes: other ballot servers record votes, too.
	withVotes with = iota
	// alone: nothing is recorded, and nothing else is changed.
	alone
	// besideVotes: votes are recorded, but no poll is changed and no log extended.
	besideVotes
)

// ErrUnknown is a COMMIT that failed in a way that leaves open whether the transaction is in the
// database. Only running the same again tells.
var ErrUnknown = errors.New("the outcome of the commit is unknown")

// Open opens the database, and refuses one whose settings would not keep votes. An SQLite database is
// made if it is not there, its schema is brought up to date, and its directory is taken for this process
// alone until Close. A PostgreSQL database must have been migrated.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Commit == nil {
		cfg.Commit = func(commit func() error) error { return commit() }
	}
	var e engine
	var err error
	switch {
	case (cfg.Dir == "") == (cfg.DSN == ""):
		return nil, errors.New("couldn't open the database: either a data directory or a PostgreSQL database must be named")
	case cfg.DSN != "":
		e, err = openPostgres(ctx, cfg)
	default:
		e, err = openSQLite(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	return &Store{engine: e, read: e.reader(), d: e.dialect()}, nil
}

// Close ends all connections.
func (s *Store) Close() error { return s.engine.close() }

func gormConfig(log *slog.Logger) *gorm.Config {
	return &gorm.Config{
		// Transactions are begun and ended in the engines only.
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		Logger:                 newLogger(log),
	}
}
