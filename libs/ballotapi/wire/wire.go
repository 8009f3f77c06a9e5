// Package wire carries ballotapi.Admin as calls over HTTP, whatever is below it: the command line's
// socket and the network interface between services are the same calls. A call is a POST of JSON; the
// answer is JSON, or the bytes themselves where bytes were asked for. Casting is not here: its hop is
// batched and binary (package overhttp).
package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// Interface is the narrowest interface that has a method.
type Interface string

// The two interfaces of calls.
const (
	Reader Interface = "reader"
	Admin  Interface = "admin"
)

// Method is one method of ballotapi.Admin.
type Method struct {
	Name string
	// Interface says whose it is: who may read is not yet who may administer.
	Interface Interface
	// Changes says that it changes something: it must not be sent twice.
	Changes bool

	// do calls it: a value is answered as JSON, []byte as it is, and a stream writes itself.
	do func(ctx context.Context, a ballotapi.Admin, in request, stream io.Writer) (any, error)
}

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
	After  int64            `json:"after,omitempty"`
	Note   ballotapi.Note   `json:"note,omitzero"`
}

// reply is an answer or an error.
type reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Failure        `json:"error,omitempty"`
}

// Methods is every method of ballotapi.Admin.
var Methods = []Method{
	{"polls", Reader, false, func(ctx context.Context, a ballotapi.Admin, _ request, _ io.Writer) (any, error) {
		return a.Polls(ctx)
	}},
	{"manifest", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Manifest(ctx, r.Poll)
	}},
	{"turnout", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Turnout(ctx, r.Poll)
	}},
	{"result", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Result(ctx, r.Poll)
	}},
	{"checkpoint", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Checkpoint(ctx, r.Poll)
	}},
	{"tile", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Tile(ctx, r.Poll, r.Path)
	}},
	{"bundle", Reader, false, func(ctx context.Context, a ballotapi.Admin, r request, stream io.Writer) (any, error) {
		return []byte(nil), a.Bundle(ctx, r.Poll, stream)
	}},
	{"all-polls", Admin, false, func(ctx context.Context, a ballotapi.Admin, _ request, _ io.Writer) (any, error) {
		return a.AllPolls(ctx)
	}},
	{"apply", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		if r.Definition == nil {
			return nil, errors.New("couldn't apply a poll: there is no definition")
		}
		return nil, a.Apply(ctx, *r.Definition, r.Change)
	}},
	{"move", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return nil, a.Move(ctx, r.Poll, r.To, r.Change)
	}},
	{"extend", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return nil, a.Extend(ctx, r.Poll, r.ClosesAt, r.Change)
	}},
	{"count", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return nil, a.Count(ctx, r.Poll, r.Key, r.Change)
	}},
	{"counted-result", Admin, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.CountedResult(ctx, r.Poll)
	}},
	{"stats", Admin, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Stats(ctx, r.Poll)
	}},
	{"audit", Admin, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Audit(ctx, r.Poll)
	}},
	{"destroy-identity-key", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return nil, a.DestroyIdentityKey(ctx, r.Poll, r.Change)
	}},
	{"operators", Admin, false, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.Operators(ctx, r.After)
	}},
	{"note-operators", Admin, true, func(ctx context.Context, a ballotapi.Admin, r request, _ io.Writer) (any, error) {
		return a.NoteOperators(ctx, r.After, r.Note)
	}},
	{"health", Admin, false, func(ctx context.Context, a ballotapi.Admin, _ request, _ io.Writer) (any, error) {
		return a.Health(ctx)
	}},
}

var methods = func() map[string]*Method {
	m := make(map[string]*Method, len(Methods))
	for i := range Methods {
		m[Methods[i].Name] = &Methods[i]
	}
	return m
}()
