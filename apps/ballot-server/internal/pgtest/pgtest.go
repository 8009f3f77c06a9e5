//go:build unix

// Package pgtest makes databases for tests, on a PostgreSQL server that the tests of a package share.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/popvote/popvote/libs/pgcluster"
)

// shared is started by the first test that needs it; tests of a package run one after the other.
var shared *pgcluster.Cluster

// made counts databases, each of which needs a name of its own.
var made atomic.Int64

// Main runs a package's tests, and ends the server that they share. For TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if shared != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// DB is a database as an operator makes it: the owner's, with the ballot server's role beside it.
type DB struct {
	// Owner and Ballot are DSNs of the two roles.
	Owner, Ballot string
	// Node is the server, and Name the database's name there.
	Node *pgcluster.Node
	Name string
}

// New makes a database on the shared server. Its clock is the test's: see store.Config.TestClock.
func New(t testing.TB, migrate func(ctx context.Context, ownerDSN string) error) *DB {
	t.Helper()
	if shared == nil {
		c, err := pgcluster.New(pgcluster.Options{})
		if err != nil {
			t.Fatal(err)
		}
		shared = c
	}
	return On(t, shared.Primary(), migrate)
}

// On makes a database on a server.
func On(t testing.TB, node *pgcluster.Node, migrate func(ctx context.Context, ownerDSN string) error) *DB {
	t.Helper()
	db := &DB{Node: node, Name: fmt.Sprintf("box%d", made.Add(1))}
	db.Owner, db.Ballot = node.DSN("popvote_owner", db.Name), node.DSN("popvote_ballot", db.Name)
	for _, role := range []string{"popvote_owner", "popvote_ballot"} {
		db.SQL(t, "postgres", `DO $$ BEGIN CREATE ROLE `+role+` LOGIN; EXCEPTION WHEN duplicate_object THEN END $$`)
	}
	db.SQL(t, "postgres", "CREATE DATABASE "+db.Name+" OWNER popvote_owner")
	if err := migrate(t.Context(), db.Owner); err != nil {
		t.Fatal(err)
	}
	db.SQL(t, db.Name, `
CREATE OR REPLACE FUNCTION poll_clock() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT COALESCE(nullif(current_setting('popvote.clock', true), '')::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) $$`)
	return db
}

// SQL runs statements as the superuser.
func (db *DB) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	out, err := db.Node.SQL(database, statements)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Empty deletes what is in the tables.
func (db *DB) Empty(t testing.TB) {
	t.Helper()
	var all string
	for _, table := range []string{
		"participation", "leaves", "unlogged", "batches", "log_hashes", "turnout", "took", "manifests", "audit", "results", "polls", "operators",
	} {
		all += "DELETE FROM " + table + ";"
	}
	db.SQL(t, db.Name, all)
}
