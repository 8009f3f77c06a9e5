package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

// leaves knows where in its log each leaf is. It learns that from the log's public tiles, so a flood of
// made-up leaves costs the ballot server and its database nothing: each is a look into a map.
type leaves struct {
	mu   sync.Mutex
	logs map[string]*leafIndex // by poll; guarded by mu
}

// leafIndex is one log's, made when the first voter asks: some 30 MB for a million ballots.
type leafIndex struct {
	// growing lets one caller at a time read the log.
	growing sync.Mutex

	mu     sync.RWMutex
	tree   ballotlog.Tree      // guarded by mu
	places map[leafMark]uint32 // guarded by mu
}

// leafMark is the beginning of a leaf. Two ballots alike in 96 bits have one author, who made them so, and
// gets one of the two proved.
type leafMark [12]byte

const leafSize = 32

func newLeaves() *leaves { return &leaves{logs: map[string]*leafIndex{}} }

func (l *leaves) of(id string) *leafIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logs[id] == nil {
		l.logs[id] = &leafIndex{tree: ballotlog.Empty(), places: map[leafMark]uint32{}}
	}
	return l.logs[id]
}

// find returns a leaf's place in the tree, reading first what the log has grown by. errGrowing means that
// somebody else is at that, and the leaf is not in what was read before.
func (x *leafIndex) find(ctx context.Context, tiles ballotlog.Tiles, tree ballotlog.Tree, leaf [leafSize]byte) (int64, bool, error) {
	place, found, read := x.look(leaf)
	if !found && read < tree.N {
		if !x.growing.TryLock() {
			return 0, false, errGrowing
		}
		defer x.growing.Unlock()
		if err := x.grow(ctx, tiles, tree); err != nil {
			return 0, false, err
		}
		place, found, _ = x.look(leaf)
	}
	return place, found && place < tree.N, nil
}

var errGrowing = errors.New("the log is being read")

func (x *leafIndex) look(leaf [leafSize]byte) (place int64, found bool, read int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at, found := x.places[leafMark(leaf[:])]
	return int64(at), found, x.tree.N
}

// grow reads the log from the tree that was read last. The caller holds growing, so nobody else writes.
func (x *leafIndex) grow(ctx context.Context, tiles ballotlog.Tiles, tree ballotlog.Tree) error {
	if tree.N <= x.tree.N {
		return nil // somebody was quicker
	}
	if err := ballotlog.Consistent(ctx, tiles, x.tree, tree); err != nil {
		return err
	}
	fresh := map[leafMark]uint32{}
	err := ballotlog.Grown(ctx, tiles, x.tree, tree, func(path string, data []byte) error {
		t, ok := parseTile(path)
		if !ok {
			return fmt.Errorf("couldn't understand the tile %q", path)
		}
		for i := uint64(0); t.level == 0 && i < t.width; i++ {
			fresh[leafMark(data[i*leafSize:])] = uint32(t.index*256 + i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tree = tree
	maps.Copy(x.places, fresh)
	return nil
}

// boxTiles reads a log from the ballot server itself: what is read once need not be kept.
type boxTiles struct {
	reader ballotapi.Reader
	id     string
}

// Tile implements ballotlog.Tiles.
func (b boxTiles) Tile(ctx context.Context, path string) ([]byte, error) {
	data, err := b.reader.Tile(ctx, b.id, path)
	if err != nil && problem.From(err).Code == problem.NotFound {
		return nil, errors.Join(ballotlog.ErrNoTile, err)
	}
	return data, err
}

// keptTiles reads a log from memory where it can.
type keptTiles struct {
	server *Server
	id     string
}

// Tile implements ballotlog.Tiles.
func (k keptTiles) Tile(ctx context.Context, path string) ([]byte, error) {
	found, err := k.server.tile(ctx, k.id, path)
	return found.plain.body, err
}

// ProveLeaf answers with the proof that a leaf is in the log, or with a log that it is not in.
func (a api) ProveLeaf(ctx context.Context, r channelsapi.ProveLeafRequestObject) (channelsapi.ProveLeafResponseObject, error) {
	leaf, err := base64.StdEncoding.Strict().DecodeString(r.Body.Leaf)
	if err != nil || len(leaf) != leafSize {
		return nil, problem.New(problem.InvalidField).At("/leaf").Because("A leaf is 32 bytes in base64.")
	}
	p, err := a.polls.get(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Download, ratelimit.Subject{Client: client(c), Poll: r.Poll}); err != nil {
		return nil, err
	}
	note, err := a.checkpoint(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	trust := ballotlog.Trust{Poll: r.Poll, LogKey: p.manifest.LogKey}
	key, err := trust.Verifier()
	if err != nil {
		return nil, err
	}
	checkpoint, err := ballotlog.Open(note.plain.body, key)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the checkpoint of poll %s: %w", r.Poll, err)
	}
	proof, err := a.prove(ctx, r.Poll, checkpoint, [leafSize]byte(leaf))
	if err != nil {
		return nil, err
	}
	return channelsapi.ProveLeaf200JSONResponse(*proof), nil
}

func (s *Server) prove(ctx context.Context, id string, checkpoint *ballotlog.Checkpoint, leaf [leafSize]byte) (*channelsapi.LeafProof, error) {
	// Reading the log serves everybody: it must not end with the one who happened to ask.
	index, ok, err := s.leaves.of(id).find(context.WithoutCancel(ctx), boxTiles{s.deps.Reader, id}, checkpoint.Tree, leaf)
	if err != nil {
		return nil, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't read the log of poll %s: %w", id, err)).After(soon(time.Second))
	}
	proof := &channelsapi.LeafProof{Checkpoint: string(checkpoint.Signed)}
	if !ok {
		return proof, nil
	}
	path, found, err := ballotlog.Prove(ctx, keptTiles{s, id}, checkpoint.Tree, index)
	if err != nil {
		return nil, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't prove leaf %d of poll %s: %w", index, id, err)).After(soon(time.Second))
	}
	if found != leaf {
		return proof, nil
	}
	text := make([]string, len(path))
	for i, hash := range path {
		text[i] = base64.StdEncoding.EncodeToString(hash[:])
	}
	proof.Index, proof.Path = &index, &text
	return proof, nil
}
