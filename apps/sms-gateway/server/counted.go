package server

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/popvote/popvote/libs/sms"
)

// maxCounted is how many messages are remembered, in some 8 MB: five minutes at 200 a second.
const maxCounted = 1 << 16

// counted are the messages that were counted, as hashes. It decides nothing but figures: a message that was
// forgotten is counted again, and the board takes it as the one it is. Safe for concurrent use.
type counted struct {
	seed maphash.Seed

	mu   sync.Mutex // guards seen
	seen *simplelru.LRU[uint64, struct{}]
}

func newCounted() *counted {
	seen, err := simplelru.NewLRU[uint64, struct{}](maxCounted, nil)
	if err != nil {
		panic("server: " + err.Error()) // it wants a size above 0
	}
	return &counted{seed: maphash.MakeSeed(), seen: seen}
}

// again counts a message, and says whether it was before. One without an id is always another.
func (c *counted) again(in sms.Inbound) bool {
	if in.ProviderID == "" {
		return false
	}
	key := maphash.String(c.seed, in.From.Reveal()+"\x00"+in.ProviderID)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.seen.Contains(key)
	c.seen.Add(key, struct{}{})
	return known
}
