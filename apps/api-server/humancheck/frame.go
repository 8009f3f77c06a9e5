package humancheck

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/api-server/csp"
)

// Path is where the frame's page is, at Config.Origin.
const Path = "/human/"

//go:embed frame
var files embed.FS

// languages of the frame's page, and what each service calls them: its script speaks them, we say nothing there.
var languages = map[string]struct{ turnstile, hcaptcha string }{
	"en":         {"en", "en"},
	"zh-Hant-HK": {"zh-tw", "zh-TW"},
	"zh-Hans":    {"zh-cn", "zh-CN"},
}

// Frame answers at Config.Origin with the page that loads the service's script, and with nothing else.
type Frame struct {
	checker *Checker
	policy  string
	secure  bool
	parents []string
	page    *template.Template
	assets  map[string]asset
}

type asset struct {
	contentType, etag string
	body              []byte
}

// NewFrame returns the page's handler. Only pages of the origins that are listed may frame it, and only they hear from
// it: the voter page's own, and its mirrors'.
func NewFrame(checker *Checker, parents []string) (*Frame, error) {
	for _, parent := range parents {
		if _, host, _ := strings.Cut(parent, "://"); strings.EqualFold(hostName(host), checker.name) {
			return nil, fmt.Errorf("couldn't frame the human check: its origin %s has the host of the page %s, so its script could read what voters type there", checker.config.Origin, parent)
		}
	}
	f := &Frame{
		checker: checker, parents: slices.Clone(parents), secure: strings.HasPrefix(checker.config.Origin, "https://"),
		assets: map[string]asset{},
	}
	sources := checker.at.Sources
	f.policy = fmt.Sprintf("default-src 'none'; script-src 'self' %[1]s; frame-src %[1]s; connect-src %[1]s; style-src 'self' %[1]s; img-src 'self' data: %[1]s; "+
		"form-action 'none'; base-uri 'none'; frame-ancestors %[2]s", sources, strings.Join(parents, " "))
	page, err := template.ParseFS(files, "frame/frame.html")
	if err != nil {
		return nil, fmt.Errorf("couldn't read the human check's page: %w", err)
	}
	f.page = page
	for name, contentType := range map[string]string{"frame.js": "text/javascript; charset=utf-8", "frame.css": "text/css; charset=utf-8"} {
		body, err := files.ReadFile("frame/" + name)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the human check's page: %w", err)
		}
		sum := sha256.Sum256(body)
		f.assets[Path+name] = asset{contentType, `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, body}
	}
	return f, nil
}

// hostName is a host without its port.
func hostName(host string) string {
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		host = host[:at]
	}
	return strings.Trim(host, "[]")
}

// Is says whether a request is for the frame's origin.
func (f *Frame) Is(r *http.Request) bool { return strings.EqualFold(r.Host, f.checker.host) }

// ServeHTTP implements http.Handler.
func (f *Frame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.setHeaders(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	if a, ok := f.assets[r.URL.Path]; ok {
		w.Header().Set("Content-Type", a.contentType)
		w.Header().Set("Cache-Control", "public, max-age=0, must-revalidate")
		w.Header().Set("ETag", a.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
		return
	}
	lang, ok := strings.CutPrefix(r.URL.Path, Path)
	spoken, known := languages[lang]
	if !ok || !known {
		http.Error(w, "There is no such page.", http.StatusNotFound)
		return
	}
	data := struct {
		Lang, Name, SiteKey, Action, Script, Spoken, Parents string
	}{lang, f.checker.Name(), f.checker.config.SiteKey, action, f.checker.at.Script, spoken.turnstile, strings.Join(f.parents, " ")}
	if _, is := f.checker.provider.(hcaptcha); is {
		// hCaptcha's script is told its language by its own address, and looks for nothing else of that name.
		data.Script, data.Spoken = data.Script+"&hl="+spoken.hcaptcha, ""
	}
	var b bytes.Buffer
	if err := f.page.Execute(&b, data); err != nil {
		http.Error(w, "The page can't be drawn.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// setHeaders are those of a page that is strange to ours but for being framed by them.
func (f *Frame) setHeaders(to http.Header) {
	csp.Set(to, f.policy, f.secure)
	to.Set("Cache-Control", "no-store")
	to.Set("Cross-Origin-Resource-Policy", "same-origin")
	to.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()")
	// The service wants to know the site; of the page before nothing is known here.
	to.Set("Referrer-Policy", "strict-origin")
	to.Set("X-Content-Type-Options", "nosniff")
	if f.secure {
		to.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
