package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// overviewView is the first screen before anything moves.
type overviewView struct {
	Now   time.Time      `json:"now"`
	Polls []poll.Summary `json:"polls"`
	Parts []Part         `json:"parts"`
	// Notice is the number of the newest notice; 0 if there is none.
	Notice int64 `json:"notice"`
}

func (s *Server) overview(c *gin.Context) {
	polls, err := s.admin.AllPolls(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, overviewView{s.clock(), some(polls), s.allParts(c), s.book.State().NewestNotice()})
}

// pollView is one poll whole: its manifest, and what an operator would edit.
type pollView struct {
	Now        time.Time        `json:"now"`
	Manifest   poll.Manifest    `json:"manifest"`
	Definition poll.Definition  `json:"definition"`
	Stats      *ballotapi.Stats `json:"stats"`
	Counting   bool             `json:"counting"`
	// IdentityKey is of no draft.
	IdentityKey *identityKeyView `json:"identity_key,omitempty"`
}

func (s *Server) showPoll(c *gin.Context) {
	id := c.Param("poll")
	m, err := s.manifest(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	view := pollView{Now: s.clock(), Manifest: m, Definition: *m.Definition(), Counting: s.counting(id)}
	stats, err := s.admin.Stats(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	view.Stats = &stats
	if view.IdentityKey, err = s.identityKey(c, &view.Manifest); err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, view)
}

func (s *Server) showStats(c *gin.Context) {
	stats, err := s.admin.Stats(c, c.Param("poll"))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, stats)
}

// manifest reads a poll's manifest. The ballot server is on our side of the wire (in this process,
// or behind mutual TLS), so its plain copy is as good as the signed one.
func (s *Server) manifest(ctx context.Context, id string) (poll.Manifest, error) {
	doc, err := s.admin.Manifest(ctx, id)
	if err != nil {
		return poll.Manifest{}, err
	}
	var m poll.Manifest
	if err := json.Unmarshal(doc.Plain, &m); err != nil {
		return poll.Manifest{}, fmt.Errorf("couldn't read the manifest of poll %s: %w", id, err)
	}
	return m, nil
}

// draftRequest is a poll as an operator gives it: a poll file's text, or a definition from the form.
type draftRequest struct {
	File       *pollFile        `json:"file,omitempty"`
	Definition *poll.Definition `json:"definition,omitempty"`
	// TallyKey is the trustees' public key, for a file that came without one.
	TallyKey *poll.JWK `json:"tally_key,omitempty"`
}

type pollFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// read returns the definition, with all that is wrong with it at once: a mistake in a file comes
// with its line and column, one from the form with its path.
func (r draftRequest) read() (*poll.Definition, error) {
	var d *poll.Definition
	switch {
	case r.File != nil && r.Definition == nil:
		var err error
		d, err = r.parse()
		if bad, ok := errors.AsType[*poll.FileError](err); ok {
			t := errPollFile.with(bad.Faults)
			t.Line, t.Column = bad.Line, bad.Column
			return nil, t
		}
		if err != nil {
			return nil, errPollFile
		}
	case r.Definition != nil && r.File == nil:
		d = r.Definition
		d.SetDefaults()
	default:
		return nil, errField.because("Give either a file or a definition.")
	}
	if r.TallyKey != nil {
		d.TallyKey = *r.TallyKey
	}
	if err := d.Validate(); err != nil {
		if faults, ok := errors.AsType[poll.Faults](err); ok {
			return nil, errDraft.with(faults)
		}
		return nil, err
	}
	return d, nil
}

// parse reads the file. A key given beside a file that lacks one stands in the file's last line, where
// the parser looks for it.
func (r draftRequest) parse() (*poll.Definition, error) {
	text := r.File.Text
	d, err := poll.Parse(r.File.Name, []byte(text))
	bad, ok := errors.AsType[*poll.FileError](err)
	if !ok || r.TallyKey == nil || len(bad.Faults) != 1 || bad.Faults[0].Path != "tally_key" {
		return d, err
	}
	key, err := json.Marshal(r.TallyKey)
	if err != nil {
		return nil, err
	}
	return poll.Parse(r.File.Name, fmt.Appendf([]byte(text), "\ntally_key: %s\n", key))
}

type draftView struct {
	Definition poll.Definition `json:"definition"`
	// Existing is the poll with this id, if there is one.
	Existing *poll.Summary `json:"existing"`
}

// checkDraft reads a draft and stores nothing: the page previews what comes back.
func (s *Server) checkDraft(c *gin.Context) {
	var body draftRequest
	if err := s.decode(c, &body, largeBody); err != nil {
		s.fail(c, err)
		return
	}
	d, err := body.read()
	if err != nil {
		s.fail(c, err)
		return
	}
	existing, err := s.summary(c, d.ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, draftView{*d, existing})
}

type saveRequest struct {
	draftRequest
	Reason string `json:"reason"`
	// Replace says that a draft with this id is meant to be replaced; without it, it is kept.
	Replace bool `json:"replace"`
}

func (s *Server) saveDraft(c *gin.Context) {
	var body saveRequest
	if err := s.decode(c, &body, largeBody); err != nil {
		s.fail(c, err)
		return
	}
	if err := checkReason(body.Reason); err != nil {
		s.fail(c, err)
		return
	}
	d, err := body.read()
	if err != nil {
		s.fail(c, err)
		return
	}
	existing, err := s.summary(c, d.ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	if existing != nil && !body.Replace {
		t := *errExists
		t.State = string(existing.State)
		s.fail(c, &t)
		return
	}
	if err := s.admin.Apply(c, *d, change(c, body.Reason)); err != nil {
		s.fail(c, err)
		return
	}
	s.done(c, d.ID)
}

// summary finds a poll among all, nil if there is none.
func (s *Server) summary(ctx context.Context, id string) (*poll.Summary, error) {
	polls, err := s.admin.AllPolls(ctx)
	if err != nil {
		return nil, err
	}
	for i := range polls {
		if polls[i].ID == id {
			return &polls[i], nil
		}
	}
	return nil, nil
}

func checkReason(reason string) error {
	if n := utf8.RuneCountInString(reason); n < 3 || n > 500 {
		return errReason.at("/reason")
	}
	return nil
}

// some makes an empty list of nil, which JSON would show as null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
