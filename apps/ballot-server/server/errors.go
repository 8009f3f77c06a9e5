package server

import "github.com/popvote/popvote/apps/ballot-server/internal/store"

// Why Open refused a data directory, for exit codes.
var (
	ErrInUse = store.ErrInUse
	ErrNewer = store.ErrNewer
)
