package tally

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Multiset tells whether two collections hold the same things, each as often, whatever their order, in
// 32 bytes: the sum modulo 2^256 of a keyed hash of each (MSet-Add-Hash: Clarke, Devadas, van Dijk,
// Gassend and Suh, ASIACRYPT 2003). With a key that was drawn after the collections were made, nobody
// can have made two different ones that sum up alike. Not safe for concurrent use.
type Multiset struct {
	key MultisetKey
	// sum has its lowest word first.
	sum [4]uint64
	n   int64
}

// MultisetKey is what makes the hashes nobody else's.
type MultisetKey [32]byte

// NewMultisetKey draws a key. It is used for one comparison, and then forgotten.
func NewMultisetKey() (k MultisetKey) {
	_, _ = rand.Read(k[:]) // never fails: it ends the program instead
	return k
}

// NewMultiset returns an empty one. Only those of one key can be compared.
func NewMultiset(key MultisetKey) *Multiset { return &Multiset{key: key} }

// Add adds a thing once.
func (m *Multiset) Add(thing []byte) {
	// The key is the message's first half block, and the sum hides every hash: nothing can be appended
	// to a hash that is not known.
	h := sha256.New()
	h.Write(m.key[:])
	h.Write(thing)
	var digest [sha256.Size]byte
	m.add(words(h.Sum(digest[:0])))
	m.n++
}

// Merge adds all that is in another one.
func (m *Multiset) Merge(other *Multiset) {
	m.add(other.sum)
	m.n += other.n
}

// Equal reports whether the same things are in both.
func (m *Multiset) Equal(other *Multiset) bool {
	return m.key == other.key && m.n == other.n && m.sum == other.sum
}

// Len is how many things are in it.
func (m *Multiset) Len() int64 { return m.n }

func (m *Multiset) add(b [4]uint64) {
	var carry uint64
	for i := range m.sum {
		m.sum[i], carry = bits.Add64(m.sum[i], b[i], carry)
	}
}

func words(digest []byte) (w [4]uint64) {
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(digest[8*i:])
	}
	return w
}
