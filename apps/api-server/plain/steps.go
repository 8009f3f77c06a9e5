package plain

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// lost shows that the cookie is not there, or not good.
func (p *Pages) lost(c *gin.Context, v *view) error {
	v.Heading = v.Say("somethingWrong")
	v.Data = v.Say("plain.cookie")
	v.draw(c, http.StatusUnauthorized, "lost")
	return nil
}

// proving returns the journey of a voter whose phone is not proved yet; nil once it has answered instead.
func (p *Pages) proving(c *gin.Context, v *view) (*journey, error) {
	j, err := p.journeyOf(c.Request, v.Poll.ID)
	switch {
	case err != nil:
		return nil, p.lost(c, v)
	case j.Code != "":
		return nil, to(c, v, "receipt")
	case j.Verified:
		return nil, to(c, v, "ballot")
	}
	return j, nil
}

// voting is the same of a voter who may vote.
func (p *Pages) voting(c *gin.Context, v *view) (*journey, error) {
	j, err := p.journeyOf(c.Request, v.Poll.ID)
	switch {
	case err != nil:
		return nil, p.lost(c, v)
	case j.Code != "":
		return nil, to(c, v, "receipt")
	case !j.Verified:
		return nil, to(c, v, "phone")
	}
	return j, nil
}

// left is the whole seconds until a time.
func (p *Pages) left(t time.Time) int {
	return max(0, int(t.Sub(p.deps.Clock())/time.Second))
}

// wait is the seconds until a time, rounded up: who waits that long has waited long enough.
func (p *Pages) wait(t time.Time) int {
	return max(0, int((t.Sub(p.deps.Clock())+time.Second-1)/time.Second))
}

type phonePage struct {
	*journey
	// Left is the time to the deadline. SendIn and CheckIn are the seconds until a code may be sent or tried.
	Left            string
	SendIn, CheckIn int
	NoMore          bool
	// Waiting says that the page asks by itself.
	Waiting bool
}

func (p *Pages) showPhone(c *gin.Context, v *view) error {
	j, err := p.proving(c, v)
	if j == nil {
		return err
	}
	return p.drawPhone(c, v, http.StatusOK, j)
}

func (p *Pages) drawPhone(c *gin.Context, v *view, status int, j *journey) error {
	left := p.left(j.Deadline)
	v.Step = 2
	if left == 0 {
		v.Heading = v.Say("over.title")
		v.draw(c, status, "over")
		return nil
	}
	v.Time = v.Say("left", v.words.span((left+59)/60*60))
	data := phonePage{journey: j, Left: v.Say("left", v.words.span(left))}
	if j.Text == "" {
		v.Heading = v.Say("receives.title")
		data.SendIn, data.CheckIn, data.NoMore = p.wait(j.NextSend), p.wait(j.NextCheck), j.NextSend.IsZero()
		v.Data = data
		v.draw(c, status, "code")
		return nil
	}
	v.Heading = v.Say("sends.title")
	data.Waiting = c.Query("waiting") != ""
	if data.Waiting {
		// Where the voter asked to wait, the browser asks by itself; it shows this page until it is told.
		c.Header("Refresh", "3; url="+v.Path("arrived"))
	}
	v.Data = data
	v.draw(c, status, "text")
	return nil
}

// arrived waits for the voter's SMS as long as the API does, and goes on once it is there.
func (p *Pages) arrived(c *gin.Context, v *view) error {
	j, err := p.proving(c, v)
	if j == nil {
		return err
	}
	var state channelsapi.VerificationState
	err = p.ask(c.Request, question{method: http.MethodGet, path: "/v1/verification", token: j.Token}, &state)
	if err != nil {
		r := refusalOf(err)
		if r.problem.Code != channelsapi.ProblemCode(problem.TokenExpired) {
			v.refuse(r, v.Say("counted.notCast"))
		}
		return p.drawPhone(c, v, r.problem.Status, j)
	}
	if state.Verified == nil {
		c.Redirect(http.StatusSeeOther, v.Path("phone")+"?waiting=1")
		return nil
	}
	return p.verified(c, v, j, state.Verified)
}

// verified goes on to the ballot with the API's new token.
func (p *Pages) verified(c *gin.Context, v *view, j *journey, with *channelsapi.Verified) error {
	var chance [8]byte
	_, _ = rand.Read(chance[:]) // never fails: it ends the program instead
	next := &journey{
		Poll: j.Poll, Token: with.AccessToken, Verified: true, Deadline: with.ExpiresAt, Order: binary.BigEndian.Uint64(chance[:]),
	}
	if err := p.keep(c.Writer, next); err != nil {
		return err
	}
	return to(c, v, "ballot")
}

// enterCode tries the code that the voter received.
func (p *Pages) enterCode(c *gin.Context, v *view) error {
	j, err := p.proving(c, v)
	if j == nil {
		return err
	}
	j.Resent, j.Called = false, false
	code := c.Request.PostForm.Get("code")
	if strings.TrimSpace(code) == "" {
		v.fault("code", v.Say("receives.empty", j.Digits))
		return p.drawPhone(c, v, http.StatusUnprocessableEntity, j)
	}
	var verified channelsapi.Verified
	err = p.ask(c.Request, question{
		method: http.MethodPost, path: "/v1/verification/code", body: map[string]string{"code": code}, token: j.Token,
	}, &verified)
	if err != nil {
		return p.refuseCode(c, v, j, err)
	}
	return p.verified(c, v, j, &verified)
}

// resend has the code sent again, or spoken: how is the last part of the operation's path.
func (p *Pages) resend(how string) handler {
	return func(c *gin.Context, v *view) error {
		j, err := p.proving(c, v)
		if j == nil {
			return err
		}
		j.Resent, j.Called = false, false
		var next channelsapi.Verification
		err = p.ask(c.Request, question{method: http.MethodPost, path: "/v1/verification/" + how, token: j.Token}, &next)
		if err != nil {
			return p.refuseCode(c, v, j, err)
		}
		p.renew(j, &next)
		j.Resent, j.Called = how == "resend", how == "call"
		if err := p.keep(c.Writer, j); err != nil {
			return err
		}
		return to(c, v, "phone")
	}
}

// refuseCode shows the code's page again, with what is wrong and what may be done next.
func (p *Pages) refuseCode(c *gin.Context, v *view, j *journey, err error) error {
	r := refusalOf(err)
	if next := r.problem.Verification; next != nil {
		p.renew(j, next)
		if err := p.keep(c.Writer, j); err != nil {
			return err
		}
	}
	if r.problem.Code == channelsapi.ProblemCode(problem.InvalidField) {
		v.fault("code", v.Say("receives.empty", j.Digits))
	} else if !v.faultOf(r) {
		v.refuse(r, v.Say("counted.notCast"))
	}
	return p.drawPhone(c, v, r.problem.Status, j)
}

type ballotPage struct {
	Questions []questionView
	Left      string
}

type questionView struct {
	*poll.Question
	Options []optionView
	Rule    string
	Hints   []string
	Single  bool
	Wrong   string
	// First is the id of the first option, where the summary leads.
	First string
}

type optionView struct {
	*poll.Option
	ID      string
	Checked bool
}

func (p *Pages) showBallot(c *gin.Context, v *view) error {
	j, err := p.voting(c, v)
	if j == nil {
		return err
	}
	if j.Maybe {
		return to(c, v, "check") // it may be in the box: another could only be refused
	}
	return p.drawBallot(c, v, http.StatusOK, j, make([]string, len(v.Poll.Questions)))
}

// drawBallot shows every question, each with what is wrong with its answer.
func (p *Pages) drawBallot(c *gin.Context, v *view, status int, j *journey, wrong []string) error {
	if p.left(j.Deadline) == 0 {
		return p.ballotOver(c, v)
	}
	data := ballotPage{Left: p.ballotTime(v, j)}
	for i := range v.Poll.Questions {
		q := &v.Poll.Questions[i]
		one := questionView{Question: q, Single: q.Max == 1, Wrong: wrong[i], Rule: rule(v.words, q)}
		fixed := "ballot.fixed"
		if q.Order == "random" {
			fixed = "ballot.random"
		}
		one.Hints = append(one.Hints, v.Say(fixed))
		if !one.Single && slices.ContainsFunc(q.Options, alone) {
			one.Hints = append(one.Hints, v.Say("ballot.alone"))
		}
		for _, n := range order(q, j.Order, i) {
			one.Options = append(one.Options, optionView{
				Option: &q.Options[n], ID: "q" + strconv.Itoa(i) + "-" + strconv.Itoa(n),
				Checked: i < len(j.Choices) && slices.Contains(j.Choices[i], n),
			})
		}
		one.First = one.Options[0].ID
		if one.Wrong != "" {
			v.fault(one.First, one.Wrong)
		}
		data.Questions = append(data.Questions, one)
	}
	v.Heading, v.Step, v.Data = v.Say("plain.ballot"), 3, data
	v.draw(c, status, "ballot")
	return nil
}

func (p *Pages) ballotOver(c *gin.Context, v *view) error {
	v.Heading, v.Data = v.Say("over.ballotTitle"), true
	v.draw(c, http.StatusUnauthorized, "over")
	return nil
}

func (p *Pages) ballotTime(v *view, j *journey) string {
	left := p.left(j.Deadline)
	if left > 120 {
		left -= left % 60
	}
	return v.Say("ballot.soon", v.words.span(left))
}

// rule says how many options may be chosen.
func rule(w words, q *poll.Question) string {
	says := ""
	switch {
	case q.Max == 1:
		says = w.say("ballot.rule.one")
	case q.Min == q.Max:
		says = w.say("ballot.rule.exactly", q.Min)
	case q.Min > 1:
		says = w.say("ballot.rule.between", q.Min, q.Max)
	default:
		says = w.say("ballot.rule.most", q.Min, q.Max)
	}
	if q.Min == 0 {
		says += w.say("gap") + w.say("ballot.skip")
	}
	return says
}

func alone(o poll.Option) bool { return o.Kind != poll.Choice }

// order is a question's options as this voter sees them: indices. Random order moves the choices alone.
func order(q *poll.Question, chance uint64, question int) []int {
	all := make([]int, len(q.Options))
	var choices []int
	for n, o := range q.Options {
		all[n] = n
		if !alone(o) {
			choices = append(choices, n)
		}
	}
	if q.Order != "random" {
		return all
	}
	places := slices.Clone(choices)
	shuffle(choices, chance, question)
	for i, place := range places {
		all[place] = choices[i]
	}
	return all
}

// fillIn takes the answers, and seals them once they are a ballot.
func (p *Pages) fillIn(c *gin.Context, v *view) error {
	j, err := p.voting(c, v)
	if j == nil {
		return err
	}
	if j.Maybe {
		return to(c, v, "check")
	}
	if !offered(v.Poll) {
		return errNotOffered
	}
	j.Choices, err = choicesOf(v.Poll, c.Request.PostForm)
	if err != nil {
		return err
	}
	j.Sealed, j.Key = nil, ""
	if cleared, err := strconv.Atoi(c.Request.PostForm.Get("clear")); err == nil && cleared >= 0 && cleared < len(j.Choices) {
		j.Choices[cleared] = []int{}
		if err := p.keep(c.Writer, j); err != nil {
			return err
		}
		return to(c, v, "ballot")
	}
	answers, _ := j.answers(v.Poll)
	if wrong, some := faultsOf(v.words, v.Poll, answers); some {
		return p.drawBallot(c, v, http.StatusUnprocessableEntity, j, wrong)
	}
	// Sealed before it is cast, and kept: whatever becomes of the casting, the same is sent again.
	if j.Sealed, err = ballot.Seal(v.Poll, answers); err != nil {
		return err
	}
	j.Key = newKey()
	p.deps.Sealed(v.Poll.ID)
	if err := p.keep(c.Writer, j); err != nil {
		return err
	}
	return to(c, v, "check")
}

func newKey() string { return strings.ToLower(rand.Text()) }

// choicesOf reads the form's options, by their ids.
func choicesOf(m *poll.Manifest, form url.Values) ([][]int, error) {
	out := make([][]int, len(m.Questions))
	for i, q := range m.Questions {
		out[i] = []int{}
		for _, id := range form["q-"+q.ID] {
			n := slices.IndexFunc(q.Options, func(o poll.Option) bool { return o.ID == id })
			if n < 0 || slices.Contains(out[i], n) {
				return nil, refusal(problem.InvalidField)
			}
			out[i] = append(out[i], n)
		}
	}
	return out, nil
}

// faultsOf has each answer judged as the ballot itself is, and finds the words.
func faultsOf(w words, m *poll.Manifest, answers ballot.Answers) (wrong []string, some bool) {
	wrong = make([]string, len(answers))
	for i := range answers {
		q := &m.Questions[i]
		if !errors.Is(ballot.Validate(&poll.Manifest{Questions: m.Questions[i : i+1]}, answers[i:i+1]), ballot.ErrInvalid) {
			continue
		}
		some = true
		switch {
		case slices.ContainsFunc(q.Options, func(o poll.Option) bool { return alone(o) && slices.Contains(answers[i], o.ID) }):
			wrong[i] = w.say("ballot.faults.not-alone")
		case len(answers[i]) < q.Min:
			wrong[i] = w.counted("ballot.faults.too-few", q.Min)
		default:
			wrong[i] = w.say("ballot.faults.too-many", q.Min, q.Max)
		}
	}
	return wrong, some
}

type checkPage struct {
	Answers []answered
	Left    string
	Maybe   bool
	// Final says that nothing more can be done here.
	Final bool
}

type answered struct {
	Question *poll.Question
	Chosen   []*poll.Option
}

func (p *Pages) showCheck(c *gin.Context, v *view) error {
	j, err := p.voting(c, v)
	if j == nil {
		return err
	}
	if j.Sealed == nil {
		return to(c, v, "ballot")
	}
	if p.left(j.Deadline) == 0 && !j.Maybe {
		return p.ballotOver(c, v)
	}
	return p.drawCheck(c, v, http.StatusOK, j, false)
}

func (p *Pages) drawCheck(c *gin.Context, v *view, status int, j *journey, final bool) error {
	data := checkPage{Maybe: j.Maybe, Left: p.ballotTime(v, j), Final: final}
	for i := range v.Poll.Questions {
		one := answered{Question: &v.Poll.Questions[i]}
		for n := range one.Question.Options {
			if slices.Contains(j.Choices[i], n) {
				one.Chosen = append(one.Chosen, &one.Question.Options[n])
			}
		}
		data.Answers = append(data.Answers, one)
	}
	v.Heading, v.Step, v.Data = v.Say("review.title"), 4, data
	if j.Maybe {
		v.Heading = v.Say("cast.unknownTitle")
	}
	v.draw(c, status, "check")
	return nil
}

// cast sends the sealed ballot, under the key it was sealed with.
func (p *Pages) cast(c *gin.Context, v *view) error {
	j, err := p.voting(c, v)
	if j == nil {
		return err
	}
	if j.Sealed == nil || len(j.Choices) != len(v.Poll.Questions) {
		return to(c, v, "ballot")
	}
	var done channelsapi.CastResponse
	err = p.ask(c.Request, question{
		method: http.MethodPost, path: "/v1/ballots", body: map[string]string{"sealed": encode(j.Sealed)}, token: j.Token, key: j.Key,
	}, &done)
	if err != nil {
		return p.refuseCast(c, v, j, refusalOf(err))
	}
	// With the receipt, nothing is left of who voted or how.
	if err := p.keep(c.Writer, &journey{Poll: j.Poll, Code: done.Receipt.Code}); err != nil {
		return err
	}
	return to(c, v, "receipt")
}

func (p *Pages) refuseCast(c *gin.Context, v *view, j *journey, r *refused) error {
	final := false
	counted := v.Say("counted.no")
	switch problem.Code(r.problem.Code) {
	case problem.AlreadyVoted, problem.IdempotencyKeyReused:
		counted, final = v.Say("counted.this"), true
	case problem.PollClosed, problem.TokenExpired, problem.TokenInvalid, problem.TokenMissing, problem.TokenWrongStep:
		final = true
	case problem.BallotCopied, problem.BallotInvalid, problem.BallotWrongSize:
		// It must be sealed anew, from the ballot's page.
		j.Sealed, j.Key = nil, ""
	}
	if r.problem.Effect == channelsapi.ProblemEffect(problem.Unknown) {
		j.Maybe = true
	}
	if j.Maybe {
		counted = v.Say("cast.unknownTitle")
	}
	if err := p.keep(c.Writer, j); err != nil {
		return err
	}
	v.refuse(r, counted)
	return p.drawCheck(c, v, r.problem.Status, j, final || j.Sealed == nil)
}

func (p *Pages) receipt(c *gin.Context, v *view) error {
	j, err := p.journeyOf(c.Request, v.Poll.ID)
	if err != nil {
		return p.lost(c, v)
	}
	if j.Code == "" {
		return to(c, v, "check")
	}
	v.Heading, v.Data = v.Say("receipt.title"), strings.Fields(j.Code)
	v.draw(c, http.StatusOK, "receipt")
	return nil
}

func (p *Pages) clear(c *gin.Context, v *view) error {
	forget(c.Writer)
	return to(c, v, "cleared")
}

func (p *Pages) cleared(c *gin.Context, v *view) error {
	v.Heading = v.Say("cleared.title")
	v.draw(c, http.StatusOK, "cleared")
	return nil
}

//go:embed style.gen.css
var shared []byte

//go:embed plain.css
var own []byte

func style(c *gin.Context) {
	c.Header("Cache-Control", "public, max-age=3600")
	c.Data(http.StatusOK, "text/css; charset=utf-8", slices.Concat(shared, own))
}

// serveRecording answers ranges too: some players ask for nothing else.
func serveRecording(c *gin.Context, wav []byte) {
	c.Header("Content-Type", "audio/wav")
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(wav))
}
