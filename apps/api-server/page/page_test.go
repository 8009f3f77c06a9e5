package page

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func built() fstest.MapFS {
	files := fstest.MapFS{}
	for name, body := range map[string]string{
		".gitignore":                 "*",
		"en/index.html":              "<p>english",
		"zh-Hant-HK/index.html":      "<p>traditional",
		"zh-Hans/index.html":         "<p>simplified",
		"404.html":                   "<p>no such page",
		"assets/main-BxY12_ab.js":    strings.Repeat("plain();", 100),
		"assets/main-BxY12_ab.js.br": "brotli",
		"assets/main-BxY12_ab.js.gz": "gzip",
		"robots.txt":                 "User-agent: *",
	} {
		files[name] = &fstest.MapFile{Data: []byte(body)}
	}
	return files
}

func get(h http.Handler, path string, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheFrontDoorPicksALanguage(t *testing.T) {
	h := newHandler(built(), Config{})
	for accept, want := range map[string]string{
		"":                                 "/en/",
		"*":                                "/en/",
		"de-DE, en;q=0.5":                  "/en/",
		"zh-HK, en;q=0.5":                  "/zh-Hant-HK/",
		"zh-TW":                            "/zh-Hant-HK/",
		"zh-Hant":                          "/zh-Hant-HK/",
		"yue":                              "/zh-Hant-HK/",
		"zh":                               "/zh-Hant-HK/",
		"zh-CN, zh;q=0.9":                  "/zh-Hans/",
		"zh-SG":                            "/zh-Hans/",
		"en;q=0.3, zh-CN;q=0.8":            "/zh-Hans/",
		"zh-HK;q=0, en":                    "/en/",
		"en;q=9, zh-CN":                    "/zh-Hans/",
		strings.Repeat("x", 5000) + ", en": "/en/",
	} {
		got := get(h, "/?poll=lunch", "Accept-Language", accept)
		if got.StatusCode != http.StatusFound || got.Header.Get("Location") != want+"?poll=lunch" || got.Header.Get("Vary") != "Accept-Language" {
			t.Errorf("%.30q: %d to %q, want %q", accept, got.StatusCode, got.Header.Get("Location"), want)
		}
	}
}

func TestFilesAreServedAsTheyWereBuilt(t *testing.T) {
	h := newHandler(built(), Config{})
	for _, c := range []struct {
		path, encoding                          string
		status                                  int
		body, wantEncoding, wantCache, wantType string
	}{
		{"/en/", "", 200, "<p>english", "", revalidate, "text/html; charset=utf-8"},
		{"/zh-Hans/", "br, gzip", 200, "<p>simplified", "", revalidate, "text/html; charset=utf-8"},
		{"/assets/main-BxY12_ab.js", "gzip, br", 200, "brotli", "br", forever, "text/javascript; charset=utf-8"},
		{"/assets/main-BxY12_ab.js", "gzip", 200, "gzip", "gzip", forever, "text/javascript; charset=utf-8"},
		{"/assets/main-BxY12_ab.js", "br;q=0, gzip", 200, "gzip", "gzip", forever, "text/javascript; charset=utf-8"},
		{"/assets/main-BxY12_ab.js", "", 200, strings.Repeat("plain();", 100), "", forever, "text/javascript; charset=utf-8"},
		{"/robots.txt", "", 200, "User-agent: *", "", revalidate, "text/plain; charset=utf-8"},
		{"/nothing", "", 404, "<p>no such page", "", "no-store", "text/html; charset=utf-8"},
		{"/.gitignore", "", 404, "<p>no such page", "", "no-store", "text/html; charset=utf-8"},
		{"/assets/../../page.go", "", 404, "<p>no such page", "", "no-store", "text/html; charset=utf-8"},
	} {
		got := get(h, c.path, "Accept-Encoding", c.encoding)
		if b := body(t, got); got.StatusCode != c.status || b != c.body || got.Header.Get("Content-Encoding") != c.wantEncoding ||
			got.Header.Get("Cache-Control") != c.wantCache || got.Header.Get("Content-Type") != c.wantType {
			t.Errorf("%s (%s): %d %.20q %v", c.path, c.encoding, got.StatusCode, b, got.Header)
		}
		if etag := got.Header.Get("ETag"); c.status == 200 {
			if again := get(h, c.path, "Accept-Encoding", c.encoding, "If-None-Match", etag); etag == "" || again.StatusCode != http.StatusNotModified {
				t.Errorf("%s: with its own tag %q it is %d, want 304", c.path, etag, again.StatusCode)
			}
		}
	}
	if got := get(h, "/en?poll=lunch"); got.Header.Get("Location") != "/en/?poll=lunch" {
		t.Errorf("/en leads to %q", got.Header.Get("Location"))
	}
}

func TestEveryAnswerForbidsWhatThePageDoesNotDo(t *testing.T) {
	h := newHandler(built(), Config{APIOrigins: []string{"https://api.example"}})
	for _, path := range []string{"/", "/en/", "/assets/main-BxY12_ab.js", "/nothing"} {
		got := get(h, path).Header
		csp := got.Get("Content-Security-Policy")
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self'", "worker-src 'self'", "style-src 'self'", "img-src 'self' data:", "form-action 'self'",
			"connect-src 'self' https://api.example", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'",
			"report-uri /reports",
		} {
			if !strings.Contains(csp+";", directive+";") {
				t.Errorf("%s: the policy lacks %s: %s", path, directive, csp)
			}
		}
		if got.Get("Reporting-Endpoints") != "" || got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Referrer-Policy") != "no-referrer" ||
			got.Get("Cross-Origin-Opener-Policy") != "same-origin" || got.Get("Permissions-Policy") == "" {
			t.Errorf("%s: %v", path, got)
		}
		if got.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS without TLS", path)
		}
	}
	r := httptest.NewRequest("GET", "/en/", nil)
	r.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS with TLS")
	}
	if w.Header().Get("Reporting-Endpoints") != `csp="/reports"` || !strings.HasSuffix(w.Header().Get("Content-Security-Policy"), "; report-uri /reports; report-to csp") {
		t.Errorf("with TLS, it says nothing to the Reporting API: %v", w.Header())
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/en/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, %v", w.Code, w.Header())
	}
}

func TestAPageThatWasNotBuiltSaysSo(t *testing.T) {
	got := get(newHandler(fstest.MapFS{".gitignore": &fstest.MapFile{}}, Config{}), "/en/")
	if b := body(t, got); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(b, "run make build") {
		t.Errorf("%d %s", got.StatusCode, b)
	}
}

// TestTheEmbeddedPage: whatever is in dist, built or not, the front door answers.
func TestTheEmbeddedPage(t *testing.T) {
	if got := get(New(Config{}), "/"); got.StatusCode != http.StatusFound && got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", got.StatusCode)
	}
}

// The page frames nothing, but where an operator has a human check: then its origin, and all else stays.
func TestTheFrameOriginIsAllThatIsAdded(t *testing.T) {
	policy := func(c Config) string {
		return get(newHandler(built(), c), "/en/").Header.Get("Content-Security-Policy")
	}
	off, on := policy(Config{}), policy(Config{FrameOrigin: "https://check.example"})
	if strings.Contains(off, "frame-src") {
		t.Errorf("without: %s", off)
	}
	if strings.Replace(on, "; frame-src https://check.example", "", 1) != off {
		t.Errorf("with: %s\nwithout: %s", on, off)
	}
}
