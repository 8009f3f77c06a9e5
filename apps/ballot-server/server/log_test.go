package server

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// head reads the checkpoint the way a stranger does: by the manifest's key alone.
func (b *box) head() (size int64, root tlog.Hash) {
	b.t.Helper()
	text, err := b.Checkpoint(b.t.Context(), "lunch")
	b.ok(err)
	verifier, err := note.NewVerifier(b.manifest().LogKey)
	b.ok(err)
	n, err := note.Open(text, note.VerifierList(verifier))
	b.ok(err)
	lines := strings.Split(n.Text, "\n")
	if lines[0] != "popvote/lunch" || len(lines) != 4 {
		b.t.Fatalf("the checkpoint is %q", n.Text)
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	b.ok(err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	b.ok(err)
	copy(root[:], raw)
	return size, root
}

// tiles reads hashes through the public tiles.
type tiles struct{ b *box }

func (r tiles) Height() int                     { return 8 }
func (r tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tiles) ReadTiles(ts []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range ts {
		data, err := r.b.Tile(r.b.t.Context(), "lunch", strings.TrimPrefix(t.Path(), "tile/8/"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path(), err)
		}
		out = append(out, data)
	}
	return out, nil
}

func (b *box) castMany(from, n int) (leaves map[[32]byte]bool) {
	b.t.Helper()
	leaves = map[[32]byte]bool{}
	var many []ballotapi.Ballot
	for i := range n {
		sealed := b.junk()
		leaves[ballot.Leaf("lunch", sealed)] = true
		many = append(many, cast(from+i, "k", sealed))
	}
	b.expectAll(b.cast(many...), "")
	return leaves
}

// TestLogGrowsInEpochs: nothing is in the log before 64 ballots wait; each epoch is sorted by leaf; each
// tree contains the one before it; and another program's tile reader can prove both.
func TestLogGrowsInEpochs(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	if size, root := b.head(); size != 0 || root != must(tlog.TreeHash(0, nil)) {
		t.Fatalf("a new log has %d leaves and root %v", size, root)
	}
	cast := b.castMany(0, epochMin-1)
	b.ok(b.Tick(t.Context()))
	if size, _ := b.head(); size != 0 {
		t.Fatalf("%d ballots made an epoch of %d", epochMin-1, size)
	}
	var oldSize int64
	var oldRoot tlog.Hash
	who := epochMin - 1
	for _, n := range []int{1, 700, 64, 3} {
		for leaf := range b.castMany(who, n) {
			cast[leaf] = true
		}
		who += n
		b.ok(b.Tick(t.Context()))
		if n == 3 {
			if size, _ := b.head(); size != oldSize {
				t.Fatalf("three ballots made an epoch")
			}
			b.move(poll.Closed)
		}
		size, root := b.head()
		if size != int64(who) {
			t.Fatalf("the log has %d leaves, want %d", size, who)
		}
		reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{b})
		if oldSize > 0 {
			proof, err := tlog.ProveTree(size, oldSize, reader)
			b.ok(err)
			b.ok(tlog.CheckTree(proof, size, root, oldSize, oldRoot))
		}
		var last tlog.Hash
		for i := oldSize; i < size; i++ {
			leaf := must(reader.ReadHashes([]int64{tlog.StoredHashIndex(0, i)}))[0]
			if !cast[leaf] {
				t.Fatalf("leaf %d is nobody's", i)
			}
			delete(cast, leaf)
			if i > oldSize && bytes.Compare(last[:], leaf[:]) >= 0 {
				t.Fatalf("leaf %d is out of the epoch's order", i)
			}
			last = leaf
		}
		oldSize, oldRoot = size, root
	}
	if len(cast) > 0 {
		t.Errorf("%d ballots are not in the log", len(cast))
	}
	for _, path := range []string{"0/001/000", "0/004", "0/003.p/200", "1/001", "9/000", "0/0", "data/000", "", "../x", "0/-01", "0/000.p/0", "0/000.p/256"} {
		if _, err := b.Tile(t.Context(), "lunch", path); problem.From(err).Code != problem.NotFound {
			t.Errorf("tile %q: %v", path, err)
		}
	}
	partial, err := b.Tile(t.Context(), "lunch", "0/000.p/5")
	b.ok(err)
	whole, err := b.Tile(t.Context(), "lunch", "0/000")
	b.ok(err)
	if len(whole) != 256*32 || !bytes.Equal(partial, whole[:5*32]) {
		t.Error("a partial tile is not the whole one's beginning")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
