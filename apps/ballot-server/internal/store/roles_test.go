package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
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
	"participation": "SELECT INSERT", "batches": "SELECT INSERT", "leaves": "SELECT INSERT",
	"manifests": "SELECT INSERT", "audit": "SELECT INSERT", "operators": "SELECT INSERT", "results": "SELECT INSERT",
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
		"participation": "voter", "batches": "sealed", "leaves": "leaf", "manifests": "jws", "audit": "reason", "operators": "reason", "results": "jws",
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

// TestSchemasOfOtherVersions: a ballot server goes on, and starts, beside what a newer version has added; it
// does so with the schema before, too; without any it says so.
func TestSchemasOfOtherVersions(t *testing.T) {
	db := pgtest.New(t, func(ctx context.Context, owner string) error {
		return migrateTo(ctx, owner, &gormigrate.Migration{ID: withdrawn, Migrate: script(postgresEpochs)})
	})
	before := openTest(t, Config{DSN: db.Ballot, TestClock: true})
	if before.Schema() != 3 {
		t.Fatalf("the schema is %d", before.Schema())
	}
	addPoll(t, before, "p")
	ok(t, Migrate(t.Context(), db.Owner))
	ok(t, Migrate(t.Context(), db.Owner)) // changes nothing
	works := func(stores ...*Store) {
		t.Helper()
		for _, s := range stores {
			p, err := s.Poll(t.Context(), "p")
			ok(t, err)
			record(t, s, randomBallot(sealedSize))
			extend(t, s, 10)
			after, err := s.Poll(t.Context(), "p")
			ok(t, err)
			if after.LogSize != p.LogSize+1 {
				t.Errorf("with schema %d the log has grown from %d to %d", s.Schema(), p.LogSize, after.LogSize)
			}
		}
	}
	works(before, openTest(t, Config{DSN: db.Ballot, TestClock: true}))

	newer := &gormigrate.Migration{ID: "9999", Migrate: script(`ALTER TABLE leaves ADD added bigint; CREATE TABLE added (n bigint)`)}
	ok(t, migrateTo(t.Context(), db.Owner, newer))
	works(before, openTest(t, Config{DSN: db.Ballot, TestClock: true}))
	if err := Migrate(t.Context(), db.Owner); !errors.Is(err, ErrNewer) {
		t.Errorf("migrating what a newer version made gave %v", err)
	}

	bare := pgtest.New(t, func(context.Context, string) error { return nil })
	if _, err := Open(t.Context(), Config{DSN: bare.Ballot}); !errors.Is(err, ErrNotMigrated) {
		t.Errorf("a database without tables gave %v", err)
	}
}

// postgresEpochs is the migration that was withdrawn.
const postgresEpochs = `
CREATE TABLE epochs (
	poll  bigint NOT NULL REFERENCES polls (no),
	batch bytea  NOT NULL,
	first bigint NOT NULL,
	size  bigint NOT NULL,
	PRIMARY KEY (poll, batch)
);
GRANT SELECT, INSERT ON epochs TO popvote_ballot;
`

// migrateTo is Migrate in a version that has one migration more.
func migrateTo(ctx context.Context, owner string, more *gormigrate.Migration) error {
	ours := postgresMigrations
	defer func() { postgresMigrations = ours }()
	postgresMigrations = append(slices.Clip(ours), more)
	return Migrate(ctx, owner)
}
