// Package local lets the command line administer a running instance: ballotapi.Admin as JSON over
// HTTP on a Unix socket in the data directory. Who may open the socket (mode 0600) may read the
// database beside it, so there is no other log-in.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// Name is the socket's name in the data directory.
const Name = "popvote.sock"

// request is the arguments of every call; each uses those it needs.
type request struct {
	Poll       string           `json:"poll,omitempty"`
	Definition *poll.Definition `json:"definition,omitempty"`
	To         poll.State       `json:"to,omitempty"`
	ClosesAt   time.Time        `json:"closes_at,omitzero"`
	// Key is the tally key on its way to a count; it is never logged and never stored.
	Key    []byte           `json:"key,omitempty"`
	Path   string           `json:"path,omitempty"`
	Change ballotapi.Change `json:"change"`
}

// reply is an answer or an error.
type reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *failure        `json:"error,omitempty"`
}

// failure is an error that keeps its type across the socket.
type failure struct {
	Problem *problemFailure    `json:"problem,omitempty"`
	Refused *ballotapi.Refused `json:"refused,omitempty"`
	Text    string             `json:"text,omitempty"`
}

type problemFailure struct {
	Code       problem.Code  `json:"code"`
	Field      string        `json:"field,omitempty"`
	Detail     string        `json:"detail,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*ballotapi.Refused](err); ok {
		return &failure{Refused: r}
	}
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Code != problem.Internal {
		return &failure{Problem: &problemFailure{p.Code, p.Field, p.Detail, p.RetryAfter}}
	}
	return &failure{Text: err.Error()}
}

func (f *failure) err() error {
	switch {
	case f == nil:
		return nil
	case f.Refused != nil:
		return f.Refused
	case f.Problem != nil:
		p := problem.New(f.Problem.Code)
		p.Field, p.Detail, p.RetryAfter = f.Problem.Field, f.Problem.Detail, f.Problem.RetryAfter
		return p
	default:
		return errors.New(f.Text)
	}
}

// methods is every call but the bundle, which is a stream.
var methods = map[string]func(context.Context, ballotapi.Admin, request) (any, error){
	"polls":      func(ctx context.Context, a ballotapi.Admin, _ request) (any, error) { return a.Polls(ctx) },
	"all-polls":  func(ctx context.Context, a ballotapi.Admin, _ request) (any, error) { return a.AllPolls(ctx) },
	"manifest":   func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Manifest(ctx, r.Poll) },
	"turnout":    func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Turnout(ctx, r.Poll) },
	"result":     func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Result(ctx, r.Poll) },
	"checkpoint": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Checkpoint(ctx, r.Poll) },
	"tile": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		return a.Tile(ctx, r.Poll, r.Path)
	},
	"apply": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		if r.Definition == nil {
			return nil, fmt.Errorf("couldn't apply a poll: there is no definition")
		}
		return nil, a.Apply(ctx, *r.Definition, r.Change)
	},
	"move": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		return nil, a.Move(ctx, r.Poll, r.To, r.Change)
	},
	"extend": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		return nil, a.Extend(ctx, r.Poll, r.ClosesAt, r.Change)
	},
	"count": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		return nil, a.Count(ctx, r.Poll, r.Key, r.Change)
	},
	"counted-result": func(ctx context.Context, a ballotapi.Admin, r request) (any, error) {
		return a.CountedResult(ctx, r.Poll)
	},
	"stats":  func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Stats(ctx, r.Poll) },
	"audit":  func(ctx context.Context, a ballotapi.Admin, r request) (any, error) { return a.Audit(ctx, r.Poll) },
	"health": func(ctx context.Context, a ballotapi.Admin, _ request) (any, error) { return a.Health(ctx) },
}
