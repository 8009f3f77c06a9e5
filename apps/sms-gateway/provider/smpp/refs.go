package smpp

import (
	"math/big"
	"strings"
	"sync"

	"github.com/popvote/popvote/libs/sms"
)

// maxRefs is how many sent messages' ids are kept for their receipts, newest first: an hour's at twenty a
// second. A receipt that comes later goes on under the id it names.
const maxRefs = 72_000

// refs are the ids of messages that an SMSC took. Receipts name them, some in another notation:
// submit_sm_resp has 1A2B, the receipt 0000006699. Safe for concurrent use.
type refs struct {
	mu sync.Mutex
	// guarded by mu
	sent map[string]*sentRef
	ring []*sentRef
	next int
}

type sentRef struct {
	ref string
	to  sms.Number
	// over is whether a final receipt was passed on.
	over bool
}

func newRefs(size int) *refs {
	return &refs{sent: map[string]*sentRef{}, ring: make([]*sentRef, 0, size)}
}

// add keeps the id of a message to a number.
func (r *refs) add(ref string, to sms.Number) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, nil)
	} else if old := r.ring[r.next]; r.sent[plain(old.ref)] == old { // else its id was given out again
		delete(r.sent, plain(old.ref))
	}
	s := &sentRef{ref: ref, to: to}
	r.ring[r.next], r.sent[plain(ref)] = s, s
	r.next = (r.next + 1) % cap(r.ring)
}

// find returns the id under which the message was taken, which is the receipt's own if it isn't known, and
// whether the receipt has anything new to say: after a final one, copies and what overtook it have not.
// Numbers are the receipt's, either of which may be the voter's.
func (r *refs) find(id string, final bool, numbers ...string) (ref string, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *sentRef
	// A number such as 10 may be read either way, and both may have been sent: the voter's number decides.
	for _, key := range notations(id) {
		if s := r.sent[key]; s != nil && isTo(s.to, numbers) {
			found = s
			break
		}
	}
	if found == nil {
		found = r.sent[plain(id)]
	}
	if found == nil {
		return id, true
	}
	if found.over {
		return found.ref, false
	}
	found.over = final
	return found.ref, true
}

func isTo(to sms.Number, numbers []string) bool {
	for _, n := range numbers {
		if n = strings.TrimPrefix(n, "+"); n != "" && strings.HasSuffix(to.Reveal(), n) {
			return true
		}
	}
	return false
}

// plain is an id without what notations add: case and leading zeros.
func plain(id string) string {
	id = strings.ToLower(id)
	if short := strings.TrimLeft(id, "0"); short != "" {
		return short
	}
	return id
}

// notations are the ways in which an id may have been written: as it is, its decimal in hexadecimal, and
// its hexadecimal in decimal.
func notations(id string) []string {
	all := []string{plain(id)}
	for _, bases := range [][2]int{{10, 16}, {16, 10}} {
		// big's own prefixes, signs and underscores are in no id.
		if n, ok := new(big.Int).SetString(all[0], bases[0]); ok && strings.Trim(all[0], "0123456789abcdef") == "" {
			all = append(all, n.Text(bases[1]))
		}
	}
	return all
}
