package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ballotserver "github.com/popvote/popvote/apps/ballot-server/server"
	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/keyring"
)

// box is the ballot server and its keys, opened on a data directory.
type box struct {
	*ballotserver.Server
	keys *keyring.File
}

type boxDeps struct {
	log     *slog.Logger
	metrics prometheus.Registerer
}

// openBox opens the keys and the ballot server of a directory that this process holds.
func openBox(ctx context.Context, dir *datadir.Dir, deps boxDeps) (*box, error) {
	if deps.metrics == nil {
		deps.metrics = prometheus.NewRegistry()
	}
	keys, err := keyring.OpenFile(filepath.Join(dir.Path, "keys.json"), time.Now)
	if err != nil {
		return nil, exit.With(exit.BadData, err)
	}
	server, err := ballotserver.Open(ctx, ballotserver.Config{Dir: dir.Path}, ballotserver.Deps{
		Secrets: keys,
		Clock:   time.Now,
		Log:     deps.log,
		Metrics: deps.metrics,
	})
	switch {
	case err == nil:
		return &box{server, keys}, nil
	case errors.Is(err, ballotserver.ErrNewer):
		return nil, exit.With(exit.Newer, err)
	case errors.Is(err, ballotserver.ErrInUse):
		return nil, exit.With(exit.InUse, err)
	default:
		return nil, exit.With(exit.BadData, err)
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
