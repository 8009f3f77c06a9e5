// Package page serves the operators' page: what control-panel/web builds into dist, embedded.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var embedded embed.FS

// file is one asset, ready to be sent.
type file struct {
	body, zipped []byte
	kind, tag    string
	// forEver is set for names that carry a hash of their content.
	forEver bool
}

// Handler serves the embedded page. Paths that are no file are the page itself, so that a deep link
// (/polls/hk-2014-06) opens on its screen. It sets no security headers: the server does, for all.
func Handler() (http.Handler, error) {
	dist, err := fs.Sub(embedded, "dist")
	if err != nil {
		return nil, fmt.Errorf("couldn't open the embedded page: %w", err)
	}
	return handler(dist)
}

func handler(dist fs.FS) (http.Handler, error) {
	files := map[string]*file{}
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		body, err := fs.ReadFile(dist, name)
		if err != nil {
			return err
		}
		files["/"+name], err = prepare(name, body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the embedded page: %w", err)
	}
	return server(files), nil
}

func prepare(name string, body []byte) (*file, error) {
	sum := sha256.Sum256(body)
	f := &file{
		body:    body,
		kind:    kindOf(name),
		tag:     `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
		forEver: strings.HasPrefix(name, "assets/"),
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() < len(body) {
		f.zipped = b.Bytes()
	}
	return f, nil
}

func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	// The machine's own table of types differs from machine to machine.
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}

func server(files map[string]*file) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		f, ok := files[r.URL.Path]
		if !ok && path.Ext(r.URL.Path) == "" {
			f, ok = files["/index.html"]
		}
		if !ok {
			http.Error(w, missing(len(files)), http.StatusNotFound)
			return
		}
		send(w, r, f)
	})
}

// missing tells a page that was never built from an address that does not exist.
func missing(files int) string {
	if files == 0 {
		return "The panel's page is not built in. Build it with `make build`."
	}
	return "Nothing is here."
}

func send(w http.ResponseWriter, r *http.Request, f *file) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.tag)
	h.Add("Vary", "Accept-Encoding")
	if f.forEver {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.body
	if f.zipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the client may be gone
}
