package simulator

import (
	"container/list"
	"slices"
)

// perHandset is how many messages a handset keeps: the newest.
const perHandset = 50

// shelf keeps the handsets that were used last. Not safe for concurrent use.
type shelf struct {
	limit    int
	byNumber map[string]*list.Element
	// recent holds *handset, the one used last in front.
	recent *list.List
	// last is the number of the message that was added last.
	last int64
}

// newShelf returns an empty shelf that numbers messages from after on.
func newShelf(limit int, after int64) *shelf {
	return &shelf{limit: limit, byNumber: map[string]*list.Element{}, recent: list.New(), last: after}
}

// at returns the handset of a number, a new one if need be.
func (s *shelf) at(number string) *handset {
	if element, there := s.byNumber[number]; there {
		s.recent.MoveToFront(element)
		return element.Value.(*handset)
	}
	h := &handset{number: number, changed: make(chan struct{})}
	s.byNumber[number] = s.recent.PushFront(h)
	if s.recent.Len() > s.limit {
		oldest := s.recent.Remove(s.recent.Back()).(*handset)
		delete(s.byNumber, oldest.number)
		oldest.wake() // whoever watches it asks again, and finds an empty one
	}
	return h
}

// handset is what one number received, newest last.
type handset struct {
	number   string
	messages []Message
	// changed is closed at the next change.
	changed chan struct{}
}

// add puts a message on its handset and wakes whoever watches it; false if it is there already.
func (s *shelf) add(m Message) bool {
	h := s.at(m.To)
	if slices.ContainsFunc(h.messages, func(have Message) bool { return have.ID == m.ID }) {
		return false
	}
	s.last++
	m.Number = s.last
	if len(h.messages) == perHandset {
		h.messages = slices.Delete(h.messages, 0, 1)
	}
	h.messages = append(h.messages, m)
	h.wake()
	return true
}

func (h *handset) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// after returns the messages numbered above n.
func (h *handset) after(n int64) []Message {
	from := len(h.messages)
	for from > 0 && h.messages[from-1].Number > n {
		from--
	}
	return append([]Message{}, h.messages[from:]...) // never nil: it is a list on the wire, too
}
