package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/libs/pgcluster"
)

// The roles of production: one owns the tables, the other may not change a vote.
const (
	ownerRole  = "popvote_owner"
	ballotRole = "popvote_ballot"
)

// startDatabase starts a PostgreSQL server with the box's tables. Commits are as durable as in
// production: only what the machine's size decides is set.
func (i *instance) startDatabase(ctx context.Context, s *site, parent string) error {
	cluster, err := pgcluster.New(pgcluster.Options{Dir: parent, Settings: map[string]string{
		"shared_buffers": "512MB", "max_wal_size": "8GB", "max_connections": "200",
	}})
	if err != nil {
		return err
	}
	i.onClose(cluster.Close)
	node := cluster.Primary()
	i.apart = &apart{database: node, postgres: serving{{"postgres", node.PID()}}}
	for _, role := range []string{ownerRole, ballotRole} {
		if _, err := node.SQL("postgres", "CREATE ROLE "+role+" LOGIN"); err != nil {
			return err
		}
	}
	if err := s.makeBox(ctx, node, boxName); err != nil {
		return err
	}
	for _, statement := range []string{
		`CREATE TABLE pgbench_row (id bigint PRIMARY KEY, sealed bytea NOT NULL)`,
		`CREATE TABLE naive_votes (poll text, voter bytea, key text NOT NULL, leaf bytea NOT NULL UNIQUE, sealed bytea NOT NULL,
		                           channel text NOT NULL, took bigint NOT NULL, PRIMARY KEY (poll, voter))`,
		`GRANT SELECT, INSERT ON naive_votes TO ` + ballotRole,
	} {
		if _, err := node.SQL(boxName, statement); err != nil {
			return err
		}
	}
	return nil
}

// makeBox makes a database with a box's tables.
func (s *site) makeBox(ctx context.Context, node *pgcluster.Node, name string) error {
	if _, err := node.SQL("postgres", "CREATE DATABASE "+name+" OWNER "+ownerRole); err != nil {
		return err
	}
	for _, role := range []string{ownerRole, ballotRole} {
		if err := os.WriteFile(s.dsn(role), []byte(node.DSN(role, name)+"\n"), 0o600); err != nil {
			return fmt.Errorf("couldn't write the DSN: %w", err)
		}
	}
	migrate := exec.CommandContext(ctx, s.binary(ballotServer), "migrate", "-database", s.dsn(ownerRole)) //nolint:gosec // a program of ours
	if said, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("couldn't make the tables: %w: %s", err, said)
	}
	return nil
}

// slow has every commit wait for some time before its write to disk, as a standby far away would; 0 ends
// that.
func (a *apart) slow(by time.Duration) error {
	return errors.Join(
		a.database.Set("commit_siblings", "0"), // wait whoever else is committing
		a.database.Set("commit_delay", strconv.FormatInt(by.Microseconds(), 10)),
	)
}

// naiveVotes is how many votes the naive path has recorded.
func (a *apart) naiveVotes() (int64, error) {
	text, err := a.database.SQL(boxName, "SELECT count(*) FROM naive_votes")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

var perSecond = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// pgbenchClients are the numbers of connections of which the best counts.
var pgbenchClients = []int{1, 16, 64}

// pgbench measures PostgreSQL's own benchmark inserting durable rows as large as a sealed ballot, one a
// transaction.
func (i *instance) pgbench(ctx context.Context, clients int, phase time.Duration) (float64, error) {
	dir, err := os.MkdirTemp("", "popvote-pgbench-*")
	if err != nil {
		return 0, fmt.Errorf("couldn't make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	script := filepath.Join(dir, "insert.sql")
	insert := fmt.Sprintf("\\set id random(1, 9000000000000000000)\nINSERT INTO pgbench_row VALUES (:id, '\\x%s') ON CONFLICT DO NOTHING;\n",
		strings.Repeat("5a", i.sealedSize()))
	if err := os.WriteFile(script, []byte(insert), 0o600); err != nil {
		return 0, fmt.Errorf("couldn't write pgbench's script: %w", err)
	}
	seconds := strconv.Itoa(max(1, int(phase.Seconds())))
	said, err := exec.CommandContext(ctx, pgcluster.Program("pgbench"), "--no-vacuum", "--protocol=prepared", "--time="+seconds, //nolint:gosec // as above
		"--client="+strconv.Itoa(clients), "--jobs=1", "--file="+script, i.apart.database.DSN(pgcluster.Superuser, boxName)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("couldn't run pgbench: %w: %s", err, said)
	}
	found := perSecond.FindSubmatch(said)
	if found == nil {
		return 0, fmt.Errorf("couldn't read what pgbench says: %s", said)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
