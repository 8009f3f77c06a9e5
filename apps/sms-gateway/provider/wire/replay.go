package wire

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// window is how long a call is remembered: those older are refused for their time stamp. A call without
	// one that comes again after it does no harm, only work: the same message finds its own record.
	window = 2*Tolerance + time.Minute
	// maxCalls bounds the memory, to some 20 MB: 200 calls a second for all of the window. Past that the
	// oldest are forgotten first.
	maxCalls = 1 << 17
)

// Replay remembers the calls that were dealt with. Safe for concurrent use.
type Replay struct {
	clock func() time.Time
	most  int

	mu    sync.Mutex // guards those below
	known map[[sha256.Size]byte]struct{}
	order []remembered // what is known, oldest first
}

type remembered struct {
	key [sha256.Size]byte
	at  time.Time
}

// NewReplay returns one that remembers nothing yet.
func NewReplay(clock func() time.Time) *Replay {
	return &Replay{clock: clock, most: maxCalls, known: map[[sha256.Size]byte]struct{}{}}
}

// Seen says whether the call was dealt with not long ago.
func (r *Replay) Seen(key string) bool {
	hash, now := sha256.Sum256([]byte(key)), r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && now.Sub(r.order[0].at) > window {
		r.forgetOldest()
	}
	_, seen := r.known[hash]
	return seen
}

// Remember notes that the call was dealt with.
func (r *Replay) Remember(key string) {
	one := remembered{sha256.Sum256([]byte(key)), r.clock()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[one.key]; known {
		return
	}
	if len(r.order) == r.most {
		r.forgetOldest()
	}
	r.known[one.key] = struct{}{}
	r.order = append(r.order, one)
}

func (r *Replay) forgetOldest() {
	delete(r.known, r.order[0].key)
	r.order = r.order[1:]
}
