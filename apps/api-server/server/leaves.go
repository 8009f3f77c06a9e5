package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/ballot"
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
	tree   ballotlog.Tree        // guarded by mu
	places map[leafMark]uint32   // guarded by mu
	twins  map[leafMark][]uint32 // guarded by mu: the places of further leaves that begin alike
}

// leafMark is the beginning of a leaf, which is what a receipt's code says.
type leafMark = [ballot.CodeSize]byte

const leafSize = 32

func newLeaves() *leaves { return &leaves{logs: map[string]*leafIndex{}} }

func (l *leaves) of(id string) *leafIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logs[id] == nil {
		l.logs[id] = &leafIndex{tree: ballotlog.Empty(), places: map[leafMark]uint32{}, twins: map[leafMark][]uint32{}}
	}
	return l.logs[id]
}

// find returns the places in the tree of the leaves that begin so: at most one, but by somebody's doing. Where
// it knows none, it first reads what the log has grown by. errGrowing means that somebody else is at that.
func (x *leafIndex) find(ctx context.Context, tiles ballotlog.Tiles, tree ballotlog.Tree, begin leafMark) ([]int64, error) {
	places, read := x.look(begin)
	if len(places) == 0 && read < tree.N {
		if !x.growing.TryLock() {
			return nil, errGrowing
		}
		defer x.growing.Unlock()
		if err := x.grow(ctx, tiles, tree); err != nil {
			return nil, err
		}
		places, _ = x.look(begin)
	}
	return slices.DeleteFunc(places, func(n int64) bool { return n >= tree.N }), nil
}

var errGrowing = errors.New("the log is being read")

func (x *leafIndex) look(begin leafMark) (places []int64, read int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if first, ok := x.places[begin]; ok {
		places = append(places, int64(first))
	}
	for _, n := range x.twins[begin] {
		places = append(places, int64(n))
	}
	return places, x.tree.N
}

// grow reads the log from the tree that was read last. The caller holds growing, so nobody else writes.
func (x *leafIndex) grow(ctx context.Context, tiles ballotlog.Tiles, tree ballotlog.Tree) error {
	if tree.N <= x.tree.N {
		return nil // somebody was quicker
	}
	if err := ballotlog.Consistent(ctx, tiles, x.tree, tree); err != nil {
		return err
	}
	fresh := map[uint32]leafMark{} // by place: a tile may come twice, or have been read when it was shorter
	err := ballotlog.Grown(ctx, tiles, x.tree, tree, func(path string, data []byte) error {
		t, ok := parseTile(path)
		if !ok {
			return fmt.Errorf("couldn't understand the tile %q", path)
		}
		for i := uint64(0); t.level == 0 && i < t.width; i++ {
			if n := t.index*256 + i; n >= uint64(x.tree.N) {
				fresh[uint32(n)] = leafMark(data[i*leafSize:])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tree = tree
	for place, mark := range fresh {
		if _, taken := x.places[mark]; taken {
			x.twins[mark] = append(x.twins[mark], place)
		} else {
			x.places[mark] = place
		}
	}
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

// wanted is the ballot that a proof is asked for: by its leaf, or by the code that says the leaf's beginning.
type wanted struct {
	begin leafMark
	leaf  *[leafSize]byte
}

func readWanted(r *channelsapi.LeafRequest) (wanted, error) {
	if (r.Leaf == nil) == (r.Code == nil) {
		return wanted{}, problem.New(problem.InvalidField).Because("Want either a leaf or a code.")
	}
	if r.Code != nil {
		begin, ok := ballot.ParseCode(*r.Code)
		if !ok {
			return wanted{}, problem.New(problem.InvalidField).At("/code").Because("A code is 16 letters and digits.")
		}
		return wanted{begin: begin}, nil
	}
	leaf, err := base64.StdEncoding.Strict().DecodeString(*r.Leaf)
	if err != nil || len(leaf) != leafSize {
		return wanted{}, problem.New(problem.InvalidField).At("/leaf").Because("A leaf is 32 bytes in base64.")
	}
	return wanted{leafMark(leaf), (*[leafSize]byte)(leaf)}, nil
}

// ProveLeaf answers with the proof that a ballot is in the log, or with a log that it is not in.
func (a api) ProveLeaf(ctx context.Context, r channelsapi.ProveLeafRequestObject) (channelsapi.ProveLeafResponseObject, error) {
	want, err := readWanted(r.Body)
	if err != nil {
		return nil, err
	}
	p, err := a.polls.get(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Download, ratelimit.Subject{Client: client(c), Poll: r.Poll}); err != nil {
		return nil, err
	}
	note, err := a.checkpoint(ctx, r.Poll, time.Second)
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
	proof, err := a.prove(ctx, r.Poll, checkpoint, want)
	if err != nil {
		return nil, err
	}
	return channelsapi.ProveLeaf200JSONResponse(*proof), nil
}

func (s *Server) prove(ctx context.Context, id string, checkpoint *ballotlog.Checkpoint, want wanted) (*channelsapi.LeafProof, error) {
	// Reading the log serves everybody: it must not end with the one who happened to ask.
	places, err := s.leaves.of(id).find(context.WithoutCancel(ctx), boxTiles{s.deps.Reader, id}, checkpoint.Tree, want.begin)
	if err != nil {
		return nil, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't read the log of poll %s: %w", id, err)).After(soon(time.Second))
	}
	if want.leaf == nil && len(places) > 1 {
		return nil, problem.New(problem.ReceiptAmbiguous)
	}
	for _, index := range places {
		path, leaf, err := ballotlog.Prove(ctx, keptTiles{s, id}, checkpoint.Tree, index)
		if err != nil {
			return nil, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't prove leaf %d of poll %s: %w", index, id, err)).After(soon(time.Second))
		}
		if want.leaf != nil && leaf != *want.leaf {
			continue
		}
		hashes := make([]string, len(path))
		for i, hash := range path {
			hashes[i] = base64.StdEncoding.EncodeToString(hash[:])
		}
		found := base64.StdEncoding.EncodeToString(leaf[:])
		return &channelsapi.LeafProof{Checkpoint: string(checkpoint.Signed), Leaf: &found, Index: &index, Path: &hashes}, nil
	}
	return &channelsapi.LeafProof{Checkpoint: string(checkpoint.Signed)}, nil
}
