package route

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
)

// maxReceipts is how many receipts are remembered, to count none twice, and how many messages, to know whose
// they are.
const maxReceipts = 1 << 16

// states are those that are counted by their name.
var states = map[provider.State]bool{
	provider.Accepted: true, provider.Delivered: true, provider.Undelivered: true,
	provider.Expired: true, provider.Rejected: true, provider.Unknown: true,
}

// letter is a message that a provider took.
type letter struct {
	to    *tally
	began time.Time
}

// word is the first receipt with one state of one message.
type word struct {
	at time.Time
	to *tally // where it was counted; nil where nobody knows where the message went
}

// receipts is what is remembered of messages and of what was said of them; no number. The router's lock guards it.
type receipts struct {
	seed   maphash.Seed
	posted *simplelru.LRU[uint64, letter]
	heard  *simplelru.LRU[uint64, word]
}

func newReceipts() (receipts, error) {
	posted, err := simplelru.NewLRU[uint64, letter](maxReceipts, nil)
	if err != nil {
		return receipts{}, err
	}
	heard, err := simplelru.NewLRU[uint64, word](maxReceipts, nil)
	return receipts{maphash.MakeSeed(), posted, heard}, err
}

// key is that of a route's message, or with a state that of what was said of it.
func (m *receipts) key(route, ref string, state provider.State) uint64 {
	return maphash.String(m.seed, route+"\x00"+ref+"\x00"+string(state))
}

// post remembers a message that a route took. Receipts may have been here before the answer that names it.
func (m *receipts) post(now time.Time, by *leader, ref string, l letter) {
	if ref == "" {
		return
	}
	m.posted.Add(m.key(by.name, ref, ""), l)
	for state := range states {
		w, early := m.heard.Peek(m.key(by.name, ref, state))
		if !early {
			continue
		}
		if w.to == nil {
			by.stray.add(state, -1)
			l.to.add(state, 1)
		}
		if state == provider.Delivered {
			l.to.delay(now, w.at.Sub(l.began))
		}
	}
}

// Receipt implements provider.Receipts: it counts, and nothing waits for it.
func (r *Router) Receipt(_ context.Context, in provider.Receipt) {
	by, state := r.leader(in.Provider), in.State
	if by == nil {
		return
	}
	if !states[state] {
		state = provider.Unknown
	}
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	l, known := r.receipts.posted.Get(r.receipts.key(by.name, in.Ref, ""))
	w := word{now, l.to}
	if !known {
		w.to = r.tally(in.To.Reveal(), by)
	}
	if in.Ref != "" {
		key := r.receipts.key(by.name, in.Ref, state)
		if _, again := r.receipts.heard.Get(key); again {
			return
		}
		r.receipts.heard.Add(key, w)
	}
	r.figures.receipts.WithLabelValues(by.name, string(state)).Inc()
	if w.to == nil {
		by.stray.add(state, 1)
		return
	}
	w.to.add(state, 1)
	if known && state == provider.Delivered {
		w.to.delay(now, now.Sub(l.began))
	}
}

// tally is that of a route to where a number is; nil if that is nowhere.
func (r *Router) tally(number string, by *leader) *tally {
	country := r.table.country(number)
	if country < 0 {
		return nil
	}
	for i, l := range r.table.Countries[country].Legs {
		if l.Route == by.name {
			return r.tallies[country][i]
		}
	}
	return nil
}
