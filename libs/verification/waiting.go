package verification

import "slices"

// waiting is who waits for what. Not safe for concurrent use.
type waiting map[Key][]chan News

// add registers a waiter. It is told at most once, and then it is no waiter any more.
func (w waiting) add(key Key) chan News {
	news := make(chan News, 1) // room for the one notice: telling never blocks
	w[key] = append(w[key], news)
	return news
}

func (w waiting) tell(key Key, n News) {
	for _, news := range w[key] {
		news <- n
	}
	delete(w, key)
}

func (w waiting) tellAll(n News) {
	for key := range w {
		w.tell(key, n)
	}
}

// remove takes a waiter out; nothing, if it was told.
func (w waiting) remove(key Key, news chan News) {
	left := slices.DeleteFunc(w[key], func(c chan News) bool { return c == news })
	if len(left) == 0 {
		delete(w, key)
	} else {
		w[key] = left
	}
}

// already is news that are there already.
func already(n News) <-chan News {
	news := make(chan News, 1)
	news <- n
	return news
}
