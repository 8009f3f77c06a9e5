package smpp

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/sms"
)

const (
	// What voters are asked to text is one part; more than ten nobody reads (sms.Texts). A longer text may
	// also come in one piece.
	maxParts  = 10
	maxOctets = maxParts * 160
	// maxTexts bounds what voters' unfinished texts take: some 2.5 MB. The oldest makes room.
	maxTexts = 1000
	// partsKept is how long the rest of a text is waited for. Networks retry for longer, but whoever
	// texted has long been told that nothing came.
	partsKept = 10 * time.Minute
)

// parts puts texts together that come in parts. A part is acknowledged when it is kept here, all but the
// last: an SMSC that sends one at a time would wait for ever for the answer to the first. What is
// unfinished is gone with the process. Safe for concurrent use.
type parts struct {
	mu sync.Mutex
	// guarded by mu
	texts map[partsKey]*partsOf
}

// partsKey is what the parts of one text have in common.
type partsKey struct {
	from, to sms.Number
	ref      uint16
	total    byte
}

type partsOf struct {
	since time.Time
	got   [maxParts][]byte
	ids   [maxParts]string
	// taking is held by whoever brings the whole to the receiver.
	taking chan struct{}
	// taken is set when the receiver has it: what comes again is known then.
	taken bool
}

func newParts() *parts { return &parts{texts: map[partsKey]*partsOf{}} }

// add keeps a part, and hands the text over once it is whole: take gets its bytes and the ids of its parts,
// and if it fails the same part may come again. Until then every other part is news to nobody.
func (p *parts) add(ctx context.Context, key partsKey, number byte, octets []byte, id string, now time.Time, take func(whole []byte, ids string) error) error {
	t, whole, ids := p.keep(key, number, octets, id, now)
	if whole == nil {
		return nil
	}
	select {
	case t.taking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.taking }()
	p.mu.Lock()
	taken := t.taken
	p.mu.Unlock()
	if taken {
		return nil
	}
	if err := take(whole, ids); err != nil {
		return err
	}
	p.mu.Lock()
	t.taken = true
	p.mu.Unlock()
	return nil
}

// keep returns the whole text if this part makes it so, and nil if not.
func (p *parts) keep(key partsKey, number byte, octets []byte, id string, now time.Time) (t *partsOf, whole []byte, ids string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t = p.texts[key]
	at := number - 1
	// A reference comes round again: another part in a finished text's place begins a new one.
	if t == nil || now.Sub(t.since) > partsKept || t.taken && !bytes.Equal(t.got[at], octets) {
		p.makeRoom(now)
		t = &partsOf{since: now, taking: make(chan struct{}, 1)}
		p.texts[key] = t
	}
	if t.taken {
		return t, nil, ""
	}
	t.got[at], t.ids[at] = append([]byte{}, octets...), id
	for i := range key.total {
		if t.got[i] == nil {
			return t, nil, ""
		}
		whole, ids = append(whole, t.got[i]...), ids+t.ids[i]
	}
	return t, append([]byte{}, whole...), ids
}

// makeRoom is called with mu held, before a text is added.
func (p *parts) makeRoom(now time.Time) {
	if len(p.texts) < maxTexts {
		return
	}
	var oldest partsKey
	since := now
	for key, t := range p.texts {
		if now.Sub(t.since) > partsKept {
			delete(p.texts, key)
		} else if !t.since.After(since) {
			oldest, since = key, t.since
		}
	}
	if len(p.texts) >= maxTexts {
		delete(p.texts, oldest)
	}
}
