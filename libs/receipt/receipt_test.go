package receipt_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
)

const pollID = "hk-2014-06"

func signer(t testing.TB, name string) *signed.Signer {
	t.Helper()
	s, err := signed.NewSigner(sha256.Sum256([]byte(name)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sealed are n made-up sealed ballots, and their leaves.
func sealed(n int) (ballots [][]byte, leaves [][32]byte) {
	for i := range n {
		ballots = append(ballots, fmt.Appendf(nil, "sealed ballot %d", i))
		leaves = append(leaves, ballot.Leaf(pollID, ballots[i]))
	}
	return ballots, leaves
}

// head is RFC 6962's own recursive definition of a tree head (section 2.1), over leaf hashes.
func head(leaves [][32]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := split(n)
		l, r := head(leaves[:k]), head(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, l[:], r[:]))
	}
}

// path is its recursive definition of an audit path (section 2.1.1).
func path(i int, leaves [][32]byte) [][]byte {
	n := len(leaves)
	if n <= 1 {
		return nil
	}
	k := split(n)
	if i < k {
		h := head(leaves[k:])
		return append(path(i, leaves[:k]), h[:])
	}
	h := head(leaves[:k])
	return append(path(i-k, leaves[k:]), h[:])
}

// split is the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func TestTreesAreThoseOfRFC6962(t *testing.T) {
	for n := range 70 {
		_, leaves := sealed(n)
		tree := receipt.Tree(leaves)
		if tree.Root() != head(leaves) {
			t.Errorf("%d leaves: another root", n)
		}
		for i := range n {
			if got, want := tree.Path(i), path(i, leaves); !slices.EqualFunc(got, want, slices.Equal[[]byte]) {
				t.Errorf("leaf %d of %d: another path", i, n)
			}
		}
	}
}

func TestEveryReceiptOfEveryBatchVerifies(t *testing.T) {
	s := signer(t, "ours")
	rapid.Check(t, func(t *rapid.T) {
		ballots, leaves := sealed(rapid.IntRange(1, 1024).Draw(t, "size"))
		receipts, err := receipt.Issue(s, pollID, leaves)
		if err != nil {
			t.Fatal(err)
		}
		clear(leaves) // the caller's memory is the caller's again
		for range 20 {
			i := rapid.IntRange(0, len(ballots)-1).Draw(t, "ballot")
			// As a client has it: through JSON.
			text, err := json.Marshal(receipts[i])
			if err != nil {
				t.Fatal(err)
			}
			var r ballotapi.Receipt
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			if err := receipt.VerifyBallot(r, ballots[i], s.Key()); err != nil {
				t.Fatalf("ballot %d of %d: %v", i, len(ballots), err)
			}
			other := ballots[(i+1)%len(ballots)]
			if err := receipt.VerifyBallot(r, other, s.Key()); err == nil && len(ballots) > 1 {
				t.Fatalf("the receipt of ballot %d of %d proves another", i, len(ballots))
			}
		}
	})
}

func TestNoReceiptProvesAnythingElse(t *testing.T) {
	s := signer(t, "ours")
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(t, "size")
		_, leaves := sealed(size)
		receipts, err := receipt.Issue(s, pollID, leaves)
		if err != nil {
			t.Fatal(err)
		}
		r := receipts[rapid.IntRange(0, size-1).Draw(t, "ballot")]
		r.Leaf = slices.Clone(r.Leaf)
		r.Path = slices.Clone(r.Path)
		flip := func(b []byte) []byte {
			b = slices.Clone(b)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			return b
		}
		switch rapid.IntRange(0, 8).Draw(t, "change") {
		case 0:
			r.Poll = "hk-2014-07"
		case 1:
			r.Code = "0000 0000 0000 0000"
		case 2:
			r.Leaf = flip(r.Leaf)
			r.Code = ballot.Code([32]byte(r.Leaf))
		case 3:
			r.Leaf = r.Leaf[:31]
		case 4:
			r.Index = rapid.Int64().Filter(func(i int64) bool { return i != r.Index }).Draw(t, "index")
		case 5:
			r.Path = append(r.Path, r.Leaf)
		case 6:
			if len(r.Path) == 0 {
				return
			}
			r.Path = r.Path[:len(r.Path)-1]
		case 7:
			if len(r.Path) == 0 {
				return
			}
			i := rapid.IntRange(0, len(r.Path)-1).Draw(t, "hash")
			r.Path[i] = flip(r.Path[i])
		case 8:
			r.Path = append([][]byte{nil}, r.Path...)
		}
		if err := receipt.Verify(r, s.Key()); !errors.Is(err, receipt.ErrInvalid) {
			t.Fatalf("%+v: %v, want ErrInvalid", r, err)
		}
	})
}

func TestOnlyABatchOfTheKeyIsABatch(t *testing.T) {
	s := signer(t, "ours")
	_, leaves := sealed(3)
	receipts, err := receipt.Issue(s, pollID, leaves)
	if err != nil {
		t.Fatal(err)
	}
	r := receipts[0]
	if err := receipt.Verify(r, signer(t, "another").Key()); !errors.Is(err, receipt.ErrInvalid) {
		t.Errorf("another key: %v, want ErrInvalid", err)
	}
	root := receipt.Tree(leaves).Root()
	for name, document := range map[string]any{
		"another type":     receipt.Batch{Typ: "popvote-result", Poll: pollID, Root: root[:], Size: 3},
		"another poll":     receipt.Batch{Typ: "popvote-batch", Poll: "lunch", Root: root[:], Size: 3},
		"another size":     receipt.Batch{Typ: "popvote-batch", Poll: pollID, Root: root[:], Size: 1},
		"a negative size":  receipt.Batch{Typ: "popvote-batch", Poll: pollID, Root: root[:], Size: -3},
		"a short root":     receipt.Batch{Typ: "popvote-batch", Poll: pollID, Root: root[:31], Size: 3},
		"no batch at all":  []int{1},
		"a leaf as a root": receipt.Batch{Typ: "popvote-batch", Poll: pollID, Root: leaves[0][:], Size: 3},
	} {
		signed, err := s.Sign(document)
		if err != nil {
			t.Fatal(err)
		}
		r.Batch = signed.JWS
		if err := receipt.Verify(r, s.Key()); !errors.Is(err, receipt.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// What is signed is exactly what the API describes.
func TestTheBatchAsItIsSigned(t *testing.T) {
	s := signer(t, "ours")
	_, leaves := sealed(2)
	receipts, err := receipt.Issue(s, pollID, leaves)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(receipts[0].Batch, s.Key())
	if err != nil {
		t.Fatal(err)
	}
	root := sha256.Sum256(slices.Concat([]byte{1}, leaves[0][:], leaves[1][:]))
	want := `{"typ":"popvote-batch","poll":"hk-2014-06","root":"` + base64.StdEncoding.EncodeToString(root[:]) + `","size":2}`
	if string(payload) != want {
		t.Errorf("signed is %s, want %s", payload, want)
	}
	if hex.EncodeToString(receipts[1].Path[0]) != hex.EncodeToString(leaves[0][:]) {
		t.Error("the second leaf's path is not the first leaf")
	}
}

func BenchmarkTree(b *testing.B) {
	_, leaves := sealed(1024)
	b.ReportAllocs()
	for b.Loop() {
		tree := receipt.Tree(leaves)
		for i := range leaves {
			tree.Path(i)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/receipt")
}

func BenchmarkIssue(b *testing.B) {
	for _, size := range []int{1, 32, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := signer(b, "ours")
			_, leaves := sealed(size)
			for b.Loop() {
				if _, err := receipt.Issue(s, pollID, leaves); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/receipt")
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	s := signer(b, "ours")
	_, leaves := sealed(1024)
	receipts, err := receipt.Issue(s, pollID, leaves)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := receipt.Verify(receipts[500], s.Key()); err != nil {
			b.Fatal(err)
		}
	}
}
