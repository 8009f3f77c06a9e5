package server

import (
	"context"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/service"
)

// Health implements ballotapi.Admin.
func (s *Server) Health(ctx context.Context) (ballotapi.Health, error) {
	engine, err := s.store.Engine(ctx)
	if err != nil {
		return ballotapi.Health{}, err
	}
	free, err := s.store.DiskFree()
	if err != nil {
		return ballotapi.Health{}, err
	}
	return ballotapi.Health{
		Version:    service.Version().Version,
		Database:   engine,
		Schema:     s.store.Schema(),
		Queue:      len(s.committer.queue),
		QueueMax:   cap(s.committer.queue),
		LastCommit: time.Duration(s.committer.metrics.lastCommit.Load()),
		DiskFree:   free,
	}, nil
}
