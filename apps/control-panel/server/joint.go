package server

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/libs/strictjson"
)

// proposalTime is how long a proposal waits for a second operator.
const proposalTime = time.Hour

// jointly keeps what one operator wants as a proposal, where the configuration asks for two: another one's confirmation
// does it. It comes after the proof, and what is proposed has the form of what will be done.
func (s *Server) jointly(verb string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if s.needed < 2 {
			return
		}
		in, id := operator(c), c.Param("poll")
		if in.account == "" {
			s.fail(c, errPasskeyAsked)
			return
		}
		var raw json.RawMessage
		if err := s.decode(c, &raw, smallBody); err != nil {
			s.fail(c, err)
			return
		}
		var d decision
		var err error
		if verb == "extend" {
			var e extendRequest
			if err = strictjson.Decode(raw, &e); err == nil && e.ClosesAt.IsZero() {
				err = errField.at("/closes_at")
			}
			d = e.decision
		} else {
			err = strictjson.Decode(raw, &d)
		}
		if err == nil {
			err = d.check(id)
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		until := s.clock().Add(proposalTime).UTC()
		detail := operators.Detail{Proposal: operators.Secret()[:22], Account: in.account, Name: in.actor, Poll: id, Verb: verb, Body: raw, Until: &until}
		err = s.book.Write(c, func(*operators.State) (*operators.Entry, error) {
			return &operators.Entry{Actor: in.actor, Action: operators.Proposed, Reason: d.Reason, Detail: detail}, nil
		})
		if err != nil {
			s.fail(c, err)
			return
		}
		s.log.InfoContext(c, "proposed", slog.String("poll", id), slog.String("step", verb), slogActor(in.actor))
		p, _ := s.book.State().Proposal(detail.Proposal, s.clock())
		c.JSON(http.StatusAccepted, gin.H{"proposal": proposalOf(p, in)})
		c.Abort()
	}
}

type proposalView struct {
	ID     string    `json:"id"`
	Poll   string    `json:"poll"`
	Verb   string    `json:"verb"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until"`
	// Mine says that it takes another operator than the one who asks.
	Mine bool `json:"mine"`
	// ClosesAt is of an extension.
	ClosesAt *time.Time `json:"closes_at,omitempty"`
}

func proposalOf(p operators.Proposal, in *session) proposalView {
	view := proposalView{p.ID, p.Poll, p.Verb, p.Name, p.Reason, p.At, p.Until, p.Account == in.account, nil}
	var e extendRequest
	if p.Verb == "extend" && json.Unmarshal(p.Body, &e) == nil {
		view.ClosesAt = &e.ClosesAt
	}
	return view
}

func (s *Server) listProposals(c *gin.Context) {
	state, err := s.book.Read(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	list := []proposalView{}
	for _, p := range state.Proposals(s.clock()) {
		list = append(list, proposalOf(p, operator(c)))
	}
	c.JSON(http.StatusOK, gin.H{"proposals": list})
}

type proposalRequest struct {
	// decision's confirm is the poll's id, as for any act.
	decision

	Proposal string `json:"proposal"`
}

// endProposal takes a proposal off the list: for good, or to do it now.
func (s *Server) endProposal(c *gin.Context, action string) (p operators.Proposal, ok bool) {
	var body proposalRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return p, false
	}
	in := operator(c)
	err := s.book.Write(c, func(state *operators.State) (*operators.Entry, error) {
		var found bool
		if p, found = state.Proposal(body.Proposal, s.clock()); !found {
			return nil, errNoProposal
		}
		if err := body.check(p.Poll); err != nil {
			return nil, err
		}
		if action == operators.ProposalConfirmed && (in.account == "" || p.Account == in.account) {
			return nil, errSecondNeeded
		}
		return &operators.Entry{Actor: in.actor, Action: action, Reason: body.Reason, Detail: operators.Detail{
			Proposal: p.ID, Account: in.account, Name: p.Name, Poll: p.Poll, Verb: p.Verb,
		}}, nil
	})
	if err != nil {
		s.fail(c, err)
		return p, false
	}
	s.log.InfoContext(c, "proposal ended", slog.String("how", action), slog.String("poll", p.Poll), slog.String("step", p.Verb), slogActor(in.actor), slog.String("proposed_by", p.Name))
	return p, true
}

// confirmProposal does what another operator has proposed. The poll's chain names both.
func (s *Server) confirmProposal(c *gin.Context) {
	p, ok := s.endProposal(c, operators.ProposalConfirmed)
	if !ok {
		return
	}
	c.Params = gin.Params{{Key: "poll", Value: p.Poll}}
	c.Set(bothKey, p.Name+" + "+operator(c).actor)
	c.Request.Body = io.NopCloser(bytes.NewReader(p.Body))
	s.joint[p.Verb](c)
}

func (s *Server) withdrawProposal(c *gin.Context) {
	if _, ok := s.endProposal(c, operators.ProposalWithdrawn); ok {
		c.Status(http.StatusNoContent)
	}
}

// bothKey is where the names of two operators are who do something together.
const bothKey = "both"

// actor is who does something: one operator, or two.
func actor(c *gin.Context) string {
	if both := c.GetString(bothKey); both != "" {
		return both
	}
	return operator(c).actor
}
