package store

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"golang.org/x/mod/sumdb/tlog"
	"gorm.io/gorm"
)

// withEpochs is the schema's version since which epochs are noted.
const withEpochs = 2

// Place finds a leaf in a poll's log: its index. It is not found while its batch waits for the log, or if
// it is not in the box.
func (s *Store) Place(ctx context.Context, no int64, leaf [32]byte) (index int64, found bool, err error) {
	db := s.read.WithContext(ctx)
	var logged int64
	err = db.Raw(`SELECT count(*) FROM leaves l WHERE l.poll = ? AND l.leaf = ?
		AND NOT EXISTS (SELECT 1 FROM unlogged u WHERE u.poll = l.poll AND u.batch = l.batch)`, no, leaf[:]).Scan(&logged).Error
	if err != nil {
		return 0, false, fmt.Errorf("couldn't look for a ballot in the box: %w", err)
	}
	if logged == 0 {
		return 0, false, nil
	}
	log := newLog(db, no)
	if s.engine.schema() >= withEpochs {
		e, noted, err := epochOf(db, no, leaf)
		if err != nil {
			return 0, false, err
		}
		if noted {
			return e.search(log, leaf)
		}
	}
	return s.placeBefore(db, log, no, leaf)
}

// epoch is a part of the log: its leaves are sorted.
type epoch struct{ First, Size int64 }

func epochOf(db *gorm.DB, no int64, leaf [32]byte) (e epoch, noted bool, err error) {
	var rows []epoch
	err = db.Raw(`SELECT e.first, e.size FROM leaves l JOIN epochs e ON e.poll = l.poll AND e.batch = l.batch
		WHERE l.poll = ? AND l.leaf = ?`, no, leaf[:]).Scan(&rows).Error
	if err != nil {
		return epoch{}, false, fmt.Errorf("couldn't look for a ballot in the log: %w", err)
	}
	if len(rows) == 0 {
		return epoch{}, false, nil
	}
	return rows[0], true, nil
}

// search finds a leaf in an epoch.
func (e epoch) search(log *Log, leaf [32]byte) (index int64, found bool, err error) {
	n := e.First + int64(sort.Search(int(e.Size), func(i int) bool {
		at, readErr := log.leaf(e.First + int64(i))
		if readErr != nil {
			err = readErr
			return true
		}
		return bytes.Compare(at[:], leaf[:]) >= 0
	}))
	if err != nil || n == e.First+e.Size {
		return 0, false, err
	}
	at, err := log.leaf(n)
	return n, err == nil && at == leaf, err
}

// placeBefore looks through those parts of the log that were written before epochs were noted.
func (s *Store) placeBefore(db *gorm.DB, log *Log, no int64, leaf [32]byte) (index int64, found bool, err error) {
	var size int64
	if err := db.Raw(`SELECT log_size FROM polls WHERE no = ?`, no).Scan(&size).Error; err != nil {
		return 0, false, fmt.Errorf("couldn't read the poll: %w", err)
	}
	var noted []epoch
	if s.engine.schema() >= withEpochs {
		err := db.Raw(`SELECT DISTINCT first, size FROM epochs WHERE poll = ? ORDER BY first`, no).Scan(&noted).Error
		if err != nil {
			return 0, false, fmt.Errorf("couldn't read the log's epochs: %w", err)
		}
	}
	from := int64(0)
	for _, e := range append(noted, epoch{First: size}) {
		for n := from; n < e.First; n++ {
			if n%chunkHashes == 0 {
				clear(log.chunks) // each is needed once
			}
			at, err := log.leaf(n)
			if err != nil {
				return 0, false, err
			}
			if at == leaf {
				return n, true, nil
			}
		}
		from = e.First + e.Size
	}
	return 0, false, nil
}

// leaf reads one leaf.
func (l *Log) leaf(n int64) (tlog.Hash, error) {
	hashes, err := l.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return hashes[0], nil
}
