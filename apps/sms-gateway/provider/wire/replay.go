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
	known map[digest]struct{}
	order []remembered        // what is known, oldest first
	now   map[digest]struct{} // what is being dealt with
}

type digest [sha256.Size]byte

type remembered struct {
	key digest
	at  time.Time
}

// NewReplay returns one that remembers nothing yet.
func NewReplay(clock func() time.Time) *Replay {
	return &Replay{clock: clock, most: maxCalls, known: map[digest]struct{}{}, now: map[digest]struct{}{}}
}

// Standing is what there is to do for a call.
type Standing int

// The standings.
const (
	// Unseen is a call that nobody has dealt with: whoever gets this does, and says so to End.
	Unseen Standing = iota
	// Busy is one that somebody is dealing with, and may fail to.
	Busy
	// Done is one that was dealt with, not long ago.
	Done
)

// Begin says how a call stands.
func (r *Replay) Begin(key string) Standing {
	hash, at := digest(sha256.Sum256([]byte(key))), r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && at.Sub(r.order[0].at) > window {
		r.forgetOldest()
	}
	if _, known := r.known[hash]; known {
		return Done
	}
	if _, busy := r.now[hash]; busy {
		return Busy
	}
	r.now[hash] = struct{}{}
	return Unseen
}

// End says whether a call that was Unseen has been dealt with; if not, it may come again.
func (r *Replay) End(key string, dealt bool) {
	one := remembered{sha256.Sum256([]byte(key)), r.clock()}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, one.key)
	if !dealt {
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
