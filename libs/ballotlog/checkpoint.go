// Package ballotlog is what clients of a ballot log need: reading its checkpoint and its tiles, proving
// that one tree contains another or a leaf, and cosigning. It speaks C2SP's formats (signed-note,
// tlog-checkpoint, tlog-tiles, tlog-cosignature), so whatever speaks them too can stand at either end.
package ballotlog

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// What can be wrong with a log. All but ErrNotGenuine are the log's own doing, and worth an alarm.
var (
	// ErrNotGenuine is something that the log's key did not sign. Anybody on the way can send that.
	ErrNotGenuine = errors.New("this is not signed by the log")
	// ErrFork is a genuine checkpoint that contradicts another genuine one.
	ErrFork = errors.New("the log has two histories")
	// ErrShrunk is a genuine checkpoint of a smaller tree than one seen before.
	ErrShrunk = errors.New("the log has become smaller")
	// ErrTampered are tiles that do not make up the tree of a genuine checkpoint.
	ErrTampered = errors.New("the log's tiles are not those of its checkpoint")
)

const (
	// maxSize keeps the arithmetic of trees far from overflowing, whatever a log says its size is.
	maxSize = 1 << 40
	// maxNote is the most a checkpoint may have with all its signatures, bytes.
	maxNote = 64 << 10
)

// Tree is a log's size and root.
type Tree = tlog.Tree

// Verifier is a key that checks signatures under its name.
type Verifier = note.Verifier

// Origin is the name of a poll's log, and of the key that signs it.
func Origin(poll string) string { return "popvote/" + poll }

// Checkpoint is a log's signed head.
type Checkpoint struct {
	// Tree is the size and the root.
	Tree tlog.Tree
	// Signed is the note as it came, every signature included.
	Signed []byte
	note   *note.Note
}

// Open reads a checkpoint (C2SP tlog-checkpoint) that must be signed by the log's key, and by each of the
// others. Anything else is ErrNotGenuine.
func Open(signed []byte, log note.Verifier, others ...note.Verifier) (*Checkpoint, error) {
	if len(signed) > maxNote {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrNotGenuine, maxNote)
	}
	needed := append([]note.Verifier{log}, others...)
	n, err := note.Open(signed, note.VerifierList(needed...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotGenuine, err)
	}
	for _, v := range needed {
		if !signedBy(n, v) {
			return nil, fmt.Errorf("%w: the signature of %s is missing", ErrNotGenuine, v.Name())
		}
	}
	tree, err := parse(n.Text, log.Name())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotGenuine, err)
	}
	return &Checkpoint{Tree: tree, Signed: signed, note: n}, nil
}

func signedBy(n *note.Note, v note.Verifier) bool {
	for _, s := range n.Sigs {
		if s.Name == v.Name() && s.Hash == v.KeyHash() {
			return true
		}
	}
	return false
}

// parse reads origin, size and root; further lines are extensions, which the log signs and we do not read.
func parse(text, origin string) (tree tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return tree, errors.New("lines are missing")
	}
	if lines[0] != origin {
		return tree, fmt.Errorf("it is of another log, %q", lines[0])
	}
	tree.N, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || tree.N < 0 || tree.N > maxSize || strconv.FormatInt(tree.N, 10) != lines[1] {
		return tree, errors.New("its size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, errors.New("its root is not a hash")
	}
	tree.Hash = tlog.Hash(root)
	return tree, nil
}

// Empty is the tree of a log without a ballot.
func Empty() tlog.Tree {
	hash, err := tlog.TreeHash(0, nil)
	if err != nil {
		panic(err) // it needs no hash of any reader
	}
	return tlog.Tree{Hash: hash}
}

// Text writes a tree as a log signs it.
func Text(origin string, tree tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
}
