// Package page serves the voter's page: the files that voter-web builds into dist, embedded in the
// program. It loads nothing from anywhere else, and its headers forbid that it ever does.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/api-server/csp"
)

//go:embed all:dist
var embedded embed.FS

// Config is what the page's headers need to know.
type Config struct {
	// APIOrigins are the origins besides the page's own that the page may call ("https://api.example").
	// Default: none.
	APIOrigins []string
	// Secure says that browsers reach the page over TLS, whoever ends it: then HSTS is sent. Default: only
	// where this process itself does.
	Secure bool
	// FrameOrigin is the one origin whose pages the page may frame: the human check's. Default: none.
	FrameOrigin string
}

// New serves the embedded page.
func New(config Config) http.Handler {
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	return newHandler(dist, config)
}

// languages the page is pre-rendered in, each under its own path; the first is the default.
var languages = []string{"en", "zh-Hant-HK", "zh-Hans"}

// handler serves files from memory; never changed once made.
type handler struct {
	files  map[string]file // by path, without the leading slash
	csp    string
	secure bool
}

// file is one file with its precompressed twins.
type file struct {
	contentType  string
	cacheControl string
	plain        variant
	br, gz       variant
}

type variant struct {
	body []byte
	etag string
}

const (
	forever    = "public, max-age=31536000, immutable"
	revalidate = "public, max-age=0, must-revalidate"
)

// hashed is a name that Vite made from the content: it may be kept for ever.
var hashed = regexp.MustCompile(`[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$`)

func newHandler(dist fs.FS, config Config) http.Handler {
	connect := append([]string{"'self'"}, config.APIOrigins...)
	h := &handler{
		files:  map[string]file{},
		secure: config.Secure,
		csp: "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; manifest-src 'self'; connect-src " +
			strings.Join(connect, " ") + "; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'",
	}
	if config.FrameOrigin != "" {
		h.csp += "; frame-src " + config.FrameOrigin
	}
	bodies := map[string][]byte{}
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		bodies[name], err = fs.ReadFile(dist, name)
		return err
	})
	if err != nil {
		panic(fmt.Sprintf("couldn't read the embedded page: %v", err)) // embedded files can be read
	}
	for name, body := range bodies {
		ext := path.Ext(name)
		if plain := strings.TrimSuffix(name, ext); (ext == ".br" || ext == ".gz") && bodies[plain] != nil {
			continue // a twin, served under the plain name
		}
		f := file{
			contentType:  contentType(ext),
			cacheControl: revalidate,
			plain:        newVariant(body),
			br:           newVariant(bodies[name+".br"]),
			gz:           newVariant(bodies[name+".gz"]),
		}
		if strings.HasPrefix(name, "assets/") && hashed.MatchString(name) {
			f.cacheControl = forever
		}
		h.files[name] = f
	}
	return h
}

// contentTypes are those of a built page; the machine's own table must not decide.
var contentTypes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".mjs":         "text/javascript; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".json":        "application/json",
	".webmanifest": "application/manifest+json",
	".svg":         "image/svg+xml",
	".png":         "image/png",
	".ico":         "image/x-icon",
	".woff2":       "font/woff2",
	".wasm":        "application/wasm",
	".txt":         "text/plain; charset=utf-8",
}

func contentType(ext string) string {
	if t, ok := contentTypes[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

func newVariant(body []byte) variant {
	sum := sha256.Sum256(body)
	return variant{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setHeaders(w.Header(), r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	if len(h.files) == 0 {
		http.Error(w, "The page has not been built: run make build, then build this program again.", http.StatusServiceUnavailable)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "" {
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Cache-Control", revalidate)
		redirect(w, "/"+preferred(r.Header.Get("Accept-Language"))+"/", r)
		return
	}
	if f, ok := h.files[name]; ok {
		serve(w, r, f, http.StatusOK)
		return
	}
	if f, ok := h.files[name+"/index.html"]; ok {
		if !strings.HasSuffix(r.URL.Path, "/") {
			redirect(w, "/"+name+"/", r)
			return
		}
		serve(w, r, f, http.StatusOK)
		return
	}
	if f, ok := h.files["404.html"]; ok {
		serve(w, r, f, http.StatusNotFound)
		return
	}
	http.Error(w, "There is no such page.", http.StatusNotFound)
}

func (h *handler) setHeaders(to http.Header, r *http.Request) {
	secure := h.secure || r.TLS != nil
	csp.Set(to, h.csp, secure)
	to.Set("Cross-Origin-Opener-Policy", "same-origin")
	to.Set("Cross-Origin-Resource-Policy", "same-origin")
	to.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()")
	to.Set("Referrer-Policy", "no-referrer")
	to.Set("X-Content-Type-Options", "nosniff")
	if secure {
		to.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}

// redirect keeps the query, which names the poll.
func redirect(w http.ResponseWriter, to string, r *http.Request) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, to, http.StatusFound)
}

func serve(w http.ResponseWriter, r *http.Request, f file, status int) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cacheControl)
	chosen := f.plain
	if f.br.body != nil || f.gz.body != nil {
		h.Set("Vary", "Accept-Encoding")
		switch {
		case f.br.body != nil && acceptable(r.Header.Get("Accept-Encoding"), "br"):
			chosen = f.br
			h.Set("Content-Encoding", "br")
		case f.gz.body != nil && acceptable(r.Header.Get("Accept-Encoding"), "gzip"):
			chosen = f.gz
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", chosen.etag)
	if status != http.StatusOK {
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Length", strconv.Itoa(len(chosen.body)))
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = w.Write(chosen.body)
		}
		return
	}
	// ServeContent knows conditions and ranges; the time stays zero, the tag says all.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(chosen.body))
}

// acceptable reports whether a list such as "gzip;q=0.5, br" takes the coding.
func acceptable(header, coding string) bool {
	for _, one := range weighted(header) {
		if one.value == coding || one.value == "*" {
			return one.q > 0
		}
	}
	return false
}

// preferred is the page's language that a reader likes best (RFC 4647 lookup, with Chinese told
// apart by script and place).
func preferred(header string) string {
	asked := weighted(header)
	slices.SortStableFunc(asked, func(a, b weightedValue) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	for _, one := range asked {
		if one.q == 0 {
			continue
		}
		tag := strings.ToLower(one.value)
		switch primary, _, _ := strings.Cut(tag, "-"); {
		case primary == "yue", primary == "zh" && containsAny(tag, "hant", "-hk", "-tw", "-mo"):
			return "zh-Hant-HK"
		case primary == "zh" && tag != "zh":
			return "zh-Hans"
		case primary == "zh":
			return "zh-Hant-HK" // no script said: the poll's own place decides
		case primary == "en":
			return "en"
		}
	}
	return languages[0]
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
}

type weightedValue struct {
	value string
	q     float64
}

// weighted splits a header of the form "a;q=0.5, b", in its order, of a bounded length.
func weighted(header string) []weightedValue {
	if len(header) > 1024 {
		header = header[:1024]
	}
	var out []weightedValue
	for one := range strings.SplitSeq(header, ",") {
		value, params, _ := strings.Cut(one, ";")
		w := weightedValue{value: strings.TrimSpace(value), q: 1}
		if q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			parsed, err := strconv.ParseFloat(q, 64)
			if err != nil || parsed < 0 || parsed > 1 {
				parsed = 0
			}
			w.q = parsed
		}
		if w.value != "" {
			out = append(out, w)
		}
	}
	return out
}
