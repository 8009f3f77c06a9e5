package verification

import (
	"slices"
	"time"
)

// notice is what a waiter is told: when the SMS came, or why it will not hear of it here.
type notice struct {
	at  time.Time
	err error
}

// waiting is who waits for what. Not safe for concurrent use.
type waiting map[Key][]chan notice

// add registers a waiter. It is told at most once, and then it is no waiter any more.
func (w waiting) add(key Key) chan notice {
	news := make(chan notice, 1) // room for the one notice: telling never blocks
	w[key] = append(w[key], news)
	return news
}

func (w waiting) tell(key Key, n notice) {
	for _, news := range w[key] {
		news <- n
	}
	delete(w, key)
}

func (w waiting) tellAll(n notice) {
	for key := range w {
		w.tell(key, n)
	}
}

// remove takes a waiter out; nothing, if it was told.
func (w waiting) remove(key Key, news chan notice) {
	left := slices.DeleteFunc(w[key], func(c chan notice) bool { return c == news })
	if len(left) == 0 {
		delete(w, key)
	} else {
		w[key] = left
	}
}
