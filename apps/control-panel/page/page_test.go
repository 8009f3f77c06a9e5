package page

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func built(t *testing.T) http.Handler {
	t.Helper()
	h, err := handler(fstest.MapFS{
		".gitignore":           {Data: []byte("*")},
		"index.html":           {Data: []byte("<!doctype html>" + strings.Repeat("<p>page</p>", 99))},
		"assets/index-abc.js":  {Data: []byte(strings.Repeat("let a = 1\n", 99))},
		"assets/index-abc.css": {Data: []byte("a{}")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestDeepLinksOpenThePage(t *testing.T) {
	h := built(t)
	for path, want := range map[string]int{
		"/": 200, "/index.html": 200, "/polls/hk-2014-06/audit": 200, "/wall": 200, "/assets/index-abc.js": 200,
		"/assets/index-old.js": 404, "/.gitignore": 404, "/../page.go": 404, "/favicon.ico": 404,
	} {
		if got := get(h, http.MethodGet, path).StatusCode; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := get(h, http.MethodPost, "/").StatusCode; got != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got)
	}
}

func TestOnlyNamesWithAHashAreKept(t *testing.T) {
	h := built(t)
	for path, want := range map[string]string{"/": "no-cache", "/polls": "no-cache", "/assets/index-abc.js": "public, max-age=31536000, immutable"} {
		if got := get(h, http.MethodGet, path).Header.Get("Cache-Control"); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	tag := get(h, http.MethodGet, "/").Header.Get("ETag")
	if got := get(h, http.MethodGet, "/", "If-None-Match", tag).StatusCode; got != http.StatusNotModified {
		t.Errorf("a page that is known comes again: %d", got)
	}
}

func TestWhatIsZippedIsTheSame(t *testing.T) {
	h := built(t)
	plain, _ := io.ReadAll(get(h, http.MethodGet, "/assets/index-abc.js").Body)
	answer := get(h, http.MethodGet, "/assets/index-abc.js", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(answer.Body)
	if err != nil || answer.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not zipped: %v", err)
	}
	if zipped, _ := io.ReadAll(z); string(zipped) != string(plain) {
		t.Error("it is not")
	}
	if got := answer.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("the type is %s", got)
	}
}

func TestAPageThatWasNotBuiltSaysSo(t *testing.T) {
	h, err := handler(fstest.MapFS{".gitignore": {Data: []byte("*")}})
	if err != nil {
		t.Fatal(err)
	}
	answer := get(h, http.MethodGet, "/")
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusNotFound || !strings.Contains(string(text), "make build") {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
}
