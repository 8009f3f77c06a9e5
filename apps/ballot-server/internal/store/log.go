package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
	"gorm.io/gorm"
)

// chunkHashes is how many of tlog's stored hashes lie in one row.
const chunkHashes = 256

// Log is the ballot log of one poll, as a transaction or a reader sees it. It implements
// tlog.HashReader. Not safe for concurrent use.
type Log struct {
	db     *gorm.DB
	poll   int64
	first  int64 // index of the first leaf appended; -1: none
	chunks map[int64][]byte
	dirty  map[int64]bool
}

// Log opens a poll's log for appending.
func (tx Tx) Log(no int64) *Log { return newLog(tx.db, no) }

// Log opens a poll's log for reading.
func (s *Store) Log(ctx context.Context, no int64) *Log { return newLog(s.read.WithContext(ctx), no) }

func newLog(db *gorm.DB, no int64) *Log {
	return &Log{db: db, poll: no, first: -1, chunks: map[int64][]byte{}, dirty: map[int64]bool{}}
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		chunk, err := l.chunk(index / chunkHashes)
		if err != nil {
			return nil, err
		}
		at := int(index%chunkHashes) * tlog.HashSize
		if at+tlog.HashSize > len(chunk) {
			return nil, fmt.Errorf("couldn't read the ballot log: it has no hash %d", index)
		}
		copy(out[i][:], chunk[at:])
	}
	return out, nil
}

func (l *Log) chunk(n int64) ([]byte, error) {
	if c, ok := l.chunks[n]; ok {
		return c, nil
	}
	var rows [][]byte
	err := l.db.Raw(`SELECT hashes FROM log_hashes WHERE poll = ? AND chunk = ?`, l.poll, n).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("couldn't read the ballot log: %w", err)
	}
	var c []byte
	if len(rows) > 0 {
		c = rows[0]
	}
	l.chunks[n] = c
	return c, nil
}

// Append adds leaves, which are sorted, behind the first size ones: one epoch. Once only.
func (l *Log) Append(size int64, leaves [][32]byte) error {
	l.first = size
	for i, leaf := range leaves {
		n := size + int64(i)
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, l)
		if err != nil {
			return fmt.Errorf("couldn't hash the ballot log: %w", err)
		}
		at := tlog.StoredHashIndex(0, n)
		for _, h := range hashes {
			chunk, err := l.chunk(at / chunkHashes)
			if err != nil {
				return err
			}
			if int64(len(chunk)) != at%chunkHashes*tlog.HashSize {
				return fmt.Errorf("couldn't append to the ballot log: it has another length than its %d leaves need", n)
			}
			l.chunks[at/chunkHashes] = append(chunk, h[:]...)
			l.dirty[at/chunkHashes] = true
			at++
		}
	}
	return nil
}

// save writes what Append changed.
func (l *Log) save() error {
	for n := range l.dirty {
		err := l.db.Exec(`INSERT INTO log_hashes (poll, chunk, hashes) VALUES (?, ?, ?)
			ON CONFLICT (poll, chunk) DO UPDATE SET hashes = excluded.hashes`, l.poll, n, l.chunks[n]).Error
		if err != nil {
			return fmt.Errorf("couldn't write the ballot log: %w", err)
		}
	}
	return nil
}

// Pending is a batch that the log does not hold yet.
type Pending struct {
	ID     []byte
	Leaves []byte
}

// Pending reads batches that are not in the log, in the order of their random ids, until they hold at
// least limit leaves or there are no more.
func (tx Tx) Pending(no int64, limit int) (batches []Pending, leaves [][32]byte, err error) {
	// No batch is empty, so that more than limit of them are not needed.
	rows, err := tx.db.Raw(`SELECT b.id, b.leaves FROM unlogged u JOIN batches b ON b.id = u.batch
		WHERE u.poll = ? ORDER BY u.batch LIMIT ?`, no, limit).Rows()
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't read what the log lacks: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for len(leaves) < limit && rows.Next() {
		var p Pending
		if err := rows.Scan(&p.ID, &p.Leaves); err != nil {
			return nil, nil, fmt.Errorf("couldn't read what the log lacks: %w", err)
		}
		batches = append(batches, p)
		leaves = append(leaves, split(p.Leaves)...)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("couldn't read what the log lacks: %w", err)
	}
	return batches, leaves, nil
}

// SaveLog writes the appended log with its new size and checkpoint, and takes its batches off the list. It
// fails if somebody else has extended the log meanwhile.
func (tx Tx) SaveLog(l *Log, size int64, checkpoint []byte, logged []Pending) error {
	if err := l.save(); err != nil {
		return err
	}
	ids := newRows(len(logged), 16)
	for _, p := range logged {
		ids.row(p.ID)
	}
	done := tx.db.Exec(`UPDATE polls SET log_size = ?, checkpoint = ? WHERE no = ? AND log_size = ?`, size, checkpoint, l.poll, l.first)
	if err := done.Error; err != nil {
		return fmt.Errorf("couldn't write the ballot log: %w", err)
	}
	if done.RowsAffected != 1 {
		return errors.New("couldn't write the ballot log: another server has extended it")
	}
	if err := tx.db.Exec(tx.d.deleteUnlogged, l.poll, tx.d.rows(ids)).Error; err != nil {
		return fmt.Errorf("couldn't write the ballot log: %w", err)
	}
	return nil
}

// Unlogged counts the ballots of each poll that its log does not hold yet.
func (s *Store) Unlogged(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		ID     string
		Leaves int
	}
	err := s.read.WithContext(ctx).Raw(`SELECT p.id, sum(length(b.leaves)) / 32 AS leaves
		FROM unlogged u JOIN batches b ON b.id = u.batch JOIN polls p ON p.no = u.poll GROUP BY p.no`).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("couldn't read what the log lacks: %w", err)
	}
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.ID] = r.Leaves
	}
	return out, nil
}

// cachedBytes is how much of the box Ballots keeps at hand. The ballots of an epoch of the log lie in a
// few batches, so most are found there.
const cachedBytes = 32 << 20

// Ballots yields the sealed ballots of a poll in the log's order.
func (s *Store) Ballots(ctx context.Context, p *Poll) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		db := s.read.WithContext(ctx)
		box := box{db: db, d: s.d, size: p.SealedSize, batches: map[[16]byte][]byte{}}
		log := newLog(db, p.No)
		for from := int64(0); from < p.LogSize; from += chunkHashes {
			sealed, err := box.read(log, p.No, from, min(from+chunkHashes, p.LogSize))
			if err != nil {
				yield(nil, err)
				return
			}
			for _, b := range sealed {
				if !yield(b, nil) {
					return
				}
			}
			clear(log.chunks) // each is needed once
		}
	}
}

// box reads sealed ballots, a whole batch at a time.
type box struct {
	db      *gorm.DB
	d       *dialect
	size    int
	batches map[[16]byte][]byte
	held    int
}

// read returns the ballots of a range of the log.
func (b *box) read(log *Log, no, from, to int64) ([][]byte, error) {
	indexes := make([]int64, 0, to-from)
	for n := from; n < to; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	leaves, err := log.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	rows := newRows(len(leaves), tlog.HashSize)
	for i := range leaves {
		rows.row(leaves[i][:])
	}
	var found []struct {
		Key, Place int
		Batch      []byte
	}
	err = b.db.Raw(b.d.findLeaves, b.d.rows(rows), no).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("couldn't read the box: %w", err)
	}
	if len(found) != len(leaves) {
		return nil, fmt.Errorf("couldn't read the box: %d ballots of the log are not in it", len(leaves)-len(found))
	}
	out := make([][]byte, len(leaves))
	for _, f := range found {
		sealed, err := b.batch([16]byte(f.Batch))
		if err != nil {
			return nil, err
		}
		if (f.Place+1)*b.size > len(sealed) {
			return nil, errors.New("couldn't read the box: a batch is shorter than its leaves say")
		}
		out[f.Key] = sealed[f.Place*b.size : (f.Place+1)*b.size : (f.Place+1)*b.size]
	}
	return out, nil
}

func (b *box) batch(id [16]byte) ([]byte, error) {
	if sealed, ok := b.batches[id]; ok {
		return sealed, nil
	}
	var rows [][]byte
	if err := b.db.Raw(`SELECT sealed FROM batches WHERE id = ?`, id[:]).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the box: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("couldn't read the box: a batch is missing")
	}
	if b.held+len(rows[0]) > cachedBytes {
		clear(b.batches)
		b.held = 0
	}
	b.batches[id] = rows[0]
	b.held += len(rows[0])
	return rows[0], nil
}
