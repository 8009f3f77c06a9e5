package store

import (
	"fmt"
	"strconv"

	"github.com/ncruces/go-sqlite3"
)

// setting is one PRAGMA: what it is set to, and what it must then read.
type setting struct {
	name, set string
	// want is what must be read back; empty where it does not matter to what is promised.
	want string
	// why is what would be lost without it.
	why string
}

// applicationID marks our files ("PoVo"), so that nobody else's database is migrated by mistake.
const applicationID = 0x506f566f

// common settings come first on every connection.
var common = []setting{
	{name: "busy_timeout", set: "2000"},
	{name: "synchronous", set: "FULL", want: "2", why: "a vote is acknowledged only when it would survive a loss of power"},
	{name: "foreign_keys", set: "ON", want: "1", why: "no ballot may be without its poll and batch"},
	{name: "trusted_schema", set: "OFF", want: "0", why: "a database file must not bring code along"},
	{name: "cell_size_check", set: "ON", want: "1", why: "a damaged page must be noticed before it spreads"},
	{name: "temp_store", set: "MEMORY", want: "2", why: "nothing may be left in temporary files"},
}

// writing is for the connection that writes.
var writing = append([]setting{
	{name: "journal_mode", set: "WAL", want: "wal", why: "readers must not hold up the committer"},
	{name: "journal_size_limit", set: "268435456"},
	// 4 MiB: SQLite looks at every page of the cache after most commits (in splitting a page it borrows a
	// number far beyond the others, and then searches for those), so a large cache costs more than it saves.
	{name: "cache_size", set: "-4096"},
}, common...)

// reading is for the connections that read.
var reading = append([]setting{
	{name: "cache_size", set: "-8192"},
	{name: "query_only", set: "ON", want: "1", why: "only the committer's connection may write"},
	{name: "journal_mode", want: "wal", why: "readers must not hold up the committer"},
}, common...)

// folding is for the connection that folds the log of writes into the database.
// It holds the committer up while it empties the log, so it waits for nobody then.
var folding = append(append([]setting{
	{name: "journal_mode", want: "wal", why: "readers must not hold up the committer"},
}, common...), setting{name: "busy_timeout", set: "0"})

// pragmas is a connection, as far as settings go.
type pragmas interface {
	Exec(sql string) error
	Pragma(name string) (string, error)
}

// apply sets the settings and reads them back.
func apply(c *sqlite3.Conn, settings []setting) error { return applyTo(sqliteConn{c}, settings) }

func applyTo(c pragmas, settings []setting) error {
	for _, s := range settings {
		if s.set == "" {
			continue
		}
		if err := c.Exec("PRAGMA " + s.name + " = " + s.set); err != nil {
			return fmt.Errorf("couldn't set %s to %s: %w", s.name, s.set, explain(err))
		}
	}
	for _, s := range settings {
		if s.want == "" {
			continue
		}
		got, err := c.Pragma(s.name)
		if err != nil {
			return fmt.Errorf("couldn't read the database's setting %s: %w", s.name, err)
		}
		if got != s.want {
			return fmt.Errorf("the database's setting %s is %q and must be %q: %s", s.name, got, s.want, s.why)
		}
	}
	return owned(c)
}

// owned refuses a file that another program made.
func owned(c pragmas) error {
	got, err := c.Pragma("application_id")
	if err != nil {
		return fmt.Errorf("couldn't read the database's application id: %w", err)
	}
	if got != "0" && got != strconv.Itoa(applicationID) {
		return fmt.Errorf("it is another program's database (application id %s)", got)
	}
	return nil
}

type sqliteConn struct{ *sqlite3.Conn }

// Pragma reads a setting.
func (c sqliteConn) Pragma(name string) (value string, err error) {
	stmt, _, err := c.Prepare("PRAGMA " + name)
	if err != nil {
		return "", err
	}
	if stmt.Step() {
		value = stmt.ColumnText(0)
	}
	return value, stmt.Close()
}
