package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/popvote/popvote/libs/problem"
)

// transport knows what crossed the internet unencrypted. This process ends no TLS, so it takes the word of the
// proxy that does, and nobody else's.
type transport struct {
	// origin is where browsers come, https; empty where they come over plain HTTP, or no proxy is listed
	// whose word could be taken: then nothing is known, and nothing refused.
	origin  string
	proxies []netip.Prefix
	refuse  func(http.ResponseWriter, error)
}

var errInTheClear = problem.New(problem.TLSRequired)

func newTransport(origin string, proxies []string, refuse func(http.ResponseWriter, error)) (*transport, error) {
	t := &transport{refuse: refuse}
	for _, proxy := range proxies {
		if addr, err := netip.ParseAddr(proxy); err == nil {
			t.proxies = append(t.proxies, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(proxy)
		if err != nil {
			return nil, fmt.Errorf("couldn't read trusted_proxies: %q is no address or network", proxy)
		}
		t.proxies = append(t.proxies, prefix.Masked())
	}
	if len(t.proxies) > 0 && strings.HasPrefix(origin, "https://") {
		t.origin = origin
	}
	return t, nil
}

// guard refuses the API to what came in the clear: a redirect would hide from a client that it sends tokens
// where others read them. Who asks for a page is sent on.
func (t *transport) guard(next http.Handler) http.Handler {
	if t.origin == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch safe := r.Method == http.MethodGet || r.Method == http.MethodHead; {
		case t.encrypted(r):
			next.ServeHTTP(w, r)
		case safe && !strings.HasPrefix(r.URL.Path, "/v1/"):
			w.Header().Set("Location", t.origin+r.URL.RequestURI())
			w.WriteHeader(http.StatusPermanentRedirect)
		default:
			t.refuse(w, errInTheClear)
		}
	})
}

// encrypted says that the request came over TLS, to us or by the word of a listed proxy. One that came around the
// proxies did not.
func (t *transport) encrypted(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	said := r.Header["X-Forwarded-Proto"]
	if len(said) != 1 || !strings.EqualFold(said[0], "https") {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, proxy := range t.proxies {
		if proxy.Contains(addr) {
			return true
		}
	}
	return false
}
