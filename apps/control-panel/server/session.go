package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
)

// sessions are the operators who are logged in, and the one link that logs the next one in. Only
// hashes are kept, so that a dump of memory logs nobody in. They do not outlive the process: a
// restarted panel prints a new link.
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

// session is one browser that used a link.
type session struct {
	hash  [32]byte
	actor string
	since time.Time
	seen  time.Time
	ended bool
}

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

// secret is 256 random bits, base64url.
func secret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// invite makes the link's secret.
func (s *sessions) invite() string {
	token := secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.hash = sha256.Sum256([]byte(token))
	s.link.until = s.clock().Add(s.linkTTL)
	s.link.valid = true
	return token
}

// redeem uses the link up and starts a session; false if the token is not that link's, was used or
// is too old. Whoever comes second, however close behind, is refused.
func (s *sessions) redeem(token string) (cookie string, who *session, ok bool) {
	hash := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if !s.link.valid || subtle.ConstantTimeCompare(hash[:], s.link.hash[:]) != 1 || now.After(s.link.until) {
		return "", nil, false
	}
	s.link.valid = false
	s.sweep(now)
	if len(s.byHash) >= maxSessions {
		return "", nil, false
	}
	cookie = secret()
	key := sha256.Sum256([]byte(cookie))
	who = &session{hash: key, actor: "operator-" + hex.EncodeToString(key[:2]), since: now, seen: now}
	s.byHash[key] = who
	return cookie, who, true
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

func (s *sessions) end(who *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who.ended = true
	delete(s.byHash, who.hash)
}

func (s *sessions) until(who *session) time.Time { return who.since.Add(s.most) }

func (s *sessions) liveLocked(who *session, now time.Time) bool {
	return !who.ended && now.Sub(who.seen) < s.idle && now.Sub(who.since) < s.most
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
	// Clouds and Drills say that there is such a screen.
	Clouds bool `json:"clouds"`
	Drills bool `json:"drills"`
}

func (s *Server) sessionView(who *session) sessionView {
	return sessionView{who.actor, s.sessions.until(who), s.clock(), s.clouds != nil, s.drills != ""}
}

// logIn trades the link's secret for a session. The secret comes in the body, never in a URL.
func (s *Server) logIn(c *gin.Context) {
	var body loginRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	cookie, who, ok := s.sessions.redeem(body.Token)
	if !ok {
		s.metrics.logins.WithLabelValues("refused").Inc()
		s.log.WarnContext(c, "log-in link refused")
		s.fail(c, errLinkSpent)
		return
	}
	s.metrics.logins.WithLabelValues("ok").Inc()
	s.log.InfoContext(c, "operator logged in", slogActor(who.actor))
	s.setCookie(c.Writer, cookie)
	c.JSON(http.StatusOK, s.sessionView(who))
}

func (s *Server) whoAmI(c *gin.Context) {
	who := operator(c)
	c.JSON(http.StatusOK, s.sessionView(who))
}

func (s *Server) logOut(c *gin.Context) {
	if err := s.decode(c, &struct{}{}, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	who := operator(c)
	s.sessions.end(who)
	s.setCookie(c.Writer, "")
	s.log.InfoContext(c, "operator logged out", slogActor(who.actor))
	c.Status(http.StatusNoContent)
}

// makeLink lets an operator log another device in (the big screen, a colleague's).
func (s *Server) makeLink(c *gin.Context) {
	if err := s.decode(c, &struct{}{}, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	who := operator(c)
	s.log.InfoContext(c, "log-in link made", slogActor(who.actor))
	c.JSON(http.StatusOK, gin.H{"link": s.LoginLink(), "until": s.clock().Add(s.sessions.linkTTL)})
}

const sessionKey = "session"

// loggedIn lets only live sessions through.
func (s *Server) loggedIn(c *gin.Context) {
	cookie, err := c.Request.Cookie(s.sessions.cookie)
	if err != nil {
		s.fail(c, errLogInNeeded)
		return
	}
	who, ok := s.sessions.find(cookie.Value)
	if !ok {
		s.fail(c, errLogInNeeded)
		return
	}
	c.Set(sessionKey, who)
}

func operator(c *gin.Context) *session { return c.MustGet(sessionKey).(*session) }

// change signs an operator's reason with who gave it.
func change(c *gin.Context, reason string) ballotapi.Change {
	return ballotapi.Change{Actor: operator(c).actor, Reason: reason}
}
