package store

import (
	"database/sql/driver"
	"fmt"
	"math/rand/v2"

	"gorm.io/gorm"
)

// postgresDialect takes rows as an array of byte strings, for unnest.
//
// A prepared statement is planned while the tables are all but empty, when reading a whole index is as
// cheap as looking up a key. So look-ups are written as what is run for each row (an aggregate, a LIMIT),
// which the planner cannot turn into a join.
var postgresDialect = dialect{
	version: `SELECT 'PostgreSQL ' || current_setting('server_version')`,
	rows:    func(r *rows) any { return byteArray(r) },
	insertParticipation: fmt.Sprintf(insertPostgres, `
   AND (SELECT count(*) FROM leaves l WHERE l.poll = p.no AND l.leaf = substr(r.bytes, 65, 32)) = 0`),
	insertTrusting: fmt.Sprintf(insertPostgres, ""),
	findRest: `
SELECT convert_from(substr(r.bytes, 65), 'UTF8')::bigint AS place,
       v.key_hash, v.req_hash, b.batch, COALESCE(b.place, 0) AS batch_place
  FROM polls p CROSS JOIN unnest(?::bytea[]) AS r (bytes)
  LEFT JOIN LATERAL (SELECT key_hash, req_hash FROM participation v
                      WHERE v.poll = p.no AND v.voter = substr(r.bytes, 1, 32) LIMIT 1) v ON true
  LEFT JOIN LATERAL (SELECT batch, place FROM leaves b
                      WHERE b.poll = p.no AND b.leaf = substr(r.bytes, 33, 32) LIMIT 1) b ON true
 WHERE p.id = ?`,
	findLeaves: `
SELECT r.n - 1 AS key, l.place, l.batch
  FROM unnest(?::bytea[]) WITH ORDINALITY AS r (leaf, n) JOIN leaves l ON l.poll = ? AND l.leaf = r.leaf`,
	deleteUnlogged: `DELETE FROM unlogged WHERE poll = ? AND batch = ANY (?::bytea[])`,
	// A commit that wrote nothing waits for nothing. This writes a record that means nothing.
	mark: `SELECT pg_logical_emit_message(true, 'popvote', 'dup')`,
	fill: fillPostgres,
}

const insertPostgres = `
WITH now AS MATERIALIZED (SELECT poll_clock() AS ms)
INSERT INTO participation (poll, voter, key_hash, req_hash)
SELECT p.no, substr(r.bytes, 1, 32), substr(r.bytes, 33, 16), substr(r.bytes, 49, 16)
  FROM polls p, now, unnest(?::bytea[]) AS r (bytes)
 WHERE p.id = ? AND p.state = 'open' AND p.opens_at <= now.ms AND now.ms < p.closes_at
   AND substr(r.bytes, 97) = convert_to(p.sealed_size::text, 'UTF8')%s
    ON CONFLICT DO NOTHING
RETURNING voter`

// fillPostgreSQL is one statement: each would cost a round trip while everybody waits.
const fillPostgreSQL = `
WITH p AS MATERIALIZED (SELECT no FROM polls WHERE id = ?),
     b AS (INSERT INTO batches (id, poll, jws, leaves, sealed)
           SELECT ?::bytea, p.no, ?::text, ?::bytea, ?::bytea FROM p),
     u AS (INSERT INTO unlogged (poll, batch) SELECT p.no, ?::bytea FROM p),
     l AS (INSERT INTO leaves (poll, leaf, batch, place)
           SELECT p.no, r.leaf, ?::bytea, r.n - 1 FROM p, unnest(?::bytea[]) WITH ORDINALITY AS r (leaf, n)),
     t AS (INSERT INTO turnout (poll, minute, channel, part, ballots)
           SELECT p.no, poll_clock() / 60000, r.channel, ?::bigint, r.ballots FROM p, unnest(?::text[], ?::bigint[]) AS r (channel, ballots)
               ON CONFLICT (poll, minute, channel, part) DO UPDATE SET ballots = turnout.ballots + excluded.ballots),
     k AS (INSERT INTO took (poll, up_to, part, ballots)
           SELECT p.no, r.up_to, ?::bigint, r.ballots FROM p, unnest(?::bigint[], ?::bigint[]) AS r (up_to, ballots)
               ON CONFLICT (poll, up_to, part) DO UPDATE SET ballots = took.ballots + excluded.ballots)
SELECT 1`

// parts is how many rows a counter has: enough that two batches under way seldom meet.
const parts = 64

func fillPostgres(tx *gorm.DB, f *filling) error {
	id, part := f.batch.ID[:], rand.N(parts)
	err := tx.Exec(fillPostgreSQL, f.poll,
		id, f.batch.JWS, f.leaves.flat, f.sealed, id, id, byteArray(f.leaves),
		part, array[string](f.channels.keys), array[int64](f.channels.n), part, array[int](f.took.keys), array[int64](f.took.n)).Error
	if err != nil {
		return fmt.Errorf("couldn't insert the batch: %w", err)
	}
	return nil
}

// array is a parameter that pgx writes as a PostgreSQL array. As a plain slice, GORM would write it as a
// list of parameters.
type array[T any] []T

// Value implements driver.Valuer for GORM; pgx takes what it returns.
func (a array[T]) Value() (driver.Value, error) { return []T(a), nil }

func byteArray(r *rows) array[[]byte] {
	out := make(array[[]byte], 0, len(r.ends))
	r.each(func(row []byte) { out = append(out, row) })
	return out
}
