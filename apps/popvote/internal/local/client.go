package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// ErrNotRunning means that nothing answers in the data directory.
var ErrNotRunning = errors.New("no instance runs on this data directory")

// Client calls a running instance. Safe for concurrent use.
type Client struct{ http *http.Client }

var _ ballotapi.Admin = (*Client)(nil)

// Dial finds the instance that runs on the data directory; ErrNotRunning if none does.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, Name)
	var d net.Dialer
	probe, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, ErrNotRunning
	}
	_ = probe.Close()
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) call(ctx context.Context, method string, in request, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("couldn't encode the call: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://local/call/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("couldn't reach the running instance: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("couldn't call %s: the running instance is of another version (%s)", method, res.Status)
	}
	return readReply(res.Body, out)
}

func readReply(body io.Reader, out any) error {
	var r reply
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		return fmt.Errorf("couldn't read the running instance's answer: %w", err)
	}
	if err := r.Error.err(); err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(r.Result, out); err != nil {
		return fmt.Errorf("couldn't read the running instance's answer: %w", err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, method string, in request) (T, error) {
	var out T
	err := c.call(ctx, method, in, &out)
	return out, err
}

// Polls implements ballotapi.Reader.
func (c *Client) Polls(ctx context.Context) ([]poll.Summary, error) {
	return get[[]poll.Summary](ctx, c, "polls", request{})
}

// AllPolls implements ballotapi.Admin.
func (c *Client) AllPolls(ctx context.Context) ([]poll.Summary, error) {
	return get[[]poll.Summary](ctx, c, "all-polls", request{})
}

// Manifest implements ballotapi.Reader.
func (c *Client) Manifest(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, c, "manifest", request{Poll: id})
}

// Turnout implements ballotapi.Reader.
func (c *Client) Turnout(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, c, "turnout", request{Poll: id})
}

// Result implements ballotapi.Reader.
func (c *Client) Result(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, c, "result", request{Poll: id})
}

// Checkpoint implements ballotapi.Reader.
func (c *Client) Checkpoint(ctx context.Context, id string) ([]byte, error) {
	return get[[]byte](ctx, c, "checkpoint", request{Poll: id})
}

// Tile implements ballotapi.Reader.
func (c *Client) Tile(ctx context.Context, id, path string) ([]byte, error) {
	return get[[]byte](ctx, c, "tile", request{Poll: id, Path: path})
}

// Bundle implements ballotapi.Reader.
func (c *Client) Bundle(ctx context.Context, id string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local/bundle/"+id, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("couldn't reach the running instance: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.Header.Get("Content-Type") != "application/zip" {
		return readReply(res.Body, nil)
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("couldn't copy the bundle: %w", err)
	}
	return nil
}

// Apply implements ballotapi.Admin.
func (c *Client) Apply(ctx context.Context, d poll.Definition, change ballotapi.Change) error {
	return c.call(ctx, "apply", request{Definition: &d, Change: change}, nil)
}

// Move implements ballotapi.Admin.
func (c *Client) Move(ctx context.Context, id string, to poll.State, change ballotapi.Change) error {
	return c.call(ctx, "move", request{Poll: id, To: to, Change: change}, nil)
}

// Extend implements ballotapi.Admin.
func (c *Client) Extend(ctx context.Context, id string, closesAt time.Time, change ballotapi.Change) error {
	return c.call(ctx, "extend", request{Poll: id, ClosesAt: closesAt, Change: change}, nil)
}

// Count implements ballotapi.Admin.
func (c *Client) Count(ctx context.Context, id string, tallyKey []byte, change ballotapi.Change) error {
	return c.call(ctx, "count", request{Poll: id, Key: tallyKey, Change: change}, nil)
}

// CountedResult implements ballotapi.Admin.
func (c *Client) CountedResult(ctx context.Context, id string) (signed.Document, error) {
	return get[signed.Document](ctx, c, "counted-result", request{Poll: id})
}

// Stats implements ballotapi.Admin.
func (c *Client) Stats(ctx context.Context, id string) (ballotapi.Stats, error) {
	return get[ballotapi.Stats](ctx, c, "stats", request{Poll: id})
}

// Audit implements ballotapi.Admin.
func (c *Client) Audit(ctx context.Context, id string) ([]ballotapi.AuditEntry, error) {
	return get[[]ballotapi.AuditEntry](ctx, c, "audit", request{Poll: id})
}

// Health implements ballotapi.Admin.
func (c *Client) Health(ctx context.Context) (ballotapi.Health, error) {
	return get[ballotapi.Health](ctx, c, "health", request{})
}
