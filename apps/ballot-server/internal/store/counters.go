package store

import (
	"context"
	"fmt"
)

// Minute is the ballots of one minute and channel.
type Minute struct {
	Minute  int64 // Unix time in minutes
	Channel string
	Ballots int64
}

// Turnout reads a poll's turnout, oldest first.
func (s *Store) Turnout(ctx context.Context, no int64) ([]Minute, error) {
	var found []Minute
	err := s.read.WithContext(ctx).Raw(
		`SELECT minute, channel, CAST(sum(ballots) AS bigint) AS ballots FROM turnout WHERE poll = ?
		 GROUP BY minute, channel ORDER BY minute, channel`, no).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("couldn't read the turnout: %w", err)
	}
	return found, nil
}

// Took reads how long voting took: seconds (0: longer than all others) to ballots.
func (s *Store) Took(ctx context.Context, no int64) (map[int]int64, error) {
	var found []struct {
		UpTo    int
		Ballots int64
	}
	if err := s.read.WithContext(ctx).Raw(`SELECT up_to, CAST(sum(ballots) AS bigint) AS ballots FROM took WHERE poll = ? GROUP BY up_to`, no).Scan(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the time to vote: %w", err)
	}
	out := make(map[int]int64, len(found))
	for _, f := range found {
		out[f.UpTo] = f.Ballots
	}
	return out, nil
}

// Schema is the database's schema version.
func (s *Store) Schema() int { return s.engine.schema() }

// Engine names the database and its version.
func (s *Store) Engine(ctx context.Context) (string, error) {
	var version string
	if err := s.read.WithContext(ctx).Raw(s.d.version).Scan(&version).Error; err != nil {
		return "", fmt.Errorf("couldn't reach the database: %w", err)
	}
	return version, nil
}

// Truncate empties what keeps the order in which ballots came in: SQLite's log of writes.
func (s *Store) Truncate(ctx context.Context) error { return s.engine.truncate(ctx) }

// DiskFree is what the data directory's file system has left for us, bytes; 0 if the database is another
// machine's.
func (s *Store) DiskFree() (int64, error) { return s.engine.diskFree() }
