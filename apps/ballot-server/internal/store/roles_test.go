package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/pgcluster"
)

// rights is all that the ballot server's role may do, by table.
var rights = map[string]string{
	"polls": "SELECT INSERT UPDATE", "log_hashes": "SELECT INSERT UPDATE",
	"turnout": "SELECT INSERT UPDATE", "took": "SELECT INSERT UPDATE",
	"unlogged":      "SELECT INSERT DELETE",
	"participation": "SELECT INSERT", "batches": "SELECT INSERT", "leaves": "SELECT INSERT", "epochs": "SELECT INSERT",
	"manifests": "SELECT INSERT", "audit": "SELECT INSERT", "results": "SELECT INSERT",
	"migrations": "SELECT",
}

// TestBallotRole: the ballot server's role has these rights and no other; and trying to change a vote,
// to delete one, or to set the clock is refused.
func TestBallotRole(t *testing.T) {
	db := pgtest.New(t, Migrate)
	s := openTest(t, Config{DSN: db.Ballot})
	addPoll(t, s, "p")
	record(t, s, randomBallot(sealedSize))
	extend(t, s, 1)

	tables := strings.Fields(db.SQL(t, db.Name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
	if len(tables) != len(rights) {
		t.Errorf("the tables are %v", tables)
	}
	for _, table := range tables {
		got := db.SQL(t, db.Name, `SELECT string_agg(p, ' ' ORDER BY n)
			FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) WITH ORDINALITY AS r (p, n)
			WHERE has_table_privilege('popvote_ballot', '`+table+`', p)`)
		if got != rights[table] {
			t.Errorf("on %s it may %s, not %s", table, got, rights[table])
		}
	}

	conn, err := pgx.Connect(t.Context(), db.Ballot)
	ok(t, err)
	defer func() { ok(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	tries := []string{
		"CREATE OR REPLACE FUNCTION poll_clock() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
		"CREATE TABLE public.mine (n int)", "DROP TABLE participation", "ALTER TABLE leaves DISABLE TRIGGER ALL",
		"DELETE FROM polls", "DELETE FROM turnout", "DELETE FROM migrations",
	}
	for table, column := range map[string]string{
		"participation": "voter", "batches": "sealed", "leaves": "leaf", "epochs": "first", "manifests": "jws", "audit": "reason", "results": "jws",
	} {
		tries = append(tries, "UPDATE "+table+" SET "+column+" = "+column, "DELETE FROM "+table, "TRUNCATE "+table)
	}
	for _, sql := range tries {
		var refused *pgconn.PgError
		if _, err := conn.Exec(t.Context(), sql); !errors.As(err, &refused) || refused.Code != "42501" {
			t.Errorf("%s gave %v", sql, err)
		}
	}
}

// TestDatabasesThatWouldLoseVotesAreRefused: each by the setting's name, with the reason.
func TestDatabasesThatWouldLoseVotesAreRefused(t *testing.T) {
	c := pgcluster.Start(t, pgcluster.Options{Standbys: 1})
	primary := c.Primary()
	db := pgtest.On(t, primary, Migrate)
	refused := func(dsn string, cluster bool, n need) {
		t.Helper()
		s, err := Open(t.Context(), Config{DSN: dsn, Cluster: cluster})
		if err == nil {
			ok(t, s.Close())
		}
		if err == nil || !strings.Contains(err.Error(), n.name) || !strings.Contains(err.Error(), n.why) {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	set := func(name, value string) {
		t.Helper()
		ok(t, primary.Set(name, value))
		for range 100 {
			if db.SQL(t, db.Name, "SHOW "+name) == value {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("%s does not become %s", name, value)
	}
	for _, n := range needs {
		switch n.name {
		case "pg_is_in_recovery()":
			standby := c.Standbys()[0]
			for tries := 0; ; tries++ { // until it has the database
				if _, err := standby.SQL(db.Name, "SELECT 1"); err == nil {
					break
				} else if tries == 200 {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			refused(standby.DSN(BallotRole, db.Name), false, n)
		case "synchronous_standby_names":
			refused(db.Ballot, true, n)
			set(n.name, "*")
			ok(t, openTest(t, Config{DSN: db.Ballot, Cluster: true}).Truncate(t.Context()))
			set(n.name, "")
		case "synchronous_commit":
			for _, value := range []string{"off", "local", "remote_write"} {
				set(n.name, value)
				refused(db.Ballot, false, n)
			}
			set(n.name, "on")
		default:
			set(n.name, "off")
			refused(db.Ballot, false, n)
			set(n.name, "on")
		}
	}
}

// TestSchemasOfOtherVersions: a ballot server goes on beside a newer schema, and starts with the one
// before; without any it says so.
func TestSchemasOfOtherVersions(t *testing.T) {
	newest := postgresMigrations
	db := pgtest.New(t, func(ctx context.Context, owner string) error {
		postgresMigrations = newest[:1]
		defer func() { postgresMigrations = newest }()
		return Migrate(ctx, owner)
	})
	before := openTest(t, Config{DSN: db.Ballot, TestClock: true})
	if before.Schema() != 1 {
		t.Fatalf("the schema is %d", before.Schema())
	}
	everyLeafIsFound(t, before)
	ok(t, Migrate(t.Context(), db.Owner))
	ok(t, Migrate(t.Context(), db.Owner)) // changes nothing
	// The one that runs has not noticed; the one started anew notes epochs. Both find all.
	record(t, before, randomBallot(sealedSize))
	extend(t, before, 10)
	after := openTest(t, Config{DSN: db.Ballot, TestClock: true})
	ballot := randomBallot(sealedSize)
	record(t, after, ballot)
	extend(t, after, 10)
	for _, s := range []*Store{before, after} {
		for _, n := range []int64{0, 472, 473, 474} {
			if got, found, err := s.Place(t.Context(), 1, leafAt(t, s, n)); err != nil || !found || got != n {
				t.Errorf("with schema %d leaf %d is found at %d (%v, %v)", s.Schema(), n, got, found, err)
			}
		}
	}

	db.SQL(t, db.Name, "INSERT INTO migrations VALUES ('9999')")
	record(t, openTest(t, Config{DSN: db.Ballot}), randomBallot(sealedSize))
	if err := Migrate(t.Context(), db.Owner); !errors.Is(err, ErrNewer) {
		t.Errorf("migrating what a newer version made gave %v", err)
	}

	bare := pgtest.New(t, func(context.Context, string) error { return nil })
	if _, err := Open(t.Context(), Config{DSN: bare.Ballot}); !errors.Is(err, ErrNotMigrated) {
		t.Errorf("a database without tables gave %v", err)
	}
}
