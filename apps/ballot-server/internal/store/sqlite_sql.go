package store

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"gorm.io/gorm"
)

// sqliteDialect takes rows as a JSON array of hex strings: SQLite's way to take many in one statement.
var sqliteDialect = dialect{
	version: `SELECT 'SQLite ' || sqlite_version()`,
	rows:    func(r *rows) any { return hexJSON(r) },
	insertParticipation: `
WITH now (ms) AS MATERIALIZED (SELECT poll_clock()),
     row (bytes) AS MATERIALIZED (SELECT unhex(value) FROM json_each(?))
INSERT INTO participation (poll, voter, key_hash, req_hash)
SELECT p.no, substr(bytes, 1, 32), substr(bytes, 33, 16), substr(bytes, 49, 16)
  FROM polls p, now, row
 WHERE p.id = ? AND p.state = 'open' AND p.opens_at <= now.ms AND now.ms < p.closes_at
   AND substr(bytes, 97) = CAST(p.sealed_size AS BLOB)
   AND NOT EXISTS (SELECT 1 FROM leaves l WHERE l.poll = p.no AND l.leaf = substr(bytes, 65, 32))
    ON CONFLICT DO NOTHING
RETURNING voter`,
	findRest: `
WITH row (bytes) AS MATERIALIZED (SELECT unhex(value) FROM json_each(?))
SELECT CAST(substr(bytes, 65) AS INTEGER) AS place, v.key_hash, v.req_hash, b.batch, b.place AS batch_place
  FROM polls p, row
  LEFT JOIN participation v ON v.poll = p.no AND v.voter = substr(bytes, 1, 32)
  LEFT JOIN leaves b ON b.poll = p.no AND b.leaf = substr(bytes, 33, 32)
 WHERE p.id = ?`,
	findLeaves: `
SELECT j.key, l.place, l.batch FROM json_each(?) j JOIN leaves l ON l.poll = ? AND l.leaf = unhex(j.value)`,
	deleteUnlogged: `DELETE FROM unlogged WHERE poll = ? AND batch IN (SELECT unhex(value) FROM json_each(?))`,
	fill:           fillSQLite,
}

const (
	insertBatch    = `INSERT INTO batches (id, poll, jws, leaves, sealed) SELECT ?, no, ?, ?, ? FROM polls WHERE id = ?`
	insertUnlogged = `INSERT INTO unlogged (poll, batch) SELECT no, ? FROM polls WHERE id = ?`
	insertLeaves   = `
INSERT INTO leaves (poll, leaf, batch, place)
SELECT p.no, unhex(j.value), ?, j.key FROM polls p, json_each(?) j WHERE p.id = ?`
	countTurnout = `
INSERT INTO turnout (poll, minute, channel, ballots)
SELECT p.no, poll_clock() / 60000, j.key, j.value FROM polls p, json_each(?) j WHERE p.id = ?
    ON CONFLICT DO UPDATE SET ballots = ballots + excluded.ballots`
	countTook = `
INSERT INTO took (poll, up_to, ballots)
SELECT p.no, CAST(j.key AS INTEGER), j.value FROM polls p, json_each(?) j WHERE p.id = ?
    ON CONFLICT DO UPDATE SET ballots = ballots + excluded.ballots`
)

func fillSQLite(tx *gorm.DB, f *filling) error {
	id := f.batch.ID[:]
	statements := []struct {
		what, sql string
		args      []any
	}{
		{"the batch", insertBatch, []any{id, f.batch.JWS, f.leaves.flat, f.sealed, f.poll}},
		{"the batch for the log", insertUnlogged, []any{id, f.poll}},
		{"the leaves", insertLeaves, []any{id, hexJSON(f.leaves), f.poll}},
		{"the turnout", countTurnout, []any{countsJSON(f.channels), f.poll}},
		{"the time to vote", countTook, []any{countsJSON(f.took), f.poll}},
	}
	for _, st := range statements {
		if err := tx.Exec(st.sql, st.args...).Error; err != nil {
			return fmt.Errorf("couldn't insert %s: %w", st.what, err)
		}
	}
	return nil
}

// hexJSON writes rows as a JSON array. Hex needs no escaping, and unhex is cheap.
func hexJSON(r *rows) string {
	b := make([]byte, 0, 2*len(r.flat)+3*len(r.ends)+2)
	b = append(b, '[')
	r.each(func(row []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = hex.AppendEncode(b, row)
		b = append(b, '"')
	})
	return string(append(b, ']'))
}

// countsJSON writes counters as a JSON object, their keys being plain words and digits.
func countsJSON[K int | string](c counters[K]) string {
	b := []byte{'{'}
	for i, key := range c.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, fmt.Sprint(key))
		b = append(b, ':')
		b = strconv.AppendInt(b, c.n[i], 10)
	}
	return string(append(b, '}'))
}
