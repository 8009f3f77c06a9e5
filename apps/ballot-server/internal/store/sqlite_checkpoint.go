package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	// foldPages is how much longer the log of writes gets before more of it is folded into the database
	// (32 MiB).
	foldPages = 8000
	// emptyPages is how long it may get while votes keep coming (256 MiB). Beginning it anew takes a moment
	// in which nothing is recorded, some tens of milliseconds on a busy disk: under load that is left to
	// every ten seconds, and otherwise to a quiet moment.
	emptyPages = 64_000
	// restPages are few enough to be folded in that moment (400 KiB).
	restPages = 100
	// quiet is how long nothing is recorded before the log is emptied.
	quiet = time.Second
)

// watchLog has the writing connection say, after each commit, how long the log of writes is. It takes
// the place of SQLite's own checkpoints, which run inside a commit: every so many batches all voters of
// one would wait for thousands of scattered writes.
func (s *sqlite) watchLog(c *sqlite3.Conn) {
	c.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		s.logPages.Store(int64(pages))
		if int64(pages) >= s.foldedPages.Load()+foldPages {
			select {
			case s.fold <- struct{}{}:
			default: // it is being folded
			}
		}
		return nil
	})
}

// folder folds the log of writes whenever it has got long, beside the committer, and empties it when
// nothing is recorded: its order is the order in which ballots came in.
func (s *sqlite) folder(log *slog.Logger) {
	defer close(s.folded)
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	var seen int64
	for {
		fold := s.foldLog
		select {
		case <-s.fold:
		case <-tick.C:
			pages := s.logPages.Load()
			still := pages == seen
			seen = pages
			if pages == 0 || !still {
				continue
			}
			fold = s.emptyLog
		case <-s.closing:
			return
		}
		if err := fold(); err != nil && log != nil {
			// Votes are safe in the log, which only grows until this succeeds.
			log.LogAttrs(context.Background(), slog.LevelWarn, "couldn't fold the log of writes", slog.String("error", err.Error()))
		}
	}
}

// foldLog copies the log's pages into the database while the committer goes on. A log is begun anew only
// when nothing of it is left to copy: once it is too long, what was written meanwhile is copied with the
// committer held.
func (s *sqlite) foldLog() error {
	for range 4 {
		done, err := s.checkpoint("PASSIVE")
		if err != nil {
			return err
		}
		s.foldedPages.Store(done)
		if s.logPages.Load()-done < restPages {
			break
		}
	}
	if s.logPages.Load() < emptyPages {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err := s.checkpoint("PASSIVE"); err != nil {
		return err
	}
	s.foldedPages.Store(0)
	return nil
}

// emptyLog folds the log whole and cuts it off, unless somebody reads from it.
func (s *sqlite) emptyLog() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	left, err := s.checkpoint("TRUNCATE")
	if err != nil || left > 0 {
		return err
	}
	s.logPages.Store(0)
	s.foldedPages.Store(0)
	return nil
}

// checkpoint copies what the mode lets it, and returns how many pages of the log are in the database by
// now; 0 if the log is empty.
func (s *sqlite) checkpoint(mode string) (done int64, err error) {
	var busy, pages int64
	row := s.folding.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint("+mode+")")
	if err := row.Scan(&busy, &pages, &done); err != nil {
		return 0, fmt.Errorf("couldn't copy the log's pages: %w", err)
	}
	return done, nil
}

// truncate folds the log of writes into the database and empties it: its order is the order in which
// ballots came in.
func (s *sqlite) truncate(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.write.WithContext(ctx).Exec("PRAGMA wal_checkpoint(TRUNCATE)").Error; err != nil {
		return fmt.Errorf("couldn't empty the log of writes: %w", err)
	}
	return nil
}
