// Package plain is the voter's way for browsers without scripts: plain HTML forms, in three languages, which
// ask the Public Channels API what any other client asks it. It has no rules of its own. A voter's state
// travels sealed in a cookie.
//
// Such a browser cannot seal a ballot, so here the server does, and for that moment sees a choice: only in
// polls whose rules say so, and only after the voter was told.
package plain

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/api-server/captcha"
	"github.com/popvote/popvote/apps/api-server/csp"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

// Prefix is the path that all of it is under.
const Prefix = "/plain/"

// WaitRoute is the route, as the router writes it, that is held as long as a long poll.
const WaitRoute = Prefix + ":lang/:poll/arrived"

// Deps are the parts these pages work with. All are required.
type Deps struct {
	// API answers the Public Channels API, by the request's own address.
	API      http.Handler
	Captchas *captcha.Issuer
	Tokens   keyring.Tokens
	Clock    func() time.Time
	// Client is the address that a request is counted by, and Limit counts it.
	Client func(*gin.Context) netip.Addr
	Limit  func(*gin.Context, ratelimit.Action, ratelimit.Subject) error
	// Secure says that browsers come over TLS: then HSTS is sent.
	Secure bool
	// Sealed is told of each ballot sealed here, by poll.
	Sealed func(poll string)
}

// Pages are the pages. Safe for concurrent use.
type Pages struct{ deps Deps }

// New returns the pages.
func New(deps Deps) *Pages { return &Pages{deps} }

// Register adds the pages' routes.
func (p *Pages) Register(to gin.IRouter) {
	to = to.Group(Prefix, p.headers)
	to.GET("", func(c *gin.Context) { c.Redirect(http.StatusFound, Prefix+languages[0].Tag+"/") })
	to.GET("style.css", style)
	to.GET("captcha/:poll/:file", p.drawCaptcha)
	to.GET(":lang/", p.page(p.list))
	for path, handlers := range map[string]struct{ get, post handler }{
		"":        {get: p.about},
		"who":     {get: p.showWho, post: p.who},
		"phone":   {get: p.showPhone, post: p.enterCode},
		"arrived": {get: p.arrived},
		"resend":  {post: p.resend("resend")},
		"call":    {post: p.resend("call")},
		"ballot":  {get: p.showBallot, post: p.fillIn},
		"check":   {get: p.showCheck, post: p.cast},
		"receipt": {get: p.receipt},
		"clear":   {post: p.clear},
		"cleared": {get: p.cleared},
	} {
		path = ":lang/:poll/" + path
		if path == ":lang/:poll/" {
			path = ":lang/:poll"
		}
		if handlers.get != nil {
			to.GET(path, p.page(handlers.get))
		}
		if handlers.post != nil {
			to.POST(path, p.page(handlers.post))
		}
	}
}

// headers are on every answer: nothing is kept by a cache, and no script runs.
func (p *Pages) headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	csp.Set(h, "default-src 'none'; style-src 'self'; img-src 'self' data:; media-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'", p.deps.Secure)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	// Not no-referrer: forms would then come from the origin "null", and be refused as another site's.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.deps.Secure {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}

// maxForm is the largest form, bytes: every option of twenty questions.
const maxForm = 64 << 10

// handler answers one page. Its error becomes a page that says so.
type handler func(c *gin.Context, v *view) error

// page finds language and poll, reads the form, and answers with what the handler made of them.
func (p *Pages) page(h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		w, known := catalogues[c.Param("lang")]
		v := &view{Lang: c.Param("lang"), words: w, clock: p.deps.Clock, path: c.Request.URL.Path}
		if !known {
			v.Lang, v.words = languages[len(languages)-1].Tag, catalogues[languages[len(languages)-1].Tag]
			p.fail(c, v, refusal(problem.NotFound))
			return
		}
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
		if err := p.prepare(c, v); err != nil {
			p.fail(c, v, err)
			return
		}
		if err := h(c, v); err != nil {
			p.fail(c, v, err)
		}
	}
}

func (p *Pages) prepare(c *gin.Context, v *view) error {
	if c.Request.Method == http.MethodPost {
		if c.ContentType() != "application/x-www-form-urlencoded" {
			return refusal(problem.WrongContentType)
		}
		if err := c.Request.ParseForm(); err != nil {
			return refusal(problem.InvalidField)
		}
	}
	id := c.Param("poll")
	if id == "" {
		return nil
	}
	var found struct {
		Document poll.Manifest `json:"document"`
	}
	if err := p.ask(c.Request, question{method: http.MethodGet, path: "/v1/polls/" + id}, &found); err != nil {
		return err
	}
	v.Poll = &found.Document
	return nil
}

// fail shows a problem on a page of its own.
func (p *Pages) fail(c *gin.Context, v *view, err error) {
	r := refusalOf(err)
	v.Heading = v.Say("somethingWrong")
	v.refuse(r, v.Say("counted.notCast"))
	v.draw(c, r.problem.Status, "trouble")
}

// to leads to another page of the poll, so that reloading it sends nothing again.
func to(c *gin.Context, v *view, page string) error {
	c.Redirect(http.StatusSeeOther, v.Path(page))
	return nil
}

func (p *Pages) list(c *gin.Context, v *view) error {
	var found struct {
		Polls []poll.Summary `json:"polls"`
	}
	if err := p.ask(c.Request, question{method: http.MethodGet, path: "/v1/polls"}, &found); err != nil {
		return err
	}
	v.Heading, v.Data = v.Say("polls.title"), found.Polls
	v.draw(c, http.StatusOK, "list")
	return nil
}

func (p *Pages) about(c *gin.Context, v *view) error {
	v.Heading, v.HeadingLang = v.pick(v.Poll.Title)
	v.draw(c, http.StatusOK, "about")
	return nil
}

// openTo refuses what a poll's rules do not offer. Whether it takes votes is the API's to say.
func openTo(v *view) error {
	if !offered(v.Poll) {
		return errNotOffered
	}
	return nil
}

// errNotOffered shows the first page of a poll, which says so.
var errNotOffered = refusal(problem.NotFound)

type whoForm struct{ Number, Phone, Ticket string }

func (p *Pages) showWho(c *gin.Context, v *view) error {
	if err := openTo(v); err != nil {
		return to(c, v, "")
	}
	return p.drawWho(c, v, http.StatusOK, whoForm{})
}

// drawWho asks who the voter is. What was typed stays, but the digits are new ones.
func (p *Pages) drawWho(c *gin.Context, v *view, status int, form whoForm) error {
	form.Ticket = p.deps.Captchas.Issue(v.Poll.ID, p.deps.Client(c))
	v.Heading, v.Step, v.Data = v.Say("plain.who"), 1, form
	v.draw(c, status, "who")
	return nil
}

// who is step 1 of the API: a session, for digits instead of work.
func (p *Pages) who(c *gin.Context, v *view) error {
	if err := openTo(v); err != nil {
		return to(c, v, "")
	}
	sent := c.Request.PostForm
	form := whoForm{Number: sent.Get("number"), Phone: sent.Get("phone")}
	if sent.Has("another") {
		return p.drawWho(c, v, http.StatusOK, form)
	}
	digits, place := sent.Get("digits"), sent.Get("place")
	proof := captcha.Answer(sent.Get("ticket"), digits)
	if place != "" {
		proof, digits = place, "none" // they were asked for before
	}
	for _, field := range []struct{ id, typed, says string }{
		{"number", form.Number, "identity.faults.empty"},
		{"phone", form.Phone, "phone.empty"},
		{"digits", digits, "plain.captchaFaults.empty"},
	} {
		if field.typed == "" {
			v.fault(field.id, v.Say(field.says))
		}
	}
	if len(v.Faults) > 0 {
		return p.drawWho(c, v, http.StatusUnprocessableEntity, form)
	}
	var session channelsapi.Session
	err := p.ask(c.Request, question{method: http.MethodPost, path: "/v1/polls/" + v.Poll.ID + "/sessions", body: map[string]any{
		"identity": map[string]string{"type": v.Poll.Identity.Type, "number": form.Number},
		"phone":    form.Phone, "lang": v.Lang, "challenge": proof,
	}}, &session)
	if err != nil {
		r := refusalOf(err)
		if r.problem.WaitingRoom != nil {
			return p.drawQueue(c, v, r, form)
		}
		switch {
		case place != "" && r.problem.Field != nil && *r.problem.Field == "/challenge":
			v.fault("digits", v.Say("plain.placeLost"))
		case !v.faultOf(r):
			v.refuse(r, v.Say("counted.notCast"))
		}
		return p.drawWho(c, v, r.problem.Status, form)
	}
	j := &journey{Poll: v.Poll.ID, Token: session.AccessToken, Deadline: session.ExpiresAt, End: lastDigits(form.Phone)}
	p.renew(j, &session.Verification)
	if err := p.keep(c.Writer, j); err != nil {
		return err
	}
	return to(c, v, "phone")
}

type queuePage struct {
	whoForm
	Place, Left string
}

// drawQueue shows who has a place in the waiting room how long it takes. The place is in the form, with what was typed:
// no server keeps it, and nothing is sent by itself that would lose it.
func (p *Pages) drawQueue(c *gin.Context, v *view, r *refused, form whoForm) error {
	place := r.problem.WaitingRoom
	data := queuePage{whoForm: form, Place: place.Ticket, Left: v.Say("queue.soon")}
	if place.Seconds >= soonSeconds {
		v.Time = v.words.span(promised(place.Seconds))
		data.Left = v.Say("queue.left", v.Time)
	}
	v.Heading, v.Step, v.Form, v.Data = v.Say("queue.title"), 1, "queue", data
	if problem.Code(r.problem.Code) != problem.WaitingRoom {
		// It was let in, and then something went wrong: the place is as good as before.
		v.refuse(r, v.Say("counted.notCast"))
	}
	c.Header("Retry-After", retryAfter(r))
	v.draw(c, r.problem.Status, "queue")
	return nil
}

// soonSeconds are not counted down any more.
const soonSeconds = 10

// promised rounds a wait up to what can be promised: ten seconds, then minutes, then five of them.
func promised(seconds int) int {
	unit := 300
	switch {
	case seconds <= 60:
		unit = 10
	case seconds <= 600:
		unit = 60
	}
	return (seconds + unit - 1) / unit * unit
}

// renew takes over what may be done next.
func (p *Pages) renew(j *journey, next *channelsapi.Verification) {
	now := p.deps.Clock()
	text := func(s *string, or string) string {
		if s != nil {
			return *s
		}
		return or
	}
	j.Number, j.Text, j.Link = text(next.Number, j.Number), text(next.Text, j.Text), text(next.SmsLink, j.Link)
	if next.CodeLength != nil {
		j.Digits = *next.CodeLength
	}
	if next.TriesLeft != nil {
		j.Tries = *next.TriesLeft
	}
	at := func(seconds *int) time.Time {
		if seconds == nil {
			return time.Time{}
		}
		return now.Add(time.Duration(*seconds) * time.Second)
	}
	j.NextSend, j.NextCheck = at(next.NextSendSeconds), at(next.NextCheckSeconds)
	j.MayCall = next.NextCallSeconds != nil
}

// lastDigits tells a voter which of their numbers was meant.
func lastDigits(phone string) string {
	var digits []rune
	for _, r := range phone {
		if r >= '0' && r <= '9' {
			digits = append(digits, r)
		}
	}
	return string(digits[max(0, len(digits)-4):])
}

// drawCaptcha is a ticket's picture (.png) or recording (.en.wav, .zh.wav).
func (p *Pages) drawCaptcha(c *gin.Context) {
	err := p.deps.Limit(c, ratelimit.Captcha, ratelimit.Subject{Client: p.deps.Client(c), Poll: c.Param("poll")})
	if err != nil {
		r := refusalOf(err)
		c.Header("Retry-After", retryAfter(r))
		c.String(r.problem.Status, "Too many pictures were asked for. Please wait a little.\n")
		return
	}
	ticket, form, _ := strings.Cut(c.Param("file"), ".")
	question, err := p.deps.Captchas.Open(ticket, c.Param("poll"), p.deps.Client(c))
	if err != nil {
		c.String(http.StatusNotFound, "There is no such picture, or it is too old.\n")
		return
	}
	switch form {
	case "png":
		c.Data(http.StatusOK, "image/png", question.PNG())
	case "en.wav", "zh.wav":
		serveRecording(c, question.WAV(form[:2]))
	default:
		c.String(http.StatusNotFound, "There is no such picture.\n")
	}
}
