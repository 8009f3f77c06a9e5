package server

import "net/http"

// headers are on every answer of the API. An answer is data: it may not be rendered as a document,
// guessed to be another type, framed, or kept by a cache unless its handler says so.
type headers struct{ fixed []header }

type header struct {
	name string // canonical
	// value is shared by all answers: never appended to.
	value []string
}

func newHeaders(secure bool) *headers {
	h := &headers{fixed: []header{
		{"Cache-Control", []string{"no-store"}},
		{"Content-Security-Policy", []string{"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
	}}
	if secure {
		h.fixed = append(h.fixed, header{"Strict-Transport-Security", []string{"max-age=31536000; includeSubDomains"}})
	}
	return h
}

func (h *headers) set(to http.Header) {
	for _, f := range h.fixed {
		to[f.name] = f.value
	}
}
