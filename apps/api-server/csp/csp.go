// Package csp reads what browsers tell of a page's content security policy: what it forbade, which is either an attack on
// voters or a mistake of ours. Of a report little is kept, because it holds addresses of people's pages.
package csp

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	// Path is where reports are sent, on the origin of the page.
	Path = "/reports"
	// atMost is how many violations of one report are looked at; browsers put those of a minute together.
	atMost = 32
	// maxOrigin is the longest origin that is passed on, bytes: the longest host name with a scheme and a port.
	maxOrigin = 8 + 253 + 6
)

// Set gives an answer its policy, and says where to report what it forbids: for every browser, and, over TLS, by the
// Reporting API. Without TLS that does not exist, and browsers that know it would then report to nobody.
func Set(h http.Header, policy string, secure bool) {
	policy += "; report-uri " + Path
	if secure {
		policy += "; report-to csp"
		h.Set("Reporting-Endpoints", `csp="`+Path+`"`)
	}
	h.Set("Content-Security-Policy", policy)
}

// Violation is one thing that a policy forbade.
type Violation struct {
	// Directive is which part of the policy, one of the specification's names or "other".
	Directive string
	// Blocked is what was forbidden, one of the Blocked constants.
	Blocked Blocked
	// Origin is the scheme and host of what is Elsewhere; empty for the rest.
	Origin string
}

// Blocked is a kind of what a policy forbids.
type Blocked string

// The kinds.
const (
	Inline       Blocked = "inline"        // script or style in the page
	Eval         Blocked = "eval"          // text that was to be run
	TrustedTypes Blocked = "trusted-types" // text that was to become a page
	Data         Blocked = "data"          // an address that holds its content: data:, blob:, filesystem:
	Extension    Blocked = "extension"     // something of the browser's own, put there by its user
	Own          Blocked = "own"           // something of the page's own origin
	Elsewhere    Blocked = "elsewhere"     // something of another origin
	Unclear      Blocked = "unclear"       // all else
)

// known are the directives that are told apart.
var known = []string{
	"default-src", "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr", "img-src", "media-src",
	"font-src", "connect-src", "worker-src", "child-src", "frame-src", "object-src", "manifest-src", "form-action", "frame-ancestors", "base-uri",
	"require-trusted-types-for", "trusted-types",
}

// What is wrong with a report.
var (
	ErrType      = errors.New("it is neither application/reports+json nor application/csp-report")
	ErrMalformed = errors.New("it is not what browsers send")
)

// report is a violation as the Reporting API has it.
type report struct {
	Type string `json:"type"`
	Body struct {
		Document  string `json:"documentURL"`
		Blocked   string `json:"blockedURL"`
		Directive string `json:"effectiveDirective"`
	} `json:"body"`
}

// older is one as browsers without that send it.
type older struct {
	Report *struct {
		Document  string `json:"document-uri"`
		Blocked   string `json:"blocked-uri"`
		Effective string `json:"effective-directive"`
		Violated  string `json:"violated-directive"` // with its sources, in the oldest
	} `json:"csp-report"`
}

// Read returns what a report of either kind tells. Reports of other things, which the Reporting API may bring along, are
// none.
func Read(contentType string, body []byte) ([]Violation, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, ErrType
	}
	switch kind {
	case "application/reports+json":
		var all []report
		if json.Unmarshal(body, &all) != nil {
			return nil, ErrMalformed
		}
		var found []Violation
		for _, one := range all[:min(len(all), atMost)] {
			if one.Type == "csp-violation" {
				found = append(found, violation(one.Body.Directive, one.Body.Blocked, one.Body.Document))
			}
		}
		return found, nil
	case "application/csp-report":
		var one older
		if json.Unmarshal(body, &one) != nil || one.Report == nil {
			return nil, ErrMalformed
		}
		directive := one.Report.Effective
		if directive == "" {
			directive = one.Report.Violated
		}
		return []Violation{violation(directive, one.Report.Blocked, one.Report.Document)}, nil
	}
	return nil, ErrType
}

func violation(directive, blocked, document string) Violation {
	v := Violation{Directive: "other"}
	if name, _, _ := strings.Cut(strings.TrimSpace(directive), " "); slices.Contains(known, name) {
		v.Directive = name
	}
	v.Blocked, v.Origin = kindOf(blocked, document)
	return v
}

// kindOf says what was forbidden: a word of the specification's (CSP3, 5.3), a URL, or of one its scheme alone.
func kindOf(blocked, document string) (kind Blocked, origin string) {
	switch blocked {
	case "inline":
		return Inline, ""
	case "eval", "wasm-eval":
		return Eval, ""
	case "trusted-types-policy", "trusted-types-sink":
		return TrustedTypes, ""
	}
	scheme, _, _ := strings.Cut(blocked, ":")
	switch {
	case scheme == "data" || scheme == "blob" || scheme == "filesystem":
		return Data, ""
	case strings.HasSuffix(scheme, "-extension"):
		return Extension, ""
	}
	origin = originOf(blocked)
	switch origin {
	case "":
		return Unclear, ""
	case originOf(document):
		return Own, ""
	}
	return Elsewhere, origin
}

// originOf is an address without what may be of a person; empty if it is not of a web or WebSocket server.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
		return ""
	}
	if origin := u.Scheme + "://" + strings.ToLower(u.Host); len(origin) <= maxOrigin {
		return origin
	}
	return ""
}
