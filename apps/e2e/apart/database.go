package apart

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/libs/pgcluster"
)

// The database, and the two roles that docs and usage tell operators to make.
const (
	database = "popvote"
	owner    = "popvote_owner"
	keeper   = "popvote_ballot"
)

// makeDatabase starts the servers, makes the roles and the database as their operator would, and has the
// ballot server make its tables.
func (s *Site) makeDatabase() {
	s.t.Helper()
	s.Database = pgcluster.Start(s.t, *s.o.Postgres)
	primary := s.Database.Primary()
	for _, statement := range []string{
		"CREATE ROLE " + owner + " LOGIN", "CREATE ROLE " + keeper + " LOGIN", "CREATE DATABASE " + database + " OWNER " + owner,
	} {
		if _, err := primary.SQL("postgres", statement); err != nil {
			s.t.Fatal(err)
		}
	}
	dir := s.t.TempDir()
	s.DSN = filepath.Join(dir, "ballot.dsn")
	migrates := filepath.Join(dir, "owner.dsn")
	s.writeDSN(migrates, primary.DSN(owner, database))
	s.KeptBy(append([]*pgcluster.Node{primary}, s.Database.Standbys()...)...)
	if code, stdout, stderr := instance.Run(s.t, filepath.Join(s.o.Binaries, "ballot-server"), "migrate", "-database", migrates); code != 0 {
		s.t.Fatalf("ballot-server migrate: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// KeptBy has the ballot servers that start from now on keep the box at whichever of these servers is the
// primary. Until it is called, they may be any.
func (s *Site) KeptBy(nodes ...*pgcluster.Node) {
	s.t.Helper()
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, s.o.Via(ViaDatabase, n.Addr()))
	}
	dsn := nodes[0].DSN(keeper, database)
	s.writeDSN(s.DSN, strings.Replace(dsn, nodes[0].Addr(), strings.Join(hosts, ","), 1))
}

func (s *Site) writeDSN(path, dsn string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(dsn+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Participants is how many voters of a poll the primary's table has.
func (s *Site) Participants(poll string) int64 {
	s.t.Helper()
	return s.number("SELECT count(*) FROM participation JOIN polls ON polls.no = participation.poll WHERE polls.id = '" + poll + "'")
}

// Logged is how many ballots a poll's log has, published or not.
func (s *Site) Logged(poll string) int64 {
	s.t.Helper()
	return s.number("SELECT log_size FROM polls WHERE id = '" + poll + "'")
}

// Waiting is how many ballots of a poll are not in its log yet.
func (s *Site) Waiting(poll string) int64 {
	s.t.Helper()
	return s.number("SELECT coalesce(sum(length(leaves)) / 32, 0) FROM unlogged JOIN batches ON batches.id = unlogged.batch JOIN polls ON polls.no = unlogged.poll WHERE polls.id = '" + poll + "'")
}

func (s *Site) number(query string) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(s.SQL(s.Database.Primary(), query), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// SQL asks a server about the box, as its superuser.
func (s *Site) SQL(node *pgcluster.Node, statements string) string {
	s.t.Helper()
	out, err := node.SQL(database, statements)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}
