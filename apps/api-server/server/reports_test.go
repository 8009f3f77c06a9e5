package server

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/csp"
	"github.com/popvote/popvote/libs/ratelimit"
)

// A report as browsers send it, with things in it that are nobody's business.
const violated = `{"csp-report":{"document-uri":"https://vote.example/en/?poll=secret-poll#secret","referrer":"https://secret.example/","blocked-uri":` +
	`"https://evil.example/x.js?token=secret","effective-directive":"script-src-elem","violated-directive":"script-src-elem","source-file":"secret","script-sample":"secret"}}`

// report sends one, beside the page.
func (w *world) report(s *Server, body, kind string, options ...option) *httptest.ResponseRecorder {
	r := w.request("POST", csp.Path, body, append([]option{with("Content-Type", kind)}, options...)...)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return rec
}

// TestAViolationIsCounted, as every browser sends it, and nothing of it is kept but what was forbidden.
func TestAViolationIsCounted(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	deps := w.server.deps
	deps.Metrics = registry
	deps.Page = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the page") })
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.log.Reset()

	const older, newer = "application/csp-report", "application/reports+json"
	for name, options := range map[string][]option{
		"without an origin":            nil,
		"with its origin":              {with("Origin", "https://vote.example"), with("Sec-Fetch-Site", "same-origin")},
		"of a page without a referrer": {with("Origin", "null"), with("Sec-Fetch-Site", "same-origin")},
	} {
		if got := w.report(s, violated, older, options...); got.Code != http.StatusNoContent {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := w.report(s, `[{"type":"csp-violation","body":{"blockedURL":"inline","effectiveDirective":"style-src-attr"}}]`, newer); got.Code != http.StatusNoContent {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "popvote_api_csp_violations_total" {
			for _, m := range f.GetMetric() {
				counted[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"elsewhere script-src-elem": 3, "inline style-src-attr": 1}; !maps.Equal(counted, want) {
		t.Errorf("counted are %v, want %v", counted, want)
	}

	said := w.log.String()
	if strings.Count(said, "policy forbade") != 1 || !strings.Contains(said, "https://evil.example ") || strings.Contains(said, "secret") || strings.Contains(said, "192.0.2.7") {
		t.Errorf("the log says %s", said)
	}
	w.clock.advance(reportLine)
	w.report(s, violated, older)
	if said := w.log.String(); strings.Count(said, "policy forbade") != 2 || !strings.Contains(said, "others_since_last=3") {
		t.Errorf("after a while the log says %s", said)
	}

	for name, c := range map[string]struct {
		body, kind string
		options    []option
		status     int
	}{
		"from another site":           {violated, older, []option{with("Sec-Fetch-Site", "cross-site")}, 403},
		"JSON of another kind":        {violated, "application/json", nil, 415},
		"compressed":                  {violated, older, []option{with("Content-Encoding", "gzip")}, 415},
		"no JSON":                     {"secret", older, nil, 400},
		"too long":                    {strings.Repeat(" ", maxReport+1), older, nil, 413},
		"shorter than it says":        {violated, older, []option{func(r *http.Request) { r.ContentLength += 5 }}, 400},
		"in chunks":                   {violated, older, []option{chunked}, 411},
		"in the place of a page":      {"", older, []option{func(r *http.Request) { r.Method = "GET" }}, 405},
		"of a length that isn't said": {violated, older, []option{func(r *http.Request) { r.ContentLength = -1 }}, 413},
	} {
		if got := w.report(s, c.body, c.kind, c.options...); got.Code != c.status || got.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", name, got.Code, got.Body, c.status)
		}
	}
}

func TestReportsAreLimited(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"report-network": {Count: 2, Window: time.Hour}}}
	})
	for i, want := range []int{204, 204, 429} {
		if got := w.report(w.server, violated, "application/csp-report"); got.Code != want {
			t.Errorf("report %d: %d, want %d", i+1, got.Code, want)
		}
	}
	if got := w.report(w.server, violated, "application/csp-report", func(r *http.Request) { r.RemoteAddr = "198.51.100.1:1" }); got.Code != http.StatusNoContent {
		t.Errorf("from another network: %d", got.Code)
	}
}

// TestThePlainPagesSayWhereToReport as the voter's page does.
func TestThePlainPagesSayWhereToReport(t *testing.T) {
	w := newWorld(t)
	h := w.browser().get(fmt.Sprintf("/plain/en/%s/who", sends)).page.header
	if !strings.HasSuffix(h.Get("Content-Security-Policy"), "; report-uri /reports; report-to csp") || h.Get("Reporting-Endpoints") != `csp="/reports"` {
		t.Errorf("%v", h)
	}
}
