// Package logtest is a ballot log for tests: a real one, signed and served over HTTP as the public API
// serves it, that can also be made to lie.
package logtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// Poll is the poll whose log New makes.
const Poll = "lunch"

// Log is a log and its server. Safe for concurrent use.
type Log struct {
	// URL is the origin of the public API; empty if the log is not served.
	URL string
	// Key verifies checkpoints; SigningKey the manifest.
	Key        string
	SigningKey poll.JWK

	t      testing.TB
	poll   string
	signer note.Signer

	mu       sync.Mutex
	hashes   []tlog.Hash
	size     int64
	manifest []byte
	// replaced are answers that are not the log's own, by path below the poll.
	replaced map[string][]byte
	asked    map[string]int
}

// New serves an empty log of Poll until the test ends.
func New(t testing.TB) *Log {
	t.Helper()
	l := Unserved(t, Poll)
	server := httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(server.Close)
	l.URL = server.URL
	return l
}

// Unserved is an empty log of a poll without a server.
func Unserved(t testing.TB, pollID string) *Log {
	t.Helper()
	l := &Log{t: t, poll: pollID, replaced: map[string][]byte{}, asked: map[string]int{}}
	l.SetKeys()
	return l
}

func (l *Log) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// SetKeys gives the log new keys, and a manifest that says so.
func (l *Log) SetKeys() {
	l.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	l.ok(err)
	l.Key, err = note.NewEd25519VerifierKey(ballotlog.Origin(l.poll), public)
	l.ok(err)
	parts := strings.SplitN(l.Key, "+", 3)
	secret := base64.StdEncoding.EncodeToString(append([]byte{1}, private.Seed()...))
	l.signer, err = note.NewSigner("PRIVATE+KEY+" + parts[0] + "+" + parts[1] + "+" + secret)
	l.ok(err)
	documents, err := signed.NewSigner(sha256.Sum256(private.Seed()))
	l.ok(err)
	l.SigningKey = documents.Key()
	manifest, err := documents.Sign(poll.Manifest{ID: l.poll, State: poll.Open, SigningKey: documents.Key(), LogKey: l.Key})
	l.ok(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manifest = fmt.Appendf(nil, `{"document":%s,"jws":%q}`, manifest.Plain, manifest.JWS)
}

// Grow appends leaves until the log has so many. Leaf n is the hash of the history's name and n.
func (l *Log) Grow(history string, size int64) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size < size {
		l.append(Leaf(history, l.size))
	}
}

// Append appends any leaf.
func (l *Log) Append(leaf tlog.Hash) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(leaf)
}

func (l *Log) append(leaf tlog.Hash) {
	l.t.Helper()
	more, err := tlog.StoredHashesForRecordHash(l.size, leaf, tlog.HashReaderFunc(l.read))
	l.ok(err)
	l.hashes = append(l.hashes, more...)
	l.size++
}

// Leaf is what Grow appends as the n-th leaf.
func Leaf(history string, n int64) tlog.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", history, n))
}

// Rewrite forgets all leaves from keep on, and appends others, of another history, until size.
func (l *Log) Rewrite(history string, keep, size int64) {
	l.t.Helper()
	l.mu.Lock()
	l.size, l.hashes = keep, l.hashes[:tlog.StoredHashIndex(0, keep)]
	l.mu.Unlock()
	l.Grow(history, size)
}

// Answer makes the log answer a path below the poll ("/log/checkpoint") with something else; nil ends that.
func (l *Log) Answer(path string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replaced[path] = data
	if data == nil {
		delete(l.replaced, path)
	}
}

// Asked returns how often each path below the poll was asked for since it was called last.
func (l *Log) Asked() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := maps.Clone(l.asked)
	clear(l.asked)
	return asked
}

// Tree is the log's tree.
func (l *Log) Tree() tlog.Tree {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree()
}

func (l *Log) tree() tlog.Tree {
	l.t.Helper()
	hash, err := tlog.TreeHash(l.size, tlog.HashReaderFunc(l.read))
	l.ok(err)
	return tlog.Tree{N: l.size, Hash: hash}
}

// Checkpoint is the log's signed head.
func (l *Log) Checkpoint() []byte {
	l.t.Helper()
	return l.Sign(ballotlog.Text(ballotlog.Origin(l.poll), l.Tree()))
}

// Sign signs a text by the log's key.
func (l *Log) Sign(text string) []byte {
	l.t.Helper()
	data, err := note.Sign(&note.Note{Text: text}, l.signer)
	l.ok(err)
	return data
}

// Tile is a tile of the log; nil if there is none.
func (l *Log) Tile(path string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := tlog.ParseTilePath("tile/8/" + path)
	if err != nil || t.N<<8+int64(t.W) > l.size>>(8*t.L) {
		return nil
	}
	data, err := tlog.ReadTileData(t, tlog.HashReaderFunc(l.read))
	l.ok(err)
	return data
}

func (l *Log) read(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		if n >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("there is no hash %d", n)
		}
		out[i] = l.hashes[n]
	}
	return out, nil
}

func (l *Log) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/polls/"+l.poll)
	if !ok {
		http.NotFound(w, r)
		return
	}
	l.mu.Lock()
	l.asked[path]++
	data, lie := l.replaced[path]
	manifest := l.manifest
	l.mu.Unlock()
	tile, isTile := strings.CutPrefix(path, "/log/tile/")
	switch {
	case lie:
	case path == "":
		data = manifest
	case path == "/log/checkpoint":
		data = l.Checkpoint()
	case isTile:
		data = l.Tile(tile)
	}
	if data == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data) // a client that went away
}
