package votecheck

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/tally"
)

// Reading is the end of a poll as one source tells it.
type Reading struct {
	Source  string
	Ballots int64
	// Leaves are the ballots' leaf hashes, where the source lists them; Result the result, where it has one.
	Leaves []leaf
	Result *tally.Result
}

// checkReadings holds every source against the bundle.
func (r *Report) checkReadings(f Final) {
	leaves := leavesOf(f)
	for _, reading := range f.Readings {
		if got, want := reading.Ballots, int64(len(f.Sealed)); got != want {
			r.add(Disagree, "", "%s says %d ballots, the bundle holds %d", reading.Source, got, want)
		}
		if reading.Leaves != nil && !equalLeaves(reading.Leaves, leaves) {
			r.add(Disagree, "", "%s lists other ballots than the bundle", reading.Source)
		}
		if reading.Result != nil && !reflect.DeepEqual(*reading.Result, f.Result) {
			r.add(Disagree, "", "%s has another result than the bundle", reading.Source)
		}
	}
}

func leavesOf(f Final) []leaf {
	leaves := make([]leaf, len(f.Sealed))
	for i, sealed := range f.Sealed {
		leaves[i] = ballot.Leaf(f.Manifest.ID, sealed)
	}
	return leaves
}

// equalLeaves tells whether two sets of leaves are the same.
func equalLeaves(a, b []leaf) bool {
	order := func(x, y leaf) int { return bytes.Compare(x[:], y[:]) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}

// head is what a checkpoint says.
type head struct {
	size int64
	root tlog.Hash
}

// parseCheckpoint reads a checkpoint and, unless the key is empty, checks who signed it.
func parseCheckpoint(text, key string) (h head, err error) {
	body, _, _ := strings.Cut(text, "\n\n")
	body += "\n"
	if key != "" {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return h, fmt.Errorf("couldn't read the log's key: %w", err)
		}
		n, err := note.Open([]byte(text), note.VerifierList(verifier))
		if err != nil {
			return h, fmt.Errorf("couldn't open the checkpoint: %w", err)
		}
		body = n.Text
	}
	lines := strings.Split(body, "\n")
	if len(lines) < 3 {
		return h, errors.New("a checkpoint has three lines")
	}
	if h.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return h, fmt.Errorf("couldn't read the checkpoint's size: %w", err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(h.root) {
		return h, errors.New("a checkpoint's root is 32 bytes of base64")
	}
	copy(h.root[:], root)
	return h, nil
}

// checkSnapshots wants every checkpoint that was ever read to be a beginning of the published log, and no
// source to tell an older one after a newer.
func (r *Report) checkSnapshots(events []Event, f Final) {
	last := map[string]int64{}
	roots := rootsOf(leavesOf(f))
	for _, e := range events {
		if e.Type != Snapshot {
			continue
		}
		r.Snapshots++
		h, err := parseCheckpoint(e.Checkpoint, f.Manifest.LogKey)
		switch {
		case err != nil:
			r.add(Rewritten, "", "a checkpoint is not the log's: %v", err)
			continue
		case h.size < last[e.Source]:
			r.add(Rewritten, "", "the log had %d ballots, and then %d", last[e.Source], h.size)
		case h.size > int64(len(f.Sealed)):
			r.add(Rewritten, "", "the log had %d ballots, and at the end %d", h.size, len(f.Sealed))
		default:
			if root, err := roots(h.size); err != nil || root != h.root {
				r.add(Rewritten, "", "the first %d ballots of the log are others than they were", h.size)
			}
		}
		last[e.Source] = max(last[e.Source], h.size)
	}
}

// rootsOf computes the Merkle root of the first leaves, of any number.
func rootsOf(leaves []leaf) func(size int64) (tlog.Hash, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = stored[index]
		}
		return out, nil
	})
	var broken error
	for n, l := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(int64(n), l, reader)
		broken = errors.Join(broken, err)
		stored = append(stored, hashes...)
	}
	return func(size int64) (tlog.Hash, error) {
		if broken != nil {
			return tlog.Hash{}, broken
		}
		return tlog.TreeHash(size, reader)
	}
}

// Public reads a poll's public pages.
type Public struct {
	Client *http.Client
	// Origin is where they are, Poll the poll's id.
	Origin, Poll string
}

// Readings reads the result, the turnout and the ballot log.
func (p Public) Readings(ctx context.Context) ([]Reading, error) {
	var result tally.Result
	if err := p.signed(ctx, "results", &result); err != nil {
		return nil, err
	}
	var turnout struct {
		Total int64 `json:"total"`
	}
	if err := p.signed(ctx, "turnout", &turnout); err != nil {
		return nil, err
	}
	leaves, err := p.log(ctx)
	if err != nil {
		return nil, err
	}
	return []Reading{
		{Source: "the published result", Ballots: result.Ballots, Result: &result},
		{Source: "the turnout", Ballots: turnout.Total},
		{Source: "the public log", Ballots: int64(len(leaves)), Leaves: leaves},
	}, nil
}

// Checkpoint reads the log's newest checkpoint.
func (p Public) Checkpoint(ctx context.Context) (string, error) {
	text, err := p.get(ctx, "log/checkpoint")
	return string(text), err
}

// Tile reads a tile of the log, by its path as in C2SP tlog-tiles, without the leading "tile/".
func (p Public) Tile(ctx context.Context, path string) ([]byte, error) {
	return p.get(ctx, "log/tile/"+path)
}

// log reads all leaves.
func (p Public) log(ctx context.Context) ([]leaf, error) {
	text, err := p.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	h, err := parseCheckpoint(text, "")
	if err != nil {
		return nil, err
	}
	const whole = 1 << 8
	leaves := make([]leaf, 0, h.size)
	for n := int64(0); n*whole < h.size; n++ {
		tile := tlog.Tile{H: 8, N: n, W: int(min(whole, h.size-n*whole))}
		data, err := p.Tile(ctx, strings.TrimPrefix(tile.Path(), "tile/8/"))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes, and should have %d", tile.Path(), len(data), tile.W*tlog.HashSize)
		}
		for hash := range slices.Chunk(data, tlog.HashSize) {
			leaves = append(leaves, leaf(hash))
		}
	}
	return leaves, nil
}

func (p Public) signed(ctx context.Context, page string, into any) error {
	content, err := p.get(ctx, page)
	if err != nil {
		return err
	}
	return payloadOf(content, page, into)
}

func (p Public) get(ctx context.Context, page string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Origin+"/v1/polls/"+p.Poll+"/"+page, nil)
	if err != nil {
		return nil, err
	}
	res, err := p.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", page, err)
	}
	defer func() { _ = res.Body.Close() }() // only read
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", page, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("couldn't read %s: %s", page, res.Status)
	}
	return content, nil
}

// payloadOf reads what a signed document's JWS carries.
func payloadOf(content []byte, name string, into any) error {
	var document struct {
		JWS string `json:"jws"`
	}
	if err := json.Unmarshal(content, &document); err != nil {
		return fmt.Errorf("couldn't read %s: %w", name, err)
	}
	parts := strings.Split(document.JWS, ".")
	if len(parts) != 3 {
		return fmt.Errorf("couldn't read %s: its JWS has %d parts", name, len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return fmt.Errorf("couldn't read %s: %w", name, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("couldn't read %s: %w", name, err)
	}
	return nil
}
