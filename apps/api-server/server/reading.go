package server

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/signed"
)

// reading is a public answer on its way out of the generated stub, which would decode and encode a
// signed document again: its bytes must stay as they were signed.
type reading struct {
	answer
	request *http.Request
}

func (r reading) VisitListPollsResponse(w http.ResponseWriter) error { return r.write(w, r.request) }

func (r reading) VisitGetPollResponse(w http.ResponseWriter) error { return r.write(w, r.request) }

func (r reading) VisitGetQueueResponse(w http.ResponseWriter) error { return r.write(w, r.request) }

func (r reading) VisitGetTurnoutResponse(w http.ResponseWriter) error { return r.write(w, r.request) }

func (r reading) VisitGetResultsResponse(w http.ResponseWriter) error { return r.write(w, r.request) }

func (r reading) VisitGetCheckpointResponse(w http.ResponseWriter) error {
	return r.write(w, r.request)
}

// ListPolls answers from memory.
func (a api) ListPolls(ctx context.Context, _ channelsapi.ListPollsRequestObject) (channelsapi.ListPollsResponseObject, error) {
	set := a.polls.snapshot()
	if set == nil {
		return nil, problem.New(problem.Unavailable).After(soon(time.Second))
	}
	return reading{set.list, routed(ctx).Request}, nil
}

// GetPoll answers from memory.
func (a api) GetPoll(ctx context.Context, r channelsapi.GetPollRequestObject) (channelsapi.GetPollResponseObject, error) {
	p, err := a.polls.get(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	return reading{p.document, routed(ctx).Request}, nil
}

// GetTurnout answers from memory for a second at a time.
func (a api) GetTurnout(ctx context.Context, r channelsapi.GetTurnoutRequestObject) (channelsapi.GetTurnoutResponseObject, error) {
	return a.document(ctx, r.Poll, "turnout", cacheBriefly, a.deps.Reader.Turnout)
}

// GetResults answers from memory for a second at a time.
func (a api) GetResults(ctx context.Context, r channelsapi.GetResultsRequestObject) (channelsapi.GetResultsResponseObject, error) {
	return a.document(ctx, r.Poll, "results", cacheMinute, a.deps.Reader.Result)
}

// document answers with one of a poll's signed documents.
func (s *Server) document(ctx context.Context, id, kind, cacheControl string, read func(context.Context, string) (signed.Document, error)) (reading, error) {
	if _, err := s.polls.get(ctx, id); err != nil {
		return reading{}, err
	}
	found, err := s.answers.get(ctx, kind+" "+id, time.Second, func(ctx context.Context) (answer, error) {
		document, err := read(ctx, id)
		if err != nil {
			return answer{}, err
		}
		return signedAnswer(document, cacheControl)
	})
	return reading{found, routed(ctx).Request}, err
}

// GetCheckpoint answers from memory for a second at a time.
func (a api) GetCheckpoint(ctx context.Context, r channelsapi.GetCheckpointRequestObject) (channelsapi.GetCheckpointResponseObject, error) {
	if _, err := a.polls.get(ctx, r.Poll); err != nil {
		return nil, err
	}
	found, err := a.checkpoint(ctx, r.Poll, time.Second)
	if err != nil {
		return nil, err
	}
	return reading{found, routed(ctx).Request}, nil
}

// checkpointAtMost is how soon a checkpoint is asked for again for a tile that the last one has not: tiles
// of no log cost ten calls a second, however many want them.
const checkpointAtMost = 100 * time.Millisecond

// checkpoint is at most so old.
func (s *Server) checkpoint(ctx context.Context, id string, age time.Duration) (answer, error) {
	return s.answers.get(ctx, "checkpoint "+id, age, func(ctx context.Context) (answer, error) {
		note, err := s.deps.Reader.Checkpoint(ctx, id)
		if err != nil {
			return answer{}, err
		}
		return newAnswer("text/plain; charset=utf-8", note, cacheBriefly), nil
	})
}

// getTile serves the log's tiles. Its path holds slashes, so it is routed by hand.
func (s *Server) getTile(c *gin.Context) {
	ctx, id, path := c.Request.Context(), c.Param("poll"), strings.TrimPrefix(c.Param("tile"), "/")
	t, ok := parseTile(path)
	if !ok {
		s.fail(c, errNotFound)
		return
	}
	if _, err := s.polls.get(ctx, id); err != nil {
		s.fail(c, err)
		return
	}
	if err := s.limit(c, ratelimit.Download, ratelimit.Subject{Client: client(c), Poll: id}); err != nil {
		s.fail(c, err)
		return
	}
	// What the log cannot hold yet is refused here: made-up tiles cost the ballot server nothing.
	note, err := s.checkpoint(ctx, id, time.Second)
	if err == nil && !t.within(logSize(note.plain.body)) {
		// Another API server may have shown a newer checkpoint a moment ago.
		note, err = s.checkpoint(ctx, id, checkpointAtMost)
	}
	if err == nil && !t.within(logSize(note.plain.body)) {
		err = errNotFound
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	found, err := s.tile(ctx, id, path)
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := found.write(c.Writer, c.Request); err != nil {
		s.failWriting(c, err)
	}
}

// tile answers from memory: tiles never change.
func (s *Server) tile(ctx context.Context, id, path string) (answer, error) {
	return s.answers.get(ctx, "tile "+id+" "+path, time.Hour, func(ctx context.Context) (answer, error) {
		tile, err := s.deps.Reader.Tile(ctx, id, path)
		if err != nil {
			return answer{}, err
		}
		return newAnswer("application/octet-stream", tile, cacheForever), nil
	})
}

// tile is a place in the log (C2SP tlog-tiles): width hashes, from the index-th 256 of a level.
type tile struct{ level, index, width uint64 }

// parseTile reads "<level>/<index>[.p/<width>]".
func parseTile(path string) (t tile, ok bool) {
	level, rest, ok := strings.Cut(path, "/")
	if !ok || len(path) > 64 {
		return t, false
	}
	if t.level, ok = decimal(level, 63); !ok {
		return t, false
	}
	rest, width, partial := strings.Cut(rest, ".p/")
	t.width = 256
	if partial {
		if t.width, ok = decimal(width, 255); !ok || t.width == 0 {
			return t, false
		}
	}
	groups := strings.Split(rest, "/")
	if len(groups) > 5 { // 10^15 tiles are enough
		return t, false
	}
	for i, group := range groups {
		digits, more := strings.CutPrefix(group, "x")
		if more == (i == len(groups)-1) || len(digits) != 3 || strings.Trim(digits, "0123456789") != "" {
			return t, false
		}
		if i == 0 && len(groups) > 1 && digits == "000" {
			return t, false
		}
		n, _ := strconv.ParseUint(digits, 10, 64)
		t.index = t.index*1000 + n
	}
	return t, true
}

// decimal reads a number without sign or leading zeros, of at most top.
func decimal(s string, top uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return n, err == nil && n <= top && strconv.FormatUint(n, 10) == s
}

// within reports whether a log of so many leaves holds the whole tile.
func (t tile) within(size uint64) bool {
	for range t.level {
		size /= 256
	}
	return t.index <= size/256 && t.index*256+t.width <= size
}

// logSize reads the second line of a checkpoint; 0 if it is not one.
func logSize(note []byte) uint64 {
	_, rest, _ := strings.Cut(string(note), "\n")
	line, _, _ := strings.Cut(rest, "\n")
	size, err := strconv.ParseUint(line, 10, 63)
	if err != nil {
		return 0
	}
	return size
}

// GetBundle streams the public bundle of a published poll.
func (a api) GetBundle(ctx context.Context, r channelsapi.GetBundleRequestObject) (channelsapi.GetBundleResponseObject, error) {
	p, err := a.polls.get(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	if p.manifest.State != poll.Published {
		return nil, problem.New(problem.ResultsNotPublished)
	}
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Download, ratelimit.Subject{Client: client(c), Poll: r.Poll}); err != nil {
		return nil, err
	}
	return bundle{a.Server, c.Request, r.Poll}, nil
}

type bundle struct {
	server  *Server
	request *http.Request
	poll    string
}

// VisitGetBundleResponse streams; an error before the first byte is still a problem.
func (b bundle) VisitGetBundleResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="`+b.poll+`.zip"`)
	h.Set("Cache-Control", cacheMinute)
	err := b.server.deps.Reader.Bundle(b.request.Context(), b.poll, patient{w, http.NewResponseController(w), b.server.clock})
	if err != nil {
		h.Del("Content-Disposition")
	}
	return err
}

// patient is a writer whose deadline moves with what the client takes: a slow reader of a large
// file is served, one who stopped is not.
type patient struct {
	w       io.Writer
	control *http.ResponseController
	clock   func() time.Time
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(p.clock().Add(30 * time.Second)) // not every writer has deadlines
	return p.w.Write(b)
}
