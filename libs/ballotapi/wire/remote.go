package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// ErrForbidden is a call that the other side does not let us make.
var ErrForbidden = errors.New("this service may not call that")

// Remote implements ballotapi.Admin by calls. Safe for concurrent use if Send is.
type Remote struct {
	// Send posts a call's body to Prefix + the method's name, and returns whatever came back. The body
	// is the caller's to keep.
	Send func(ctx context.Context, m *Method, body []byte) (*http.Response, error)
}

var _ ballotapi.Admin = (*Remote)(nil)

// call sends a call and hands its answer to take: as bytes if that was sent, else the JSON of the result.
func (r *Remote) call(ctx context.Context, name string, in request, take func(raw io.Reader, result json.RawMessage) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("couldn't encode the call: %w", err)
	}
	if in.Key != nil {
		defer clear(body)
	}
	response, err := r.Send(ctx, methods[name], body)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("couldn't call %s: %w", name, ErrForbidden)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("couldn't call %s: the other side answers %s: it may be of another version", name, response.Status)
	case response.Header.Get("Content-Type") == bytesType:
		return take(response.Body, nil)
	}
	var out reply
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		return fmt.Errorf("couldn't read the answer to %s: %w", name, err)
	}
	if err := out.Error.Err(); err != nil {
		return err
	}
	return take(bytes.NewReader(nil), out.Result)
}

func get[T any](ctx context.Context, r *Remote, name string, in request) (out T, err error) {
	err = r.call(ctx, name, in, func(_ io.Reader, result json.RawMessage) error {
		if err := json.Unmarshal(result, &out); err != nil {
			return fmt.Errorf("couldn't read the answer to %s: %w", name, err)
		}
		return nil
	})
	return out, err
}

func (r *Remote) raw(ctx context.Context, name string, in request) (out []byte, err error) {
	err = r.call(ctx, name, in, func(raw io.Reader, _ json.RawMessage) error {
		if out, err = io.ReadAll(raw); err != nil {
			return fmt.Errorf("couldn't read the answer to %s: %w", name, err)
		}
		return nil
	})
	return out, err
}

func (r *Remote) change(ctx context.Context, name string, in request) error {
	return r.call(ctx, name, in, func(io.Reader, json.RawMessage) error { return nil })
}

// Polls implements ballotapi.Reader.
func (r *Remote) Polls(ctx context.Context) ([]poll.Summary, error) {
	return get[[]poll.Summary](ctx, r, "polls", request{})
}

// Manifest implements ballotapi.Reader.
func (r *Remote) Manifest(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, r, "manifest", request{Poll: id})
}

// Turnout implements ballotapi.Reader.
func (r *Remote) Turnout(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, r, "turnout", request{Poll: id})
}

// Result implements ballotapi.Reader.
func (r *Remote) Result(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, r, "result", request{Poll: id})
}

// Checkpoint implements ballotapi.Reader.
func (r *Remote) Checkpoint(ctx context.Context, id string) ([]byte, error) {
	return r.raw(ctx, "checkpoint", request{Poll: id})
}

// Tile implements ballotapi.Reader.
func (r *Remote) Tile(ctx context.Context, id, path string) ([]byte, error) {
	return r.raw(ctx, "tile", request{Poll: id, Path: path})
}

// Bundle implements ballotapi.Reader. It is written as it comes; a stream that broke off is an error.
func (r *Remote) Bundle(ctx context.Context, id string, w io.Writer) error {
	return r.call(ctx, "bundle", request{Poll: id}, func(raw io.Reader, _ json.RawMessage) error {
		if _, err := io.Copy(w, raw); err != nil {
			return fmt.Errorf("couldn't copy the bundle: %w", err)
		}
		return nil
	})
}

// AllPolls implements ballotapi.Admin.
func (r *Remote) AllPolls(ctx context.Context) ([]poll.Summary, error) {
	return get[[]poll.Summary](ctx, r, "all-polls", request{})
}

// Apply implements ballotapi.Admin.
func (r *Remote) Apply(ctx context.Context, d poll.Definition, change ballotapi.Change) error {
	return r.change(ctx, "apply", request{Definition: &d, Change: change})
}

// Move implements ballotapi.Admin.
func (r *Remote) Move(ctx context.Context, id string, to poll.State, change ballotapi.Change) error {
	return r.change(ctx, "move", request{Poll: id, To: to, Change: change})
}

// Extend implements ballotapi.Admin.
func (r *Remote) Extend(ctx context.Context, id string, closesAt time.Time, change ballotapi.Change) error {
	return r.change(ctx, "extend", request{Poll: id, ClosesAt: closesAt, Change: change})
}

// Count implements ballotapi.Admin.
func (r *Remote) Count(ctx context.Context, id string, tallyKey []byte, change ballotapi.Change) error {
	return r.change(ctx, "count", request{Poll: id, Key: tallyKey, Change: change})
}

// CountedResult implements ballotapi.Admin.
func (r *Remote) CountedResult(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, r, "counted-result", request{Poll: id})
}

// Stats implements ballotapi.Admin.
func (r *Remote) Stats(ctx context.Context, id string) (ballotapi.Stats, error) {
	return get[ballotapi.Stats](ctx, r, "stats", request{Poll: id})
}

// Audit implements ballotapi.Admin.
func (r *Remote) Audit(ctx context.Context, id string) ([]ballotapi.AuditEntry, error) {
	return get[[]ballotapi.AuditEntry](ctx, r, "audit", request{Poll: id})
}

// DestroyIdentityKey implements ballotapi.Admin.
func (r *Remote) DestroyIdentityKey(ctx context.Context, id string, change ballotapi.Change) error {
	return r.change(ctx, "destroy-identity-key", request{Poll: id, Change: change})
}

// Operators implements ballotapi.Admin.
func (r *Remote) Operators(ctx context.Context, after int64) ([]ballotapi.AuditEntry, error) {
	return get[[]ballotapi.AuditEntry](ctx, r, "operators", request{After: after})
}

// NoteOperators implements ballotapi.Admin.
func (r *Remote) NoteOperators(ctx context.Context, after int64, n ballotapi.Note) (*ballotapi.AuditEntry, error) {
	return get[*ballotapi.AuditEntry](ctx, r, "note-operators", request{After: after, Note: n})
}

// Health implements ballotapi.Admin.
func (r *Remote) Health(ctx context.Context) (ballotapi.Health, error) {
	return get[ballotapi.Health](ctx, r, "health", request{})
}
