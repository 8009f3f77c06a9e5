package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Security is what /.well-known/security.txt (RFC 9116) tells whoever has found a weakness. Its zero value
// is no such file: an address that nobody reads would be worse than none.
type Security struct {
	Contact   []string `koanf:"contact" doc:"Where weaknesses are reported, the best way first, separated by commas: mailto:, tel: or https:. Default: none; then there is no /.well-known/security.txt."`
	Policy    string   `koanf:"policy" doc:"The https address of the rules for who looks for weaknesses. Default: none is named."`
	Languages []string `koanf:"languages" doc:"Languages in which reports are read, separated by commas (zh-HK,en). Default: none is named, and any will do."`
}

const (
	securityPath = "/.well-known/security.txt"
	// securityFor is how long after its start a server's word is taken for current: a contact that nobody
	// has confirmed by a start in half a year may be nobody's any more.
	securityFor = 180 * 24 * time.Hour
)

// languageTag is the outer form of RFC 5646.
var languageTag = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

// text is the file; empty without a contact. The origin is where it is read, or empty.
func (c Security) text(origin string, now time.Time) (string, error) {
	if len(c.Contact) == 0 {
		if c.Policy != "" || len(c.Languages) > 0 {
			return "", errors.New("couldn't write security.txt: it has no contact")
		}
		return "", nil
	}
	var b strings.Builder
	for _, contact := range c.Contact {
		u, err := url.Parse(contact)
		if err != nil || u.Scheme != "mailto" && u.Scheme != "tel" && u.Scheme != "https" ||
			u.Opaque == "" && u.Host == "" || strings.Contains(contact, " ") {
			return "", fmt.Errorf("couldn't write security.txt: the contact %q is no mailto:, tel: or https: address", contact)
		}
		b.WriteString("Contact: " + contact + "\n")
	}
	b.WriteString("Expires: " + now.Add(securityFor).UTC().Truncate(24*time.Hour).Format(time.RFC3339) + "\n")
	if c.Policy != "" {
		u, err := url.Parse(c.Policy)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Contains(c.Policy, " ") {
			return "", fmt.Errorf("couldn't write security.txt: the policy %q is no https address", c.Policy)
		}
		b.WriteString("Policy: " + c.Policy + "\n")
	}
	for _, language := range c.Languages {
		if !languageTag.MatchString(language) {
			return "", fmt.Errorf("couldn't write security.txt: %q is no language such as zh-HK", language)
		}
	}
	if len(c.Languages) > 0 {
		b.WriteString("Preferred-Languages: " + strings.Join(c.Languages, ", ") + "\n")
	}
	if strings.HasPrefix(origin, "https://") {
		b.WriteString("Canonical: " + strings.TrimSuffix(origin, "/") + securityPath + "\n")
	}
	return b.String(), nil
}

// tellSecurity answers for the file, if there is one.
func (s *Server) tellSecurity(w http.ResponseWriter, r *http.Request) (told bool) {
	if s.security == "" || r.URL.Path != securityPath {
		return false
	}
	h := w.Header()
	s.headers.set(h)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		writeProblem(w, errMethodNotAllowed)
		return true
	}
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, s.security) // a reader who went away needs no answer
	}
	return true
}
