package operators

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Proposal is what one operator wants done to a poll, and another has to confirm.
type Proposal struct {
	ID string
	// Account and Name are the first operator's.
	Account, Name string
	// Verb and Body are what is to be done to Poll, as the first operator sent it.
	Poll, Verb, Reason string
	Body               json.RawMessage
	At, Until          time.Time
}

// Proposal finds a proposal that still waits.
func (s *State) Proposal(id string, now time.Time) (Proposal, bool) {
	p, ok := s.proposed[id]
	if !ok || now.After(p.Until) {
		return Proposal{}, false
	}
	return p, true
}

// Proposals are those that wait, the oldest first.
func (s *State) Proposals(now time.Time) []Proposal {
	waiting := slices.DeleteFunc(slices.Collect(maps.Values(s.proposed)), func(p Proposal) bool { return now.After(p.Until) })
	slices.SortFunc(waiting, func(a, b Proposal) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return waiting
}
