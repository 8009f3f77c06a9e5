package server

import (
	"encoding/json"
	"errors"
	"html"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

var (
	errNotFound         = problem.New(problem.NotFound)
	errMethodNotAllowed = problem.New(problem.MethodNotAllowed)
)

// withVerification is a problem that also says where the voter stands with their code.
type withVerification struct {
	problem      *problem.Error
	verification channelsapi.Verification
}

func (e *withVerification) Error() string { return e.problem.Error() }
func (e *withVerification) Unwrap() error { return e.problem }

// withPlace is a problem that leaves a place in the waiting room.
type withPlace struct {
	problem error
	place   channelsapi.WaitingRoom
}

func (e *withPlace) Error() string { return e.problem.Error() }
func (e *withPlace) Unwrap() error { return e.problem }

// soon is a delay with jitter, so that those who were turned away together do not come back together.
func soon(d time.Duration) time.Duration { return d + rand.N(d) }

// writeProblem is the only place where a problem becomes an answer (RFC 9457).
func writeProblem(w http.ResponseWriter, err error) problem.Row {
	row, body := problem.From(err).Row(), documentOf(err)
	h := w.Header()
	if body.RetryAfter != nil {
		h.Set("Retry-After", strconv.Itoa(*body.RetryAfter))
	}
	if row.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	text, marshalErr := json.Marshal(body)
	if marshalErr != nil { // strings and numbers only: cannot happen
		w.WriteHeader(http.StatusInternalServerError)
		return row
	}
	w.WriteHeader(row.Status)
	_, _ = w.Write(append(text, '\n'))
	return row
}

// documentOf is a problem as clients read it: only what the table and the handler meant for them is in it; causes
// stay behind.
func documentOf(err error) channelsapi.Problem {
	p := problem.From(err)
	row := p.Row()
	body := channelsapi.Problem{
		Type:   "/problems/" + string(row.Code),
		Title:  row.Title,
		Status: row.Status,
		Code:   channelsapi.ProblemCode(row.Code),
		Effect: channelsapi.ProblemEffect(row.Effect),
	}
	if p.Detail != "" {
		body.Detail = &p.Detail
	}
	if p.Field != "" {
		body.Field = &p.Field
	}
	if v, ok := errors.AsType[*withVerification](err); ok {
		body.Verification = &v.verification
	}
	if v, ok := errors.AsType[*withPlace](err); ok {
		body.WaitingRoom = &v.place
	}
	if p.RetryAfter > 0 {
		seconds := waitSeconds(p.RetryAfter)
		body.RetryAfter = &seconds
	}
	return body
}

// fail answers with a problem and ends the request.
func (s *Server) fail(c *gin.Context, err error) {
	c.Abort()
	if c.Writer.Written() {
		return
	}
	row := writeProblem(c.Writer, err)
	s.metrics.problems.WithLabelValues(string(row.Code)).Inc()
	if c.Request.Context().Err() != nil {
		return // nobody is listening; the error is most likely about that
	}
	level := slog.LevelDebug
	switch row.Code {
	case problem.Internal:
		level = slog.LevelError
	case problem.OutcomeUnknown, problem.SMSUnavailable, problem.Unavailable:
		level = slog.LevelWarn
	}
	s.log.LogAttrs(c.Request.Context(), level, "a request failed",
		slog.String("route", c.FullPath()), slog.String("code", string(row.Code)), slog.Any("error", err))
}

// failBinding is for a body that passed the strict reader and still did not fit; it has no known way
// to happen, and says nothing of the decoder's own words.
func (s *Server) failBinding(c *gin.Context, err error) {
	s.fail(c, problem.Wrap(problem.MalformedJSON, err))
}

// failParameter is for a path or header parameter that could not be read. Idempotency-Key is the
// only one of the API with a form to get wrong before a handler sees it: it came twice.
func (s *Server) failParameter(c *gin.Context, err error, _ int) {
	if c.FullPath() == "/v1/ballots" {
		s.fail(c, problem.Wrap(problem.IdempotencyKeyInvalid, err))
		return
	}
	s.fail(c, problem.Wrap(problem.NotFound, err))
}

// failWriting is for an answer that broke off. If nothing was sent it can still be a problem; if
// something was, the connection is cut, so that the client does not take a part for the whole.
func (s *Server) failWriting(c *gin.Context, err error) {
	if !c.Writer.Written() {
		s.fail(c, err)
		return
	}
	s.log.LogAttrs(c.Request.Context(), slog.LevelDebug, "an answer broke off",
		slog.String("route", c.FullPath()), slog.Any("error", err))
	panic(http.ErrAbortHandler)
}

// recoverPanics turns a bug into an internal problem, once, with its stack in the log.
func (s *Server) recoverPanics(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // panics with this very value
			panic(v)
		}
		s.log.LogAttrs(c.Request.Context(), slog.LevelError, "a handler panicked",
			slog.String("route", c.FullPath()), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		s.fail(c, problem.New(problem.Internal))
	}()
	c.Next()
}

// problemPage is the page behind a problem's type: the row of the table, for people.
func (s *Server) problemPage(c *gin.Context) {
	row := problem.Lookup(problem.Code(c.Param("code")))
	if string(row.Code) != c.Param("code") {
		s.fail(c, errNotFound)
		return
	}
	var b strings.Builder
	pageHead(&b, row.Title)
	b.WriteString("<dl>\n")
	for _, line := range [][2]string{
		{"Code", string(row.Code)},
		{"Status", strconv.Itoa(row.Status) + " " + http.StatusText(row.Status)},
		{"Effect", effects[row.Effect]},
		{"What to do", row.Advice},
	} {
		b.WriteString("<dt>" + line[0] + "</dt><dd>" + html.EscapeString(line[1]) + "</dd>\n")
	}
	b.WriteString("</dl>\n<p><a href=\"/problems/\">All problems</a></p>\n")
	writePage(c, b.String())
}

var effects = map[problem.Effect]string{
	problem.Applied:    "applied: what was asked for was done",
	problem.NotApplied: "not_applied: nothing was recorded",
	problem.Unknown:    "unknown: it may have been done; ask again with the same Idempotency-Key",
}

// problemIndex lists every problem of the API.
func (s *Server) problemIndex(c *gin.Context) {
	var b strings.Builder
	pageHead(&b, "Problems of the Public Channels API")
	b.WriteString("<ul>\n")
	for _, row := range problem.Table {
		b.WriteString("<li><a href=\"/problems/" + string(row.Code) + "\">" + string(row.Code) + "</a> (" + strconv.Itoa(row.Status) + "): " + html.EscapeString(row.Title) + "</li>\n")
	}
	b.WriteString("</ul>\n")
	writePage(c, b.String())
}

func pageHead(b *strings.Builder, title string) {
	title = html.EscapeString(title)
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
		title + " - PopVote</title>\n<h1>" + title + "</h1>\n")
}

func writePage(c *gin.Context, page string) {
	c.Header("Cache-Control", "public, max-age=3600")
	c.Header("Cross-Origin-Opener-Policy", "same-origin")
	c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(page))
}

// waitSeconds rounds a wait up: who waits that long has waited long enough.
func waitSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// leftSeconds rounds a remaining time down: who hurries that much is in time.
func leftSeconds(d time.Duration) int { return max(0, int(d/time.Second)) }
