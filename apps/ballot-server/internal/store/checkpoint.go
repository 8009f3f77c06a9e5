package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ncruces/go-sqlite3"
)

const (
	// foldPages is how long the log of writes gets before it is folded into the database (16 MiB).
	foldPages = 4000
	// restPages are few enough to be folded while the committer waits (2 MiB).
	restPages = 500
)

// watchLog has the writing connection say, after each commit, how long the log of writes is. It takes
// the place of SQLite's own checkpoints, which run inside a commit: every so many batches all voters of
// one would wait for thousands of scattered writes.
func (s *Store) watchLog(c *sqlite3.Conn) {
	c.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		s.logPages.Store(int64(pages))
		if pages >= foldPages {
			select {
			case s.fold <- struct{}{}:
			default: // it is being folded
			}
		}
		return nil
	})
}

// folder folds the log of writes whenever it has got long, beside the committer.
func (s *Store) folder(log *slog.Logger) {
	defer close(s.folded)
	for {
		select {
		case <-s.fold:
		case <-s.closing:
			return
		}
		if err := s.foldLog(); err != nil && log != nil {
			// Votes are safe in the log, which only grows until this succeeds.
			log.LogAttrs(context.Background(), slog.LevelWarn, "couldn't fold the log of writes", slog.String("error", err.Error()))
		}
	}
}

// foldLog copies the log's pages into the database, the bulk while the committer goes on. What was
// written meanwhile comes last, with the committer held: a log is begun anew only when nothing of it is
// left to copy.
func (s *Store) foldLog() error {
	for range 4 {
		done, err := s.checkpoint()
		if err != nil {
			return err
		}
		if s.logPages.Load()-done < restPages {
			break
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.checkpoint()
	return err
}

// checkpoint copies what it can without waiting for anybody, and returns how many pages of the log are
// in the database by now.
func (s *Store) checkpoint() (done int64, err error) {
	var busy, pages int64
	row := s.folding.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
	if err := row.Scan(&busy, &pages, &done); err != nil {
		return 0, fmt.Errorf("couldn't copy the log's pages: %w", err)
	}
	return done, nil
}
