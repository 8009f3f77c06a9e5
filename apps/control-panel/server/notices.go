package server

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/control-panel/operators"
)

// deviceMost is how long a browser is known; browsers keep no cookie longer than 400 days.
const deviceMost = 400 * 24 * time.Hour

// device returns the name that a browser is known by, and what the operators' chain knows it by: a hash. A browser
// without a name is given one.
func (s *Server) device(c *gin.Context) (name, hash string) {
	if cookie, err := c.Request.Cookie(s.sessions.cookie + "_device"); err == nil && len(cookie.Value) == 43 {
		name = cookie.Value
	} else {
		name = operators.Secret()
	}
	sum := sha256.Sum256([]byte("device " + name))
	return name, base64.RawURLEncoding.EncodeToString(sum[:16])
}

// rememberDevice lets the browser know its name. It opens nothing.
func (s *Server) rememberDevice(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{
		Name: s.sessions.cookie + "_device", Value: name, Path: "/", HttpOnly: true,
		Secure: strings.HasPrefix(s.origin, "https:"), SameSite: http.SameSiteStrictMode, MaxAge: int(deviceMost / time.Second),
	})
}

type noticesView struct {
	// Seen is the number of the last notice that this operator has seen.
	Seen    int64        `json:"seen"`
	Notices []noticeView `json:"notices"` // the newest first
}

type noticeView struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Name   string    `json:"name,omitempty"`
	Label  string    `json:"label,omitempty"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Poll   string    `json:"poll,omitempty"`
	Verb   string    `json:"verb,omitempty"`
	Times  int       `json:"times,omitempty"`
}

func (s *Server) listNotices(c *gin.Context) {
	state, err := s.book.Read(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	view := noticesView{Seen: s.seen(operator(c), state), Notices: []noticeView{}}
	for _, n := range slices.Backward(state.Notices()) {
		view.Notices = append(view.Notices, noticeView{n.Seq, n.At, n.Kind, n.Name, n.Label, n.By, n.Reason, n.Poll, n.Verb, n.Times})
	}
	c.JSON(http.StatusOK, view)
}

// seen is how far an operator has seen the notices; one without an account, in this session.
func (s *Server) seen(in *session, state *operators.State) int64 {
	if in.account != "" {
		return state.Seen(in.account)
	}
	return s.sessions.seenBy(in)
}

type seenRequest struct {
	UpTo int64 `json:"up_to"`
}

func (s *Server) seeNotices(c *gin.Context) {
	var body seenRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	state, in := s.book.State(), operator(c)
	newest := state.NewestNotice()
	if body.UpTo < 0 || body.UpTo > newest {
		s.fail(c, errField.at("/up_to"))
		return
	}
	if in.account == "" {
		s.sessions.see(in, body.UpTo)
		c.Status(http.StatusNoContent)
		return
	}
	if body.UpTo > state.Seen(in.account) {
		err := s.book.Write(c, func(*operators.State) (*operators.Entry, error) {
			return &operators.Entry{Actor: in.actor, Action: operators.NoticesSeen, Detail: operators.Detail{Account: in.account, UpTo: body.UpTo}}, nil
		})
		if err != nil {
			s.fail(c, err)
			return
		}
	}
	c.Status(http.StatusNoContent)
}
