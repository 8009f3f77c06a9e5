package receipt

import "crypto/sha256"

// Hashes is a Merkle tree as in RFC 6962, section 2.1: each level, leaves first, root last. Its leaves
// are hashes already.
type Hashes [][][32]byte

// Tree hashes leaves into a tree.
func Tree(leaves [][32]byte) Hashes {
	t := Hashes{leaves}
	for level := leaves; len(level) > 1; {
		above := make([][32]byte, (len(level)+1)/2)
		for i := range above {
			if l := 2 * i; l+1 < len(level) {
				above[i] = node(level[l], level[l+1])
			} else {
				// The odd one out rises as it is; this makes the same tree as the RFC's recursion.
				above[i] = level[l]
			}
		}
		t = append(t, above)
		level = above
	}
	return t
}

// Root is the tree's head; that of no leaves is the hash of nothing.
func (t Hashes) Root() [32]byte {
	if len(t[0]) == 0 {
		return sha256.Sum256(nil)
	}
	return t[len(t)-1][0]
}

// Path is a leaf's audit path (RFC 6962, section 2.1.1), leaf to root.
func (t Hashes) Path(i int) [][]byte {
	path := make([][]byte, 0, len(t)-1)
	for _, level := range t[:len(t)-1] {
		if sibling := i ^ 1; sibling < len(level) {
			path = append(path, level[sibling][:])
		}
		i /= 2
	}
	return path
}

// climb computes the root from a leaf and its path in a tree of size leaves; false if the path is not
// one of that place.
func climb(leaf [32]byte, index, size int64, path [][]byte) ([32]byte, bool) {
	if index < 0 || index >= size {
		return [32]byte{}, false
	}
	hash := leaf
	for last := size - 1; last > 0; index, last = index/2, last/2 {
		if index == last && index%2 == 0 {
			continue // the odd one out has no sibling on this level
		}
		if len(path) == 0 || len(path[0]) != 32 {
			return [32]byte{}, false
		}
		sibling := [32]byte(path[0])
		path = path[1:]
		if index%2 == 0 {
			hash = node(hash, sibling)
		} else {
			hash = node(sibling, hash)
		}
	}
	return hash, len(path) == 0
}

// node is the hash of an interior node; the 0x01 keeps it from being a leaf's (0x00).
func node(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
