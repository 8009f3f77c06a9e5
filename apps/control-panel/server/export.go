package server

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/results"
	"github.com/popvote/popvote/libs/tally"
)

type auditView struct {
	Entries []ballotapi.AuditEntry `json:"entries"`
	// Broken is the place, from 1, of the first entry that was changed or does not follow from the one
	// before; 0 while the chain is whole.
	Broken int64 `json:"broken"`
}

func (s *Server) showAudit(c *gin.Context) {
	id := c.Param("poll")
	entries, err := s.admin.Audit(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, auditView{some(entries), broken(id, entries)})
}

// broken finds the first entry that does not belong where it is. A chain with a bad entry is bad from
// there on, so that entry can be searched for.
func broken(id string, entries []ballotapi.AuditEntry) int64 {
	i := sort.Search(len(entries), func(i int) bool { return ballotapi.VerifyAudit(id, entries[:i+1]) != nil })
	if i == len(entries) {
		return 0
	}
	return int64(i + 1)
}

func (s *Server) auditCSV(c *gin.Context) {
	id := c.Param("poll")
	entries, err := s.admin.Audit(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	rows := [][]string{{"seq", "at", "actor", "action", "reason", "detail", "prev", "hash"}}
	for _, e := range entries {
		rows = append(rows, []string{
			strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339), e.Actor, e.Action,
			e.Reason, e.Detail, hex.EncodeToString(e.Prev), hex.EncodeToString(e.Hash),
		})
	}
	s.sendCSV(c, id+"-audit.csv", rows)
}

func (s *Server) turnoutCSV(c *gin.Context) {
	id := c.Param("poll")
	stats, err := s.admin.Stats(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	channels := slices.Sorted(maps.Keys(stats.ByChannel))
	head := []string{"minute"}
	for _, ch := range channels {
		head = append(head, string(ch))
	}
	rows := [][]string{head}
	for _, m := range stats.PerMinute {
		row := []string{m.Minute.UTC().Format(time.RFC3339)}
		for _, ch := range channels {
			row = append(row, strconv.FormatInt(m.ByChannel[ch], 10))
		}
		rows = append(rows, row)
	}
	s.sendCSV(c, id+"-turnout.csv", rows)
}

// resultView is the result beside the words it needs to be read.
type resultView struct {
	Result    tally.Result  `json:"result"`
	Manifest  poll.Manifest `json:"manifest"`
	Published bool          `json:"published"`
}

func (s *Server) result(c *gin.Context) (*resultView, error) {
	id := c.Param("poll")
	m, err := s.manifest(c, id)
	if err != nil {
		return nil, err
	}
	if m.State != poll.Counted && m.State != poll.Published {
		return nil, errNoResult
	}
	doc, err := s.admin.CountedResult(c, id)
	if err != nil {
		return nil, err
	}
	view := &resultView{Manifest: m, Published: m.State == poll.Published}
	if err := json.Unmarshal(doc.Plain, &view.Result); err != nil {
		return nil, fmt.Errorf("couldn't read the result of poll %s: %w", id, err)
	}
	return view, nil
}

func (s *Server) showResult(c *gin.Context) {
	view, err := s.result(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, view)
}

// resultJSON is the signed document itself, for whoever checks the signature.
func (s *Server) resultJSON(c *gin.Context) {
	id := c.Param("poll")
	doc, err := s.admin.CountedResult(c, id)
	if problem.From(err).Code == problem.ResultsNotPublished {
		err = errNoResult
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	attach(c, id+"-result.json", "application/json")
	c.JSON(http.StatusOK, doc)
}

func (s *Server) resultCSV(c *gin.Context) {
	view, err := s.result(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.sendCSV(c, view.Result.Poll+"-result.csv", results.Rows(&view.Manifest, &view.Result, c.Query("lang")))
}

// resultNIST is for programs that read elections; see docs/results.md.
func (s *Server) resultNIST(c *gin.Context) {
	view, err := s.result(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	attach(c, view.Result.Poll+"-result.nist.json", "application/json")
	if err := results.WriteNIST(c.Writer, &view.Manifest, &view.Result); err != nil {
		s.log.DebugContext(c, "download cut short", slog.Any("error", err)) // the client is gone
	}
}

// bundle sends the public bundle. Nothing is written until its first byte, so that a refusal can
// still be a problem; after that, a failure can only cut the download short, and does.
func (s *Server) bundle(c *gin.Context) {
	id := c.Param("poll")
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	attach(c, id+"-bundle.zip", "application/zip")
	if err := s.admin.Bundle(c, id, c.Writer); err != nil {
		if c.Writer.Written() {
			s.log.ErrorContext(c, "bundle cut short", slog.String("poll", id), slog.Any("error", err))
			panic(http.ErrAbortHandler) // the only way to tell a client that what it has is not whole
		}
		c.Writer.Header().Del("Content-Disposition")
		s.fail(c, err)
	}
}

func (s *Server) sendCSV(c *gin.Context, name string, rows [][]string) {
	attach(c, name, "text/csv; charset=utf-8")
	if err := results.WriteCSV(c.Writer, rows); err != nil {
		s.log.DebugContext(c, "download cut short", slog.Any("error", err)) // the client is gone
	}
}

func attach(c *gin.Context, name, kind string) {
	c.Header("Content-Type", kind)
	c.Header("Content-Disposition", `attachment; filename="`+safe(name)+`"`)
}

// safe leaves of a name what every file system and header takes.
func safe(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
