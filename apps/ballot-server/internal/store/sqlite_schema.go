package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"
)

// migrations are SQLite's.
var migrations = []*gormigrate.Migration{
	{ID: "0001", Migrate: script(schema0001)},
	{ID: "0003", Migrate: script(schema0003)},
}

// schema0001 is the box. What it leaves out is the point: participation and ballots share no column but
// the poll, no time, no serial number; and being WITHOUT ROWID they lie in the order of a keyed hash and
// of a hash of ciphertext, whatever the order they came in. Time is kept in counters only, by the minute.
const schema0001 = `
CREATE TABLE polls (
	no          INTEGER PRIMARY KEY AUTOINCREMENT,
	id          TEXT    NOT NULL UNIQUE,
	definition  TEXT    NOT NULL,             -- poll.Definition, JSON
	state       TEXT    NOT NULL CHECK (state IN ('draft', 'open', 'paused', 'closed', 'counted', 'published')),
	opens_at    INTEGER NOT NULL,             -- Unix time in milliseconds, like every time here
	closes_at   INTEGER NOT NULL,
	sealed_size INTEGER NOT NULL,             -- bytes of a sealed ballot
	sequence    INTEGER NOT NULL,             -- of the newest manifest
	signing_key TEXT    NOT NULL,             -- kid of the key that signs it
	audit_seq   INTEGER NOT NULL,             -- head of the audit chain
	audit_hash  BLOB    NOT NULL,
	log_size    INTEGER NOT NULL DEFAULT 0,   -- leaves in the ballot log
	checkpoint  BLOB    NOT NULL DEFAULT x'', -- the log's signed note
	peak        INTEGER NOT NULL DEFAULT 0,   -- most ballots in one second
	peak_at     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Every manifest that was ever published, signed.
CREATE TABLE manifests (
	poll     INTEGER NOT NULL REFERENCES polls (no),
	sequence INTEGER NOT NULL,
	jws      TEXT    NOT NULL,
	PRIMARY KEY (poll, sequence)
) STRICT, WITHOUT ROWID;

-- Who, when and why: each entry's hash covers the one before.
CREATE TABLE audit (
	poll   INTEGER NOT NULL REFERENCES polls (no),
	seq    INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	actor  TEXT    NOT NULL,
	action TEXT    NOT NULL,
	reason TEXT    NOT NULL,
	detail TEXT    NOT NULL,
	prev   BLOB    NOT NULL,
	hash   BLOB    NOT NULL,
	PRIMARY KEY (poll, seq)
) STRICT, WITHOUT ROWID;

-- Who has voted: the only table that knows. The hashes are keyed, with a key that is not in here. (No
-- REFERENCES on the two tables of the hot insert: it takes poll and batch from where they are, and to
-- check that again for every row costs a fifth of the throughput.)
CREATE TABLE participation (
	poll     INTEGER NOT NULL, -- polls.no
	voter    BLOB    NOT NULL, -- identity.VoterTag
	key_hash BLOB    NOT NULL, -- of the Idempotency-Key
	req_hash BLOB    NOT NULL, -- of the Idempotency-Key and the sealed ballot
	PRIMARY KEY (poll, voter)
) STRICT, WITHOUT ROWID;

-- The box: the ballots that one signature covers, in the order of their leaves.
CREATE TABLE batches (
	id     BLOB    NOT NULL PRIMARY KEY, -- random, 16 bytes
	poll   INTEGER NOT NULL REFERENCES polls (no),
	jws    TEXT    NOT NULL,             -- what receipts carry
	leaves BLOB    NOT NULL,             -- 32 bytes each
	sealed BLOB    NOT NULL              -- polls.sealed_size bytes each
) STRICT, WITHOUT ROWID;

-- Where in the box a leaf is. Its key is what refuses copies.
CREATE TABLE leaves (
	poll  INTEGER NOT NULL, -- polls.no
	leaf  BLOB    NOT NULL,
	batch BLOB    NOT NULL, -- batches.id
	place INTEGER NOT NULL,
	PRIMARY KEY (poll, leaf)
) STRICT, WITHOUT ROWID;

-- Batches that the ballot log does not hold yet.
CREATE TABLE unlogged (
	poll  INTEGER NOT NULL REFERENCES polls (no),
	batch BLOB    NOT NULL REFERENCES batches (id),
	PRIMARY KEY (poll, batch)
) STRICT, WITHOUT ROWID;

-- The ballot log: the hashes that golang.org/x/mod/sumdb/tlog stores, 256 to a row.
CREATE TABLE log_hashes (
	poll   INTEGER NOT NULL REFERENCES polls (no),
	chunk  INTEGER NOT NULL,
	hashes BLOB    NOT NULL,
	PRIMARY KEY (poll, chunk)
) STRICT, WITHOUT ROWID;

CREATE TABLE turnout (
	poll    INTEGER NOT NULL REFERENCES polls (no),
	minute  INTEGER NOT NULL, -- Unix time in minutes
	channel TEXT    NOT NULL,
	ballots INTEGER NOT NULL,
	PRIMARY KEY (poll, minute, channel)
) STRICT, WITHOUT ROWID;

-- How long voting took, over the whole poll.
CREATE TABLE took (
	poll    INTEGER NOT NULL REFERENCES polls (no),
	up_to   INTEGER NOT NULL, -- seconds; 0: longer than all others
	ballots INTEGER NOT NULL,
	PRIMARY KEY (poll, up_to)
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
	poll      INTEGER PRIMARY KEY REFERENCES polls (no),
	manifest  INTEGER NOT NULL, -- sequence of the manifest the count used
	jws       TEXT    NOT NULL,
	opened    BLOB    NOT NULL, -- the opened ballots, sorted, a line each, gzip
	tally_key BLOB              -- only where the poll reveals it
) STRICT;
`

// schema0003 is the operators' own audit chain; its columns are those of audit.
const schema0003 = `
CREATE TABLE operators (
	seq    INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	actor  TEXT    NOT NULL,
	action TEXT    NOT NULL,
	reason TEXT    NOT NULL,
	detail TEXT    NOT NULL,
	prev   BLOB    NOT NULL,
	hash   BLOB    NOT NULL
) STRICT;
`

// migrateSQLite brings the schema up to date, and refuses a newer one.
func migrateSQLite(ctx context.Context, conn *sql.Conn, log *slog.Logger) error {
	// A migration is a script: many statements, which cannot be prepared as one.
	db, err := gorm.Open(gormlite.OpenDB(conn), gormConfig(log))
	if err != nil {
		return err
	}
	db = db.WithContext(ctx)
	if err := refuseNewer(db, migrations); err != nil {
		return err
	}
	opts := *gormigrate.DefaultOptions
	opts.UseTransaction = true
	if err := gormigrate.New(db, &opts, migrations).Migrate(); err != nil {
		return err
	}
	return db.Exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID)).Error
}
