package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/wire"
)

// ErrNotRunning means that nothing answers in the data directory.
var ErrNotRunning = errors.New("no instance runs on this data directory")

// Client calls a running instance. Safe for concurrent use.
type Client struct {
	wire.Remote
	http *http.Client
}

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
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
	c.Send = c.send
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, m *wire.Method, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://local"+wire.Prefix+m.Name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("couldn't reach the running instance: %w", err)
	}
	return res, nil
}
