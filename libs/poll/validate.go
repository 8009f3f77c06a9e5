package poll

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a definition. They keep a ballot within the API's 8 kB and a manifest within one screenful
// of a phone's patience.
const (
	MaxQuestions = 20
	MaxOptions   = 100
	// MaxBallotBytes is the longest plain ballot; sealed and in base64 it fits the API's ballot request.
	MaxBallotBytes = 4096

	maxTitle, maxText = 300, 6000 // characters
)

// Default times of the steps, in seconds. Three minutes to prove the phone is what voters had in 2014.
const (
	DefaultSeconds       = 180
	DefaultBallotSeconds = 1800
)

// IdentityTypes are the schemes of identity numbers a poll may ask for; see libs/identity.
var IdentityTypes = []string{"hkid"}

// DefaultAuditWindowDays is how long the identity key is kept after the close where a poll does not say.
const DefaultAuditWindowDays = 90

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// SetDefaults fills in what a poll file may leave out.
func (d *Definition) SetDefaults() {
	if d.Verification.Seconds == 0 {
		d.Verification.Seconds = DefaultSeconds
	}
	if d.Verification.BallotSeconds == 0 {
		d.Verification.BallotSeconds = DefaultBallotSeconds
	}
	for q := range d.Questions {
		if d.Questions[q].Order == "" {
			d.Questions[q].Order = "fixed"
		}
		for o := range d.Questions[q].Options {
			if d.Questions[q].Options[o].Kind == "" {
				d.Questions[q].Options[o].Kind = Choice
			}
		}
	}
}

// Validate reports everything that keeps the definition from being a poll, as Faults. It wants the
// defaults filled in and, unlike Parse, a tally key from every kind of poll.
func (d *Definition) Validate() error {
	var v validator
	v.definition(d)
	if d.TallyKey.IsZero() {
		v.fault("tally_key", "is missing: make one with `popvote trustee new`")
	}
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

// validator collects faults.
type validator struct {
	// languages are those of the poll that are known.
	languages []string
	faults    Faults
}

func (v *validator) fault(path, format string, args ...any) {
	v.faults = append(v.faults, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// definition checks everything but that there is a tally key.
func (v *validator) definition(d *Definition) {
	v.id("id", d.ID)
	oneOf(v, "kind", d.Kind, Public, Rehearsal, Demo)
	v.tongues(d.Languages)
	v.text("title", d.Title, maxTitle)
	v.optionalText("summary", d.Summary)
	v.text("organiser.name", d.Organiser.Name, maxTitle)
	v.link("organiser.url", d.Organiser.URL)
	v.line("organiser.contact", d.Organiser.Contact, maxTitle)
	v.text("notice.purpose", d.Notice.Purpose, maxText)
	v.text("notice.retention", d.Notice.Retention, maxText)
	v.text("notice.effect", d.Notice.Effect, maxText)
	v.times(d.OpensAt, d.ClosesAt)
	oneOf(v, "identity.type", d.Identity.Type, IdentityTypes...)
	oneOf(v, "verification.mode", d.Verification.Mode, VoterSends, VoterReceives)
	v.between("verification.seconds", d.Verification.Seconds, 30, mostSeconds(d.Verification.Mode))
	v.between("verification.ballot_seconds", d.Verification.BallotSeconds, 60, 7200)
	if d.AuditWindowDays != 0 { // 0 is the default
		v.between("audit_window_days", d.AuditWindowDays, 1, 3650)
	}
	v.questions(d)
	if !d.TallyKey.IsZero() {
		if err := d.TallyKey.Check(); err != nil {
			v.fault("tally_key", "is not a P-256 public key: %v", err)
		}
	}
}

func (v *validator) tongues(languages []string) {
	if len(languages) == 0 {
		v.fault("languages", "is missing: list at least one of %s", strings.Join(Languages, ", "))
	}
	for i, l := range languages {
		path := fmt.Sprintf("languages[%d]", i)
		switch {
		case !slices.Contains(Languages, l):
			v.fault(path, "%q is not a language of the voter's page; choose from %s", l, strings.Join(Languages, ", "))
		case slices.Contains(languages[:i], l):
			v.fault(path, "%q is listed twice", l)
		default:
			v.languages = append(v.languages, l)
		}
	}
}

func (v *validator) times(opens, closes time.Time) {
	if opens.IsZero() {
		v.fault("opens_at", "is missing")
	}
	if closes.IsZero() {
		v.fault("closes_at", "is missing")
	}
	if !opens.IsZero() && !closes.IsZero() && !closes.After(opens) {
		v.fault("closes_at", "must be after opens_at")
	}
}

func (v *validator) questions(d *Definition) {
	switch n := len(d.Questions); {
	case n == 0:
		v.fault("questions", "is missing: a poll asks at least one question")
	case n > MaxQuestions:
		v.fault("questions", "has %d questions; at most %d are possible", n, MaxQuestions)
		return
	}
	ids := make(map[string]int)
	for i := range d.Questions {
		path := fmt.Sprintf("questions[%d]", i)
		v.uniqueID(path+".id", d.Questions[i].ID, i, ids, "question")
		v.question(path, &d.Questions[i])
	}
	if n := longestBallot(d); n > MaxBallotBytes {
		v.fault("questions", "the longest ballot has %d bytes; at most %d are possible: shorten the option ids or split the poll", n, MaxBallotBytes)
	}
}

func (v *validator) question(path string, q *Question) {
	v.text(path+".title", q.Title, maxTitle)
	v.optionalText(path+".text", q.Text)
	oneOf(v, path+".order", q.Order, "fixed", "random")
	switch n := len(q.Options); {
	case n < 2:
		v.fault(path+".options", "must be at least two options")
	case n > MaxOptions:
		v.fault(path+".options", "has %d options; at most %d are possible", n, MaxOptions)
		return
	}
	ids, kinds := make(map[string]int), make(map[OptionKind]int)
	for i := range q.Options {
		o, at := &q.Options[i], fmt.Sprintf("%s.options[%d]", path, i)
		v.uniqueID(at+".id", o.ID, i, ids, "option")
		v.text(at+".label", o.Label, maxTitle)
		v.optionalText(at+".text", o.Text)
		oneOf(v, at+".kind", o.Kind, Choice, Abstain, Blank)
		if kinds[o.Kind]++; kinds[o.Kind] > 1 && (o.Kind == Abstain || o.Kind == Blank) {
			v.fault(at+".kind", "a question has at most one option of kind %s", o.Kind)
		}
	}
	choices := kinds[Choice]
	if choices == 0 && len(q.Options) > 0 {
		v.fault(path+".options", "must have an option to choose, besides abstain and blank")
		return
	}
	if q.Max < 1 {
		v.fault(path+".max", "must be at least 1")
	} else if q.Max > choices {
		v.fault(path+".max", "is %d, but there are only %d options to choose", q.Max, choices)
	}
	if q.Min < 0 {
		v.fault(path+".min", "must not be negative")
	} else if q.Max >= 1 && q.Min > q.Max {
		v.fault(path+".min", "is %d, more than max, which is %d", q.Min, q.Max)
	}
}

func (v *validator) id(path, id string) bool {
	if id == "" {
		v.fault(path, "is missing")
		return false
	}
	if !idPattern.MatchString(id) {
		v.fault(path, "%q must be 1 to 40 of a-z, 0-9 and hyphens, and not begin with a hyphen", id)
		return false
	}
	return true
}

func (v *validator) uniqueID(path, id string, index int, seen map[string]int, what string) {
	if !v.id(path, id) {
		return
	}
	if first, ok := seen[id]; ok {
		v.fault(path, "%q is already the id of %s %d", id, what, first+1)
		return
	}
	seen[id] = index
}

// optionalText checks a text that may be left out as a whole, but not in one language only.
func (v *validator) optionalText(path string, t Text) {
	if len(t) > 0 {
		v.text(path, t, maxText)
	}
}

func (v *validator) text(path string, t Text, limit int) {
	if len(t) == 0 {
		v.fault(path, "is missing")
		return
	}
	if len(v.languages) == 0 {
		return // said already, once
	}
	for _, l := range v.languages {
		s, ok := t[l]
		switch {
		case !ok:
			v.fault(path, "has no text in %s", l)
		case strings.TrimSpace(s) == "":
			v.fault(path+"."+l, "is empty")
		default:
			v.line(path+"."+l, s, limit)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(t)) {
		if !slices.Contains(v.languages, l) {
			v.fault(path+"."+l, "the poll does not list the language %q", l)
		}
	}
}

func (v *validator) line(path, s string, limit int) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		v.fault(path, "has characters that cannot be shown")
	} else if n := utf8.RuneCountInString(s); n > limit {
		v.fault(path, "has %d characters; at most %d are possible", n, limit)
	}
}

func (v *validator) link(path, s string) {
	if s == "" {
		return
	}
	if u, err := url.Parse(s); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || len(s) > 2000 {
		v.fault(path, "must be a web address that begins with https:// or http://")
	}
}

// mostSeconds is how long a phone may be proved at most. A code out of band is good for ten minutes and no longer
// (OWASP ASVS 5.0, 6.5.5); what a voter sends is no secret to be guessed.
func mostSeconds(m Mode) int {
	if m == VoterReceives {
		return 600
	}
	return 3600
}

func (v *validator) between(path string, n, least, most int) {
	if n < least || n > most {
		v.fault(path, "is %d; it must be from %d to %d", n, least, most)
	}
}

func oneOf[T ~string](v *validator, path string, s T, allowed ...T) {
	if slices.Contains(allowed, s) {
		return
	}
	list := make([]string, len(allowed))
	for i, a := range allowed {
		list[i] = string(a)
	}
	if s == "" {
		v.fault(path, "is missing: choose from %s", strings.Join(list, ", "))
		return
	}
	v.fault(path, "%q is not known; choose from %s", s, strings.Join(list, ", "))
}

// longestBallot is an upper bound of the longest plain ballot in bytes.
func longestBallot(d *Definition) int {
	n := len(`{"v":1,"poll":"","answers":[]}`) + len(d.ID) + 1
	for _, q := range d.Questions {
		lengths := make([]int, 0, len(q.Options))
		for _, o := range q.Options {
			lengths = append(lengths, len(o.ID)+len(`"",`))
		}
		slices.Sort(lengths)
		slices.Reverse(lengths)
		n += len(`[],`)
		for _, l := range lengths[:max(0, min(q.Max, len(lengths)))] {
			n += l
		}
	}
	return n
}
