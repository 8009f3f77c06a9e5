package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/libs/ballotapi"
)

// sessions are the operators who are logged in, and the one link that logs somebody in while nobody has a
// passkey. Only hashes are kept, so that a dump of memory logs nobody in. They do not outlive the process: a
// restarted panel prints a new link, or asks for a passkey.
type sessions struct {
	clock               func() time.Time
	linkTTL, idle, most time.Duration
	cookie              string

	mu   sync.Mutex
	link struct {
		hash  [32]byte
		until time.Time
		valid bool
	}
	byHash map[[32]byte]*session
}

// session is one browser that is logged in.
type session struct {
	hash  [32]byte
	since time.Time
	who

	// These are sessions.mu's.
	seen    time.Time
	noticed int64 // how far the notices were seen, of a session without an account
	ended   bool
}

// who is what a session was begun with. It does not change: whoever gets more gets another session.
type who struct {
	// actor is the account's name; of a session without one, a name of the session's own.
	actor string
	// account and passkey are what it was begun with; empty where a link was enough.
	account, passkey string
	// enrols is a session that may register a passkey, and nothing else; named is the account it is for, if that
	// is said already.
	enrols bool
	named  string
}

// enrolMost is how long a session that may only register a passkey lasts.
const enrolMost = 30 * time.Minute

// maxSessions bounds memory; a link makes one session, so nobody comes near it by accident.
const maxSessions = 1000

func newSessions(config Config, clock func() time.Time) *sessions {
	cookie := "popvote_panel"
	if strings.HasPrefix(config.PublicOrigin, "https:") {
		cookie = "__Host-" + cookie
	}
	return &sessions{
		clock:   clock,
		linkTTL: or(config.LinkTTL, 12*time.Hour),
		idle:    or(config.SessionIdle, 12*time.Hour),
		most:    or(config.SessionMax, 14*24*time.Hour),
		cookie:  cookie,
		byHash:  map[[32]byte]*session{},
	}
}

// invite makes the link's secret.
func (s *sessions) invite() string {
	token := operators.Secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.hash = sha256.Sum256([]byte(token))
	s.link.until = s.clock().Add(s.linkTTL)
	s.link.valid = true
	return token
}

// redeem uses the link up and starts a session; false if the token is not that link's, was used or
// is too old. Whoever comes second, however close behind, is refused.
func (s *sessions) redeem(token string) (cookie string, in *session, ok bool) {
	hash := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.link.valid || subtle.ConstantTimeCompare(hash[:], s.link.hash[:]) != 1 || s.clock().After(s.link.until) {
		return "", nil, false
	}
	s.link.valid = false
	return s.beginLocked(who{})
}

// begin starts a session; false if there are too many.
func (s *sessions) begin(of who) (cookie string, in *session, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked(of)
}

func (s *sessions) beginLocked(of who) (cookie string, in *session, ok bool) {
	now := s.clock()
	s.sweep(now)
	if len(s.byHash) >= maxSessions {
		return "", nil, false
	}
	cookie = operators.Secret()
	key := sha256.Sum256([]byte(cookie))
	if of.actor == "" {
		of.actor = "operator-" + hex.EncodeToString(key[:2])
	}
	in = &session{hash: key, who: of, since: now, seen: now}
	s.byHash[key] = in
	return cookie, in, true
}

// find returns the live session of a cookie and notes that it was used.
func (s *sessions) find(cookie string) (*session, bool) {
	key := sha256.Sum256([]byte(cookie))
	s.mu.Lock()
	defer s.mu.Unlock()
	who, ok := s.byHash[key]
	if !ok || !s.liveLocked(who, s.clock()) {
		return nil, false
	}
	who.seen = s.clock()
	return who, true
}

// alive says whether a session still holds, and counts as use: an open stream keeps it going.
func (s *sessions) alive(who *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if !s.liveLocked(who, now) {
		return false
	}
	who.seen = now
	return true
}

func (s *sessions) seenBy(in *session) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return in.noticed
}

func (s *sessions) see(in *session, upTo int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.noticed = max(in.noticed, upTo)
}

func (s *sessions) end(who *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who.ended = true
	delete(s.byHash, who.hash)
}

func (s *sessions) until(in *session) time.Time { return in.since.Add(s.longest(in)) }

func (s *sessions) longest(in *session) time.Duration {
	if in.enrols {
		return min(enrolMost, s.most)
	}
	return s.most
}

func (s *sessions) liveLocked(in *session, now time.Time) bool {
	return !in.ended && now.Sub(in.seen) < s.idle && now.Sub(in.since) < s.longest(in)
}

// sweep forgets what has expired; the caller holds mu.
func (s *sessions) sweep(now time.Time) {
	for key, who := range s.byHash {
		if !s.liveLocked(who, now) {
			delete(s.byHash, key)
		}
	}
}

// setCookie gives the session to the browser, or takes it back (empty value).
func (s *Server) setCookie(w http.ResponseWriter, value string) {
	c := &http.Cookie{
		Name:     s.sessions.cookie,
		Value:    value,
		Path:     "/",
		HttpOnly: true,
		Secure:   strings.HasPrefix(s.origin, "https:"),
		SameSite: http.SameSiteStrictMode,
		MaxAge:   int(s.sessions.most / time.Second),
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

type loginRequest struct {
	Token string `json:"token"`
}

type sessionView struct {
	Actor string    `json:"actor"`
	Until time.Time `json:"until"`
	Now   time.Time `json:"now"`
	// Clouds, Routes and Drills say that there is such a screen.
	Clouds bool `json:"clouds"`
	Routes bool `json:"routes"`
	Drills bool `json:"drills"`
	// Account says that the actor is an account, which has passkeys.
	Account bool `json:"account"`
	// Enrols is a session that may register a passkey and nothing else; Named is the account it is for, if that
	// is said already.
	Enrols bool   `json:"enrols"`
	Named  string `json:"named,omitempty"`
	// Passkeys says whether there can be passkeys at this origin.
	Passkeys bool `json:"passkeys"`
	// Needed is how many operators it takes to open, close, extend, publish and destroy.
	Needed int `json:"operators_needed"`
}

func (s *Server) sessionView(in *session) sessionView {
	return sessionView{
		in.actor, s.sessions.until(in), s.clock(), s.clouds != nil, s.gateways != nil, s.drills != "",
		in.account != "", in.enrols, in.named, s.rp != nil, s.needed,
	}
}

// logIn trades a link's secret for a session. The secret comes in the body, never in a URL. While nobody has a
// passkey, the panel's own link is enough; afterwards a link that an operator or the machine's own made lets
// somebody register one.
func (s *Server) logIn(c *gin.Context) {
	var body loginRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	state, err := s.book.Read(c)
	// While no ballot server has answered since the panel was started, nobody can know of passkeys, and the clouds may
	// need an operator: the link is enough until one answers.
	if err != nil && s.book.Known() {
		s.fail(c, err)
		return
	}
	if state == nil || !state.InUse() {
		if cookie, in, ok := s.sessions.redeem(body.Token); ok {
			s.letIn(c, cookie, in, "ok", "")
			return
		}
	}
	if state == nil {
		s.fail(c, err)
		return
	}
	of, err := s.useLink(c, operators.LinkID(body.Token))
	if err != nil {
		if errors.Is(err, errLinkSpent) {
			s.metrics.logins.WithLabelValues("refused").Inc()
			s.log.WarnContext(c, "log-in link refused")
			s.suspect(c, operators.LinkRefused, operators.Detail{}, "")
			if state.InUse() {
				err = errPasskeysInUse
			}
		}
		s.fail(c, err)
		return
	}
	cookie, in, ok := s.sessions.begin(of)
	if !ok {
		s.fail(c, errTooMany)
		return
	}
	s.letIn(c, cookie, in, "ok", "")
}

// useLink uses a link of the operators' chain up.
func (s *Server) useLink(ctx context.Context, id string) (of who, err error) {
	err = s.book.Write(ctx, func(state *operators.State) (*operators.Entry, error) {
		link, ok := state.Link(id, s.clock())
		if !ok {
			return nil, errLinkSpent
		}
		of = who{enrols: true, named: link.Name, account: link.Account}
		return &operators.Entry{Actor: panelActor, Action: operators.LinkUsed, Detail: operators.Detail{Link: id, Name: link.Name}}, nil
	})
	return of, err
}

// letIn gives a session to the browser.
func (s *Server) letIn(c *gin.Context, cookie string, in *session, outcome, device string) {
	s.metrics.logins.WithLabelValues(outcome).Inc()
	s.log.InfoContext(c, "operator logged in", slogActor(in.actor))
	s.setCookie(c.Writer, cookie)
	if device != "" {
		s.rememberDevice(c.Writer, device)
	}
	c.JSON(http.StatusOK, s.sessionView(in))
}

func (s *Server) whoAmI(c *gin.Context) {
	c.JSON(http.StatusOK, s.sessionView(operator(c)))
}

func (s *Server) logOut(c *gin.Context) {
	if err := s.decode(c, &struct{}{}, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	in := operator(c)
	s.sessions.end(in)
	s.setCookie(c.Writer, "")
	s.log.InfoContext(c, "operator logged out", slogActor(in.actor))
	c.Status(http.StatusNoContent)
}

type linkView struct {
	Link  string    `json:"link"`
	Until time.Time `json:"until"`
	// Enrols says that it is for registering a passkey.
	Enrols bool `json:"enrols"`
}

// makeLink lets an operator log another device in (the big screen, a colleague's); once there are passkeys, it
// lets a colleague register one.
func (s *Server) makeLink(c *gin.Context) {
	if err := s.decode(c, &struct{}{}, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	in := operator(c)
	s.log.InfoContext(c, "log-in link made", slogActor(in.actor))
	if !s.book.State().InUse() {
		c.JSON(http.StatusOK, linkView{s.linkTo(s.sessions.invite()), s.clock().Add(s.sessions.linkTTL), false})
		return
	}
	secret, until, err := s.book.Invite(c, in.actor, s.clock())
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, linkView{s.linkTo(secret), until, true})
}

const sessionKey = "session"

// loggedIn lets only live sessions through.
func (s *Server) loggedIn(c *gin.Context) {
	cookie, err := c.Request.Cookie(s.sessions.cookie)
	if err != nil {
		s.fail(c, errLogInNeeded)
		return
	}
	in, ok := s.sessions.find(cookie.Value)
	if !ok || !s.holds(in) {
		s.fail(c, errLogInNeeded)
		return
	}
	c.Set(sessionKey, in)
}

// holds says whether what a session was begun with still lets somebody in, and ends it if not: a passkey that was
// removed doesn't, nor does a mere link once anybody has a passkey.
func (s *Server) holds(in *session) bool {
	state := s.book.State()
	good := in.enrols || in.passkey == "" && !state.InUse()
	if in.passkey != "" {
		_, good = state.Passkey(in.passkey)
	}
	if !good {
		s.sessions.end(in)
	}
	return good
}

// whole refuses those who may only register a passkey.
func (s *Server) whole(c *gin.Context) {
	if operator(c).enrols {
		s.fail(c, errPasskeyNeeded)
	}
}

func operator(c *gin.Context) *session { return c.MustGet(sessionKey).(*session) }

// change signs an operator's reason with who gave it.
func change(c *gin.Context, reason string) ballotapi.Change {
	return ballotapi.Change{Actor: actor(c), Reason: reason}
}
