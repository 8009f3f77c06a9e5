package csp

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// As Chromium 143 and Firefox 128 send them.
const (
	chromium = `[{"age":12,"body":{"blockedURL":"https://cdn.evil.example/x.js?token=secret#top","columnNumber":9,"disposition":"enforce",` +
		`"documentURL":"https://vote.example/en/?poll=secret","effectiveDirective":"script-src-elem","lineNumber":3,"originalPolicy":"default-src 'none'",` +
		`"referrer":"","sample":"","sourceFile":"https://vote.example/en/?poll=secret","statusCode":200},"type":"csp-violation",` +
		`"url":"https://vote.example/en/?poll=secret","user_agent":"Mozilla/5.0"},` +
		`{"age":1,"body":{"blockedURL":"inline","documentURL":"https://vote.example/en/","effectiveDirective":"style-src-attr"},"type":"csp-violation"},` +
		`{"age":1,"body":{"id":"x","message":"old"},"type":"deprecation"}]`
	firefox = `{"csp-report":{"blocked-uri":"https://evil.example/pixel.png","column-number":1,"disposition":"enforce","document-uri":` +
		`"https://vote.example/en/","effective-directive":"img-src","original-policy":"default-src 'none'","referrer":"","status-code":200,"violated-directive":"img-src"}}`
	oldest = `{"csp-report":{"blocked-uri":"self","document-uri":"https://vote.example/","violated-directive":"script-src 'self' https://a.example"}}`
)

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		kind, body string
		want       []Violation
	}{
		"the Reporting API": {"application/reports+json", chromium, []Violation{
			{"script-src-elem", Elsewhere, "https://cdn.evil.example"}, {"style-src-attr", Inline, ""},
		}},
		"its predecessor": {"application/csp-report", firefox, []Violation{{"img-src", Elsewhere, "https://evil.example"}}},
		"the oldest":      {"application/csp-report; charset=utf-8", oldest, []Violation{{"script-src", Unclear, ""}}},
		"nothing":         {"application/reports+json", `[]`, nil},
	} {
		got, err := Read(c.kind, []byte(c.body))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		kind, body string
		want       error
	}{
		{"application/json", firefox, ErrType},
		{"text/plain", chromium, ErrType},
		{"", chromium, ErrType},
		{"application/csp-report", chromium, ErrMalformed},
		{"application/csp-report", `{}`, ErrMalformed},
		{"application/reports+json", firefox, ErrMalformed},
		{"application/reports+json", `[`, ErrMalformed},
	} {
		if got, err := Read(c.kind, []byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s %.20s: %v, %v", c.kind, c.body, got, err)
		}
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"type":"csp-violation","body":{}},`, 100), ",") + "]"
	if got, err := Read("application/reports+json", []byte(many)); err != nil || len(got) != atMost {
		t.Errorf("of a hundred %d are looked at, %v", len(got), err)
	}
}

func TestWhatWasForbidden(t *testing.T) {
	for blocked, want := range map[string]Violation{
		"inline":                               {Blocked: Inline},
		"eval":                                 {Blocked: Eval},
		"wasm-eval":                            {Blocked: Eval},
		"trusted-types-sink":                   {Blocked: TrustedTypes},
		"data":                                 {Blocked: Data},
		"data:text/html,secret":                {Blocked: Data},
		"blob:https://vote.example/secret":     {Blocked: Data},
		"chrome-extension":                     {Blocked: Extension},
		"moz-extension://secret/a.js":          {Blocked: Extension},
		"https://vote.example/assets/a.js":     {Blocked: Own},
		"https://VOTE.example/":                {Blocked: Own},
		"http://vote.example/":                 {Blocked: Elsewhere, Origin: "http://vote.example"},
		"https://user:secret@evil.example:81/": {Blocked: Elsewhere, Origin: "https://evil.example:81"},
		"wss://evil.example/socket?secret":     {Blocked: Elsewhere, Origin: "wss://evil.example"},
		"https://" + strings.Repeat("a", 300):  {Blocked: Unclear},
		"javascript:secret":                    {Blocked: Unclear},
		"://":                                  {Blocked: Unclear},
		"":                                     {Blocked: Unclear},
	} {
		want.Directive = "other"
		if got := violation("no-such-src", blocked, "https://vote.example/en/#x"); got != want {
			t.Errorf("%q: %+v, want %+v", blocked, got, want)
		}
	}
}

// FuzzRead: whatever is sent, what is kept is of a few kinds, and an origin is nothing more.
func FuzzRead(f *testing.F) {
	f.Add("application/reports+json", []byte(chromium))
	f.Add("application/csp-report", []byte(firefox))
	f.Add("application/csp-report", []byte(oldest))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		found, err := Read(kind, body)
		if err != nil && len(found) > 0 {
			t.Error("a report that can't be read says something")
		}
		for _, v := range found {
			if v.Directive != "other" && !slices.Contains(known, v.Directive) || (v.Origin != "") != (v.Blocked == Elsewhere) || len(v.Origin) > maxOrigin {
				t.Errorf("%+v", v)
			}
			if _, rest, _ := strings.Cut(v.Origin, "://"); strings.ContainsAny(rest, "/?#@") {
				t.Errorf("an origin is %q", v.Origin)
			}
			if _, err := json.Marshal(v); err != nil {
				t.Error(err)
			}
		}
	})
}
