package route

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	// maxHook is the longest call of a provider that is read: some put a hundred receipts in one.
	maxHook = 256 << 10
	// hooksAtOnce is how many calls are answered at the same time; providers call again.
	hooksAtOnce = 256
	// hookWithin is how long answering one may take.
	hookWithin = 10 * time.Second
	hooksPath  = "/hooks/"
)

// Hooked are the routes whose providers may call us, by name.
func (r *Router) Hooked() []string { return slices.Sorted(maps.Keys(r.hooks)) }

// Hooks answers the providers' calls, each below /hooks/ and its route's name. It is for the internet: what
// does not come in time, is too long or too many at once is not passed on.
func (r *Router) Hooks() http.Handler {
	mux := http.NewServeMux()
	for name, handler := range r.hooks {
		mux.Handle(hooksPath+name, http.StripPrefix(hooksPath+name, rooted(handler)))
		mux.Handle(hooksPath+name+"/", http.StripPrefix(hooksPath+name, handler))
	}
	places := make(chan struct{}, hooksAtOnce)
	limited := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.MaxBytesHandler(mux, maxHook).ServeHTTP(w, req)
	})
	timed := http.TimeoutHandler(limited, hookWithin, "")
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		timed.ServeHTTP(w, req)
	})
}

// rooted makes the path of nothing further "/", as everywhere.
func rooted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.URL.Path = "/" // of StripPrefix's copy
		next.ServeHTTP(w, req)
	})
}
