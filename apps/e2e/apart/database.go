package apart

import (
	"os"
	"path/filepath"
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
	s.KeptBy(primary)
	if code, stdout, stderr := instance.Run(s.t, filepath.Join(s.o.Binaries, "ballot-server"), "migrate", "-database", migrates); code != 0 {
		s.t.Fatalf("ballot-server migrate: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// KeptBy has the ballot servers that start from now on keep the box at this server.
func (s *Site) KeptBy(node *pgcluster.Node) {
	s.t.Helper()
	dsn := node.DSN(keeper, database)
	s.writeDSN(s.DSN, strings.Replace(dsn, node.Addr(), s.o.Via(ViaDatabase, node.Addr()), 1))
}

func (s *Site) writeDSN(path, dsn string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(dsn+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
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
