package server

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/api-server/csp"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

const (
	// maxReport is the longest report that is read, bytes. Browsers put a minute's together, each with the whole policy.
	maxReport = 32 << 10
	// reportLine is how often the log tells of violations: whoever invents them must not fill it.
	reportLine = time.Minute
)

// reports tells the log of violations, now and then.
type reports struct {
	mu    sync.Mutex // guards the rest
	said  time.Time
	since int // violations that were not said
}

// due counts a violation, and says whether the log is to hear of it, and of how many before it that it didn't.
func (r *reports) due(now time.Time) (unsaid int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.said.IsZero() && now.Sub(r.said) < reportLine {
		r.since++
		return 0, false
	}
	unsaid, r.said, r.since = r.since, now, 0
	return unsaid, true
}

// takeReport counts what a page's policy forbade in somebody's browser. It is no operation of the API: browsers decide
// what they send. Nothing is kept of who sends it, or of the page it was on.
func (s *Server) takeReport(c *gin.Context) {
	if err := s.limit(c, ratelimit.Report, ratelimit.Subject{Client: client(c)}); err != nil {
		s.fail(c, err)
		return
	}
	if n := c.Request.ContentLength; n < 0 || n > maxReport {
		s.fail(c, errBodyTooLarge.Because("A report has 32 kB at most."))
		return
	}
	body, err := slurp(c.Request.Body, c.Request.ContentLength)
	if err != nil {
		s.fail(c, problem.Wrap(problem.MalformedJSON, err).Because("The body ended early."))
		return
	}
	found, err := csp.Read(c.GetHeader("Content-Type"), body)
	switch {
	case errors.Is(err, csp.ErrType) || c.GetHeader("Content-Encoding") != "":
		s.fail(c, errContentType.Because("Want application/reports+json or application/csp-report, and no Content-Encoding."))
		return
	case err != nil:
		s.fail(c, problem.Wrap(problem.MalformedJSON, err))
		return
	}
	for _, v := range found {
		s.metrics.violations.WithLabelValues(v.Directive, string(v.Blocked)).Inc()
		if unsaid, due := s.reports.due(s.clock()); due {
			s.log.LogAttrs(c.Request.Context(), slog.LevelWarn, "a browser reports that a page's policy forbade something",
				slog.String("directive", v.Directive), slog.String("blocked", string(v.Blocked)), slog.String("origin", v.Origin), slog.Int("others_since_last", unsaid))
		}
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
}
