package ballotlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxManifest is the most a signed manifest may have, bytes.
	maxManifest = 1 << 20
	// tries and patience bound how often and how long a busy server is waited for.
	tries    = 5
	patience = 60 * time.Second
)

// ErrNoLog means that nothing of the log was found at an address.
var ErrNoLog = errors.New("there is no such log")

// Site reads a poll's log over HTTP: from the public API, or from a directory that some web server shows.
// Safe for concurrent use.
type Site struct {
	manifest, checkpoint, tiles string
	client                      *http.Client
}

// API reads from the Public Channels API of an origin ("https://vote.example.hk").
func API(origin, pollID string, client *http.Client) (*Site, error) {
	base, err := baseOf(origin)
	if err != nil {
		return nil, err
	}
	base += "/v1/polls/" + url.PathEscape(pollID)
	return &Site{base, base + "/log/checkpoint", base + "/log/tile/", client}, nil
}

// Static reads what Mirror wrote, from the address of its directory.
func Static(prefix string, client *http.Client) (*Site, error) {
	base, err := baseOf(prefix)
	if err != nil {
		return nil, err
	}
	return &Site{base + "/manifest.json", base + "/checkpoint", base + "/tile/", client}, nil
}

func baseOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not an address such as https://vote.example.hk", address)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Manifest reads the signed manifest. Nothing about it is checked.
func (s *Site) Manifest(ctx context.Context) ([]byte, error) {
	data, err := s.get(ctx, s.manifest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	return data, nil
}

// Checkpoint implements Source. Caches on the way are asked to look again.
func (s *Site) Checkpoint(ctx context.Context) ([]byte, error) {
	data, err := s.get(ctx, s.checkpoint, maxNote)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the checkpoint: %w", err)
	}
	return data, nil
}

// Tile implements Tiles.
func (s *Site) Tile(ctx context.Context, path string) ([]byte, error) {
	data, err := s.get(ctx, s.tiles+path, tileWidth*32)
	if errors.Is(err, ErrNoLog) {
		return nil, ErrNoTile
	}
	return data, err
}

// get reads an address. A server that is busy, or says that we ask too much, is asked again when it says.
func (s *Site) get(ctx context.Context, address string, most int64) ([]byte, error) {
	for n := 1; ; n++ {
		data, wait, err := s.getOnce(ctx, address, most)
		if err == nil || wait == 0 || n == tries {
			return data, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// getOnce also says how long to wait before it is worth asking again; 0 if it is not.
func (s *Site) getOnce(ctx context.Context, address string, most int64) (_ []byte, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	if address == s.checkpoint {
		req.Header.Set("Cache-Control", "no-cache")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, 0, ErrNoLog
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return nil, waitOf(res.Header), fmt.Errorf("the server answered %s", res.Status)
	default:
		return nil, 0, fmt.Errorf("the server answered %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(data)) > most {
		return nil, 0, fmt.Errorf("the answer has more than %d bytes", most)
	}
	return data, 0, nil
}

func waitOf(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 1 {
		return time.Second
	}
	return min(time.Duration(seconds)*time.Second, patience)
}
