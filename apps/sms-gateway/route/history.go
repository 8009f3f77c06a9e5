package route

import (
	"hash/maphash"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxConversations is how many are remembered (16 MB): at 100 a second, ten minutes of them.
	maxConversations = 1 << 16
	// maxBlocks is how many blocks of numbers are: all that begin with 4, 5, 6, 7 and 9 of an eight-digit
	// country, and more. Beyond it the one that was silent longest is forgotten; other caps stand.
	maxBlocks = 1 << 14
	// blockDigits are those of a number that its block leaves open.
	blockDigits = 4
)

// block is what is known of 10,000 numbers in a row: networks give them out so, and whoever is paid for the SMS
// that come in owns some such.
type block struct {
	hour ring[Money]
	conv conversion
}

// sample is the last code of one conversation: by which route, to which block, and when it counted there. A
// resend by the same route is no other sample, and to the same number none of its block.
type sample struct {
	route   *leader
	tally   *tally
	at      time.Time
	block   *block // nil where it cost nothing
	blockAt time.Time
	used    bool
}

// history is what has to be remembered of messages. The router's lock guards it.
type history struct {
	seed          maphash.Seed
	conversations *simplelru.LRU[uint64, sample]
	blocks        *simplelru.LRU[uint64, *block]
	rules         Conversion
}

func newHistory(rules Conversion, clock func() time.Time) (*history, error) {
	h := &history{seed: maphash.MakeSeed(), rules: rules}
	var err error
	// One that is forgotten can't be confirmed any more, so it doesn't count as not used either.
	h.conversations, err = simplelru.NewLRU(maxConversations, func(_ uint64, s sample) { s.forget(clock()) })
	if err != nil {
		return nil, err
	}
	h.blocks, err = simplelru.NewLRU[uint64, *block](maxBlocks, nil)
	return h, err
}

// block returns that of a number.
func (h *history) block(number string) *block {
	key := maphash.String(h.seed, number[:max(0, len(number)-blockDigits)])
	b, known := h.blocks.Get(key)
	if !known {
		b = &block{hour: newRing[Money](5*time.Minute, 13), conv: newConversion(h.rules)}
		h.blocks.Add(key, b)
	}
	return b
}

func (h *history) key(conversation string) uint64 { return maphash.String(h.seed, conversation) }

// send counts the sample's code by its route.
func (s sample) send(now time.Time, n int32) {
	s.route.conv.send(now, s.at, n)
	s.tally.conv.send(now, s.at, n)
}

// forget takes back that the sample's code was sent.
func (s sample) forget(now time.Time) {
	if s.used {
		return
	}
	s.send(now, -1)
	if s.block != nil {
		s.block.conv.send(now, s.blockAt, -1)
	}
}

// sent counts a conversation's code, and returns how to take that back.
func (h *history) sent(now time.Time, conversation string, by leg, to *block) (undo func(now time.Time)) {
	if conversation == "" {
		return func(time.Time) {}
	}
	key := h.key(conversation)
	before, again := h.conversations.Get(key)
	next := sample{route: by.by, tally: by.tally, at: now, block: to, blockAt: now}
	sameRoute, sameBlock := again && before.route == by.by, again && before.block == to
	if sameRoute {
		next.at, next.tally = before.at, before.tally
	} else {
		next.send(now, 1)
	}
	switch {
	case to == nil:
	case sameBlock:
		next.blockAt = before.blockAt
	default:
		to.conv.send(now, now, 1)
	}
	h.conversations.Add(key, next)
	return func(now time.Time) {
		if is, there := h.conversations.Peek(key); !there || is != next {
			return // forgotten, confirmed, or sent again meanwhile
		}
		if !again {
			h.conversations.Remove(key) // and forgets it
			return
		}
		if !sameRoute {
			next.send(now, -1)
		}
		if to != nil && !sameBlock {
			to.conv.send(now, next.blockAt, -1)
		}
		h.conversations.Add(key, before)
	}
}

// used counts that a conversation's last code was used, once.
func (h *history) used(now time.Time, conversation string) {
	key := h.key(conversation)
	s, known := h.conversations.Peek(key)
	if !known || s.used {
		return
	}
	s.route.conv.use(now, s.at)
	s.tally.conv.use(now, s.at)
	if s.block != nil {
		s.block.conv.use(now, s.blockAt)
	}
	s.used = true
	h.conversations.Add(key, s)
}

// last is the route that a conversation's code went by before; nil if that isn't known here.
func (h *history) last(conversation string) *leader {
	s, _ := h.conversations.Peek(h.key(conversation))
	return s.route
}
