package plain

import (
	"bytes"
	"embed"
	"encoding/base64"
	"html/template"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the templates by name, each within the frame.
var pages = func() map[string]*template.Template {
	frame := template.Must(template.ParseFS(pageFiles, "pages/frame.html"))
	out := map[string]*template.Template{}
	files, err := pageFiles.ReadDir("pages")
	if err != nil {
		panic("plain: embedded files can be read: " + err.Error())
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), path.Ext(f.Name()))
		out[name] = template.Must(template.Must(frame.Clone()).ParseFS(pageFiles, "pages/"+f.Name()))
	}
	return out
}()

// lastStep: identity and phone, verification, ballot, check.
const lastStep = 4

// view is one page as its template sees it.
type view struct {
	Lang string
	Poll *poll.Manifest // nil where there is none
	// Heading is the page's question; HeadingLang its language where it is not the page's.
	Heading, HeadingLang string
	// Step of lastStep, or 0. Time is what is left, for the title.
	Step   int
	Time   string
	Faults []fault
	Wrong  *wrong
	Data   any
	// Form is the form that another language is asked for with, where leaving the page would lose what is in it.
	Form string

	words words
	clock func() time.Time
	path  string
}

// fault is something wrong with a field.
type fault struct{ Field, Says string }

// wrong is a problem that no field has: what happened, whether the vote counted, what to do now.
type wrong struct{ What, Counted, Now, Retry string }

// fieldsOf leads from the API's fields, and from its problems, to the fields of a page.
var fieldsOf = map[string]string{"/identity/number": "number", "/phone": "phone", "/challenge": "digits", "/code": "code"}

// captchaFaults are the problems of a proof of work, said of digits.
var captchaFaults = map[problem.Code]string{
	problem.ChallengeInvalid: "plain.captchaFaults.wrong",
	problem.ChallengeExpired: "plain.captchaFaults.expired",
	problem.ChallengeSpent:   "plain.captchaFaults.spent",
	problem.InvalidField:     "plain.captchaFaults.wrong",
}

// tooLong are the problems of a field that the API would not even read.
var tooLong = map[string]problem.Code{"number": problem.IdentityInvalid, "phone": problem.PhoneInvalid}

// faultOf shows a problem by the field it concerns; false if it concerns none of the page's.
func (v *view) faultOf(r *refused) bool {
	if r.problem.Field == nil {
		return false
	}
	field, known := fieldsOf[*r.problem.Field]
	if !known {
		return false
	}
	code := problem.Code(r.problem.Code)
	if field == "digits" {
		v.fault(field, v.Say(captchaFaults[code]))
		return true
	}
	if instead, ok := tooLong[field]; ok && code == problem.InvalidField {
		code = instead
	}
	what, now := v.words.trouble(string(code))
	v.fault(field, what+v.Say("gap")+now)
	return true
}

func (v *view) fault(field, says string) { v.Faults = append(v.Faults, fault{field, says}) }

// Fault is what is wrong with a field, or empty.
func (v *view) Fault(field string) string {
	if i := slices.IndexFunc(v.Faults, func(f fault) bool { return f.Field == field }); i >= 0 {
		return v.Faults[i].Says
	}
	return ""
}

// refuse shows a problem above the page.
func (v *view) refuse(r *refused, counted string) {
	v.Wrong = &wrong{Counted: counted}
	v.Wrong.What, v.Wrong.Now = v.words.trouble(string(r.problem.Code))
	if r.problem.RetryAfter != nil && *r.problem.RetryAfter > 0 {
		v.Wrong.Retry = v.Say("retryIn", v.words.span(*r.problem.RetryAfter))
	}
}

func retryAfter(r *refused) string {
	if r.problem.RetryAfter == nil {
		return "1"
	}
	return strconv.Itoa(*r.problem.RetryAfter)
}

// draw answers with the page.
func (v *view) draw(c *gin.Context, status int, page string) {
	var b bytes.Buffer
	if err := pages[page].ExecuteTemplate(&b, "frame.html", v); err != nil {
		panic("plain: the page " + page + " can't be drawn: " + err.Error()) // the tests draw every one
	}
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
}

// Say returns words of the page's language.
func (v *view) Say(key string, given ...any) string { return v.words.say(key, given...) }

// List returns several.
func (v *view) List(key string, given ...any) []string { return v.words.list(key, given...) }

// Span is a time in words.
func (v *view) Span(seconds int) string { return v.words.span(seconds) }

// Tries says how many are left.
func (v *view) Tries(n int) string { return v.words.counted("receives.tries", n) }

// Path is the address of a page of this poll, in this language; of the list without a poll.
func (v *view) Path(page string) string {
	if v.Poll == nil {
		return Prefix + v.Lang + "/"
	}
	return strings.TrimSuffix(Prefix+v.Lang+"/"+v.Poll.ID+"/"+page, "/")
}

// Scripted is the address of the page that runs scripts.
func (v *view) Scripted() string {
	if v.Poll == nil {
		return "/" + v.Lang + "/"
	}
	return "/" + v.Lang + "/?poll=" + v.Poll.ID
}

// Captcha is the address of a ticket's picture or recording.
func (v *view) Captcha(ticket, form string) string {
	return Prefix + "captcha/" + v.Poll.ID + "/" + ticket + "." + form
}

// Recordings are the languages to hear the digits in, the page's own first.
func (v *view) Recordings() []string {
	if v.Lang == "en" {
		return []string{"en"}
	}
	return []string{"zh", "en"} // not everybody who reads Chinese understands Mandarin
}

// language is one in which this page can be had.
type language struct {
	Tag, Name, Path string
	Current         bool
}

// Languages are those of the poll. A page that only answers a form is had again from its beginning.
func (v *view) Languages() []language {
	var out []language
	for _, l := range languages {
		if v.Poll != nil && !slices.Contains(v.Poll.Languages, l.Tag) {
			continue
		}
		rest := strings.TrimPrefix(v.path, Prefix+v.Lang)
		for _, answer := range []string{"/resend", "/call", "/arrived"} {
			if before, found := strings.CutSuffix(rest, answer); found {
				rest = before + "/phone"
			}
		}
		out = append(out, language{l.Tag, l.Name, Prefix + l.Tag + rest, l.Tag == v.Lang})
	}
	return out
}

// Title says where the voter is: the step, the time left, the question, the poll.
func (v *view) Title() string {
	var parts []string
	if len(v.Faults) > 0 || v.Wrong != nil {
		parts = append(parts, v.Say("error"))
	}
	if v.Step > 0 {
		parts = append(parts, v.Where())
	}
	if v.Time != "" {
		parts = append(parts, v.Time)
	}
	parts = append(parts, v.Heading)
	if v.Poll != nil {
		if title, _ := v.pick(v.Poll.Title); title != v.Heading {
			parts = append(parts, title)
		}
	}
	return strings.Join(parts, " · ")
}

// Where is the step in words.
func (v *view) Where() string { return v.Say("step", v.Step, lastStep) }

// pick returns a poll's words, and their language where it is not the page's.
func (v *view) pick(text poll.Text) (says, lang string) {
	if own := text[v.Lang]; own != "" {
		return own, ""
	}
	for _, tag := range poll.Languages {
		if text[tag] != "" {
			return text[tag], tag
		}
	}
	return "", ""
}

// T is a poll's words as HTML, marked with their language where it is not the page's.
func (v *view) T(text poll.Text) template.HTML {
	says, lang := v.pick(text)
	escaped := template.HTMLEscapeString(says)
	if lang != "" {
		escaped = `<span lang="` + template.HTMLEscapeString(lang) + `">` + escaped + "</span>"
	}
	return template.HTML(escaped) //nolint:gosec // escaped just above
}

// Paragraphs are a poll's longer words, a paragraph per line.
func (v *view) Paragraphs(text poll.Text) []template.HTML {
	says, lang := v.pick(text)
	var out []template.HTML
	for line := range strings.SplitSeq(says, "\n") {
		if strings.TrimSpace(line) != "" {
			out = append(out, v.T(poll.Text{or(lang, v.Lang): line}))
		}
	}
	return out
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// hongKong is the time of the place whose polls these are: it has known no summer time since 1979.
var hongKong = time.FixedZone("HKT", 8*60*60)

// Moment is a time in words.
func (v *view) Moment(t time.Time) string {
	form := "2 January 2006, 15:04"
	if v.Lang != "en" {
		form = "2006年1月2日 15:04"
	}
	return v.Say("moment", t.In(hongKong).Format(form), v.Say("plain.zone"))
}

// State is what may be done in the poll just now.
func (v *view) State() string {
	m := v.Poll
	switch m.State {
	case poll.Open:
		if v.clock().Before(m.OpensAt) {
			return v.Say("about.opens", v.Moment(m.OpensAt))
		}
		return v.Say("about.until", v.Moment(m.ClosesAt))
	case poll.Paused:
		return v.Say("about.paused")
	case poll.Closed:
		return v.Say("about.over")
	case poll.Counted:
		return v.Say("about.counted")
	case poll.Published:
		return v.Say("about.published")
	}
	return v.Say("about.notYet")
}

// Votable reports whether a vote can be begun here now.
func (v *view) Votable() bool {
	return v.Poll.State == poll.Open && !v.clock().Before(v.Poll.OpensAt) && offered(v.Poll)
}

// Offered reports whether the poll's rules let the server seal.
func (v *view) Offered() bool { return offered(v.Poll) }

// Sends reports whether voters prove their phone by sending an SMS.
func (v *view) Sends() bool { return v.Poll.Verification.Mode == poll.VoterSends }

// SMS is an sms: link of the API's own making, as an address that templates let through.
func (v *view) SMS(link string) template.URL {
	if !strings.HasPrefix(link, "sms:") {
		return ""
	}
	return template.URL(link) //nolint:gosec // of our own making, and no other scheme
}

// shuffle draws an order from a voter's chance, one for each question.
func shuffle(choices []int, chance uint64, question int) {
	drawn := rand.New(rand.NewPCG(chance, uint64(question))) //nolint:gosec // an order, not a secret
	drawn.Shuffle(len(choices), func(i, k int) { choices[i], choices[k] = choices[k], choices[i] })
}

// encode is a sealed ballot as the API takes it.
func encode(sealed []byte) string { return base64.RawURLEncoding.EncodeToString(sealed) }
