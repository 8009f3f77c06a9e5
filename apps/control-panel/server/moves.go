package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// moves are the steps of a poll's life that need nothing but a decision.
var moves = []step{
	{verb: "open", to: poll.Open, two: true},
	{verb: "pause", to: poll.Paused},
	{verb: "resume", to: poll.Open},
	{verb: "close", to: poll.Closed, two: true},
	{verb: "publish", to: poll.Published, two: true},
}

type step struct {
	verb string
	to   poll.State
	// two operators are needed for it, where the configuration says so.
	two bool
}

// decision is what every change of a poll asks of the operator: the id typed, and a reason.
type decision struct {
	Confirm string `json:"confirm"`
	Reason  string `json:"reason"`
}

func (d decision) check(id string) error {
	if d.Confirm != id {
		return errConfirm.at("/confirm")
	}
	return checkReason(d.Reason)
}

func (s *Server) move(m step) gin.HandlerFunc {
	return func(c *gin.Context) {
		id := c.Param("poll")
		var body decision
		if err := s.decode(c, &body, smallBody); err != nil {
			s.fail(c, err)
			return
		}
		if err := body.check(id); err != nil {
			s.fail(c, err)
			return
		}
		if err := s.admin.Move(c, id, m.to, change(c, body.Reason)); err != nil {
			s.fail(c, err)
			return
		}
		s.log.InfoContext(c, "poll moved", slog.String("poll", id), slog.String("step", m.verb), slogActor(actor(c)))
		s.done(c, id)
	}
}

type extendRequest struct {
	decision
	ClosesAt time.Time `json:"closes_at"`
}

func (s *Server) extend(c *gin.Context) {
	id := c.Param("poll")
	var body extendRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	if err := body.check(id); err != nil {
		s.fail(c, err)
		return
	}
	if body.ClosesAt.IsZero() {
		s.fail(c, errField.at("/closes_at"))
		return
	}
	if err := s.admin.Extend(c, id, body.ClosesAt, change(c, body.Reason)); err != nil {
		s.fail(c, err)
		return
	}
	s.log.InfoContext(c, "poll extended", slog.String("poll", id), slog.Time("closes_at", body.ClosesAt), slogActor(actor(c)))
	s.done(c, id)
}

// doneView is what was done: the poll as it now is, and the audit entry that says so.
type doneView struct {
	Poll  *poll.Summary         `json:"poll"`
	Entry *ballotapi.AuditEntry `json:"entry"`
}

// done answers a change that was made. Failing to read it back must not look like a failed change,
// so what cannot be read is left out and the page reads it again.
func (s *Server) done(c *gin.Context, id string) {
	s.live.nudge()
	var view doneView
	var err error
	if view.Poll, err = s.summary(c, id); err != nil {
		s.log.WarnContext(c, "couldn't read back a changed poll", slog.String("poll", id), slog.Any("error", err))
	}
	entries, err := s.admin.Audit(c, id)
	if err != nil {
		s.log.WarnContext(c, "couldn't read back the audit trail", slog.String("poll", id), slog.Any("error", err))
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Actor == actor(c) {
			view.Entry = &entries[i]
			break
		}
	}
	c.JSON(http.StatusOK, view)
}
