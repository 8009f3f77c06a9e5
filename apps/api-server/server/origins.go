package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/popvote/popvote/libs/problem"
)

// origins decides which web pages may call the API: its own origin and a configured list.
type origins struct {
	public  string
	allowed map[string]bool
	// forgery refuses what changes state and comes from another site that is not on the list.
	forgery *http.CrossOriginProtection
	refuse  func(http.ResponseWriter, error)
}

var errOrigin = problem.New(problem.OriginNotAllowed)

const (
	corsMethods = "GET, HEAD, POST"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-None-Match"
	corsExposed = "ETag, RateLimit, RateLimit-Policy, Retry-After"
)

func newOrigins(public string, allowed []string, refuse func(http.ResponseWriter, error)) (*origins, error) {
	o := &origins{public: public, allowed: map[string]bool{}, forgery: http.NewCrossOriginProtection(), refuse: refuse}
	for _, origin := range allowed {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != origin || u.Host == "" || strings.Contains(u.Host, "*") {
			return nil, fmt.Errorf("couldn't read allowed_origins: %q is not an exact origin such as https://mirror.example", origin)
		}
		o.allowed[origin] = true
		if err := o.forgery.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("couldn't read allowed_origins: %w", err)
		}
	}
	if public != "" {
		if err := o.forgery.AddTrustedOrigin(public); err != nil {
			return nil, fmt.Errorf("couldn't read public_origin: %w", err)
		}
	}
	o.forgery.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, errOrigin) }))
	return o, nil
}

// guard answers preflights, refuses other origins, and lets the rest through.
func (o *origins) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Vary"] = varyOrigin
		origin := r.Header.Get("Origin")
		if origin == "" || o.own(origin, r) {
			next.ServeHTTP(w, r)
			return
		}
		if !o.allowed[origin] {
			o.refuse(w, errOrigin)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", corsExposed)
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", corsMethods)
			h.Set("Access-Control-Allow-Headers", corsHeaders)
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// own reports whether the page is this server's own: of the public origin, or of the host asked.
func (o *origins) own(origin string, r *http.Request) bool {
	if origin == o.public {
		return true
	}
	_, host, ok := strings.Cut(origin, "://")
	return ok && host == r.Host
}

var varyOrigin = []string{"Origin"}
