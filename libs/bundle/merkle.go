package bundle

import (
	"bytes"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// merkle computes the root of a log (RFC 6962 §2.1) leaf by leaf. It holds one hash per level.
type merkle struct {
	// complete are the roots of the complete subtrees, largest first.
	complete []tlog.Hash
	size     int64
}

func (m *merkle) add(leaf tlog.Hash) {
	m.size++
	h := leaf
	// Each trailing zero of the new size closes a subtree with the one beside it.
	for n := m.size; n&1 == 0; n >>= 1 {
		last := len(m.complete) - 1
		h = tlog.NodeHash(m.complete[last], h)
		m.complete = m.complete[:last]
	}
	m.complete = append(m.complete, h)
}

func (m *merkle) root() tlog.Hash {
	if m.size == 0 {
		empty, err := tlog.TreeHash(0, nil)
		if err != nil {
			panic(err) // needs no hash of any reader
		}
		return empty
	}
	h := m.complete[len(m.complete)-1]
	for _, left := range slices.Backward(m.complete[:len(m.complete)-1]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// leafMark is the beginning of a leaf. Half a SHA-256 is enough to tell leaves apart: a forger who finds
// two alike has only made his own bundle fail.
type leafMark [16]byte

// repeated returns how many leaves occur more than once. It sorts the marks.
func repeated(marks []leafMark) int {
	slices.SortFunc(marks, func(a, b leafMark) int { return bytes.Compare(a[:], b[:]) })
	n := 0
	for i := 1; i < len(marks); i++ {
		if marks[i] == marks[i-1] {
			n++
		}
	}
	return n
}
