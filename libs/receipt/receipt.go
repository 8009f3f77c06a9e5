// Package receipt makes and checks receipts. The ballot server hashes each batch of leaves into a
// Merkle tree and signs its root once; a receipt is one leaf's path to that root.
package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// ErrInvalid is a receipt that does not prove what it claims.
var ErrInvalid = errors.New("not a valid receipt")

// batchType keeps another document signed by the same key from being taken for a batch.
const batchType = "popvote-batch"

// Batch is what is signed once per batch.
type Batch struct {
	Typ  string `json:"typ"`
	Poll string `json:"poll"`
	// Root is the tree's head (base64 in JSON), over Size leaves.
	Root []byte `json:"root"`
	Size int64  `json:"size"`
}

// Issue signs a batch of leaves and returns their receipts, in order.
func Issue(s *signed.Signer, pollID string, leaves [][32]byte) ([]ballotapi.Receipt, error) {
	leaves = slices.Clone(leaves) // receipts point into them; the caller may fill them anew
	tree := Tree(leaves)
	root := tree.Root()
	batch, err := s.Sign(Batch{Typ: batchType, Poll: pollID, Root: root[:], Size: int64(len(leaves))})
	if err != nil {
		return nil, err
	}
	receipts := make([]ballotapi.Receipt, len(leaves))
	for i := range leaves {
		receipts[i] = ballotapi.Receipt{
			Poll:  pollID,
			Code:  ballot.Code(leaves[i]),
			Leaf:  leaves[i][:],
			Index: int64(i),
			Path:  tree.Path(i),
			Batch: batch.JWS,
		}
	}
	return receipts, nil
}

// Verify checks a receipt by the manifest's signing key: the code is the leaf's, the path leads from
// the leaf to the batch's root, and the batch is signed, for this poll. Nothing in it is taken on trust.
func Verify(r ballotapi.Receipt, key poll.JWK) error {
	payload, err := signed.Verify(r.Batch, key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var b Batch
	if err := json.Unmarshal(payload, &b); err != nil || b.Typ != batchType || len(b.Root) != 32 {
		return fmt.Errorf("%w: what is signed is not a batch", ErrInvalid)
	}
	if b.Poll != r.Poll {
		return fmt.Errorf("%w: the batch is of poll %q", ErrInvalid, b.Poll)
	}
	if len(r.Leaf) != 32 {
		return fmt.Errorf("%w: the leaf has %d bytes, want 32", ErrInvalid, len(r.Leaf))
	}
	leaf := [32]byte(r.Leaf)
	if r.Code != ballot.Code(leaf) {
		return fmt.Errorf("%w: the code is not the leaf's", ErrInvalid)
	}
	root, ok := climb(leaf, r.Index, b.Size, r.Path)
	if !ok || root != [32]byte(b.Root) {
		return fmt.Errorf("%w: the path does not lead to the batch's root", ErrInvalid)
	}
	return nil
}

// VerifyBallot checks a receipt, and that it is for this sealed ballot.
func VerifyBallot(r ballotapi.Receipt, sealed []byte, key poll.JWK) error {
	if err := Verify(r, key); err != nil {
		return err
	}
	if ballot.Leaf(r.Poll, sealed) != [32]byte(r.Leaf) {
		return fmt.Errorf("%w: it is for another ballot", ErrInvalid)
	}
	return nil
}
