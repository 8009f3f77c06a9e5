package server

import (
	"context"
	"errors"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/api-server/captcha"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/jwk"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
)

// plainBrowser is a browser without scripts: it keeps cookies, follows redirects, and fills in forms.
type plainBrowser struct {
	w       *world
	cookies map[string]string
	from    string
	// at is the address of the page shown; asked every address so far.
	at    string
	asked []string
	page  reply
}

func (w *world) browser() *plainBrowser {
	return &plainBrowser{w: w, cookies: map[string]string{}, from: "192.0.2.7:1234"}
}

func (b *plainBrowser) get(path string) *plainBrowser { return b.send("GET", path, nil) }

func (b *plainBrowser) post(path string, form url.Values) *plainBrowser {
	return b.send("POST", path, form)
}

func (b *plainBrowser) send(method, path string, form url.Values, options ...option) *plainBrowser {
	b.w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr = b.from
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://vote.example")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, o := range options {
		o(r)
	}
	recorder := httptest.NewRecorder()
	b.w.server.Handler().ServeHTTP(recorder, r)
	result := recorder.Result()
	for _, c := range result.Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			b.w.t.Errorf("%s: a cookie that is not as strict as can be: %s", path, c.String())
		}
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	b.at, b.asked, b.page = path, append(b.asked, path), reply{recorder.Code, result.Header, recorder.Body.Bytes()}
	if to := result.Header.Get("Location"); to != "" {
		if method == "POST" && recorder.Code != http.StatusSeeOther {
			b.w.t.Errorf("POST %s leads on with %d", path, recorder.Code)
		}
		return b.send("GET", to, nil)
	}
	b.inspect()
	return b
}

var headings = regexp.MustCompile(`(?s)<h1[^>]*>(.*?)</h1>`)

// inspect holds every page to what all must be.
func (b *plainBrowser) inspect() {
	b.w.t.Helper()
	h, body := b.page.header, b.body()
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		return
	}
	csp := h.Get("Content-Security-Policy")
	if h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "script") ||
		!strings.Contains(csp, "form-action 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		b.w.t.Errorf("%s: headers %v", b.at, h)
	}
	if strings.Contains(body, "<script") || strings.Contains(body, " style=") || strings.Contains(body, "http-equiv") {
		b.w.t.Errorf("%s: more than plain HTML: %s", b.at, body)
	}
	all := headings.FindAllStringSubmatch(body, -1)
	title := regexp.MustCompile(`<title>(.*?)</title>`).FindStringSubmatch(body)
	if len(all) != 1 || len(title) != 2 || !strings.Contains(title[1], all[0][1]) {
		b.w.t.Errorf("%s: headings %q, title %q", b.at, all, title)
	}
	if strings.HasPrefix(b.at, "/plain/zh") || strings.HasPrefix(b.at, "/plain/en/") {
		if lang := strings.Split(b.at, "/")[2]; !strings.Contains(body, `<html lang="`+lang+`">`) {
			b.w.t.Errorf("%s is not in %s", b.at, lang)
		}
	}
	for _, leftOver := range []string{"{0}", "{1}", "%!", "ZgotmplZ", "<no value>"} {
		if strings.Contains(body, leftOver) {
			b.w.t.Errorf("%s has a %s in it", b.at, leftOver)
		}
	}
}

func (b *plainBrowser) body() string { return string(b.page.body) }

func (b *plainBrowser) heading() string {
	return html.UnescapeString(headings.FindStringSubmatch(b.body())[1])
}

// field is what a form's field holds.
func (b *plainBrowser) field(name string) string {
	b.w.t.Helper()
	found := regexp.MustCompile(`<input[^>]* name="` + name + `"[^>]*>`).FindString(b.body())
	if found == "" {
		b.w.t.Fatalf("%s has no field %s: %s", b.at, name, b.body())
	}
	value := regexp.MustCompile(`value="([^"]*)"`).FindStringSubmatch(found)
	if value == nil {
		return ""
	}
	return html.UnescapeString(value[1])
}

// fault is what is said by a field.
func (b *plainBrowser) fault(name string) string {
	found := regexp.MustCompile(`<p class="fault" id="` + name + `-fault">(.*?)</p>`).FindStringSubmatch(b.body())
	if found == nil {
		return ""
	}
	if !strings.Contains(b.body(), `<a href="#`+name+`">`+found[1]+`</a>`) {
		b.w.t.Errorf("%s: the summary does not lead to %s", b.at, name)
	}
	return html.UnescapeString(found[1])
}

// outputs are what is to be sent, and where to.
func (b *plainBrowser) outputs() []string {
	var out []string
	for _, one := range regexp.MustCompile(`<output>(.*?)</output>`).FindAllStringSubmatch(b.body(), -1) {
		out = append(out, html.UnescapeString(one[1]))
	}
	return out
}

// digits are a ticket's, by the world's own key.
func (w *world) digits(ticket, pollID, from string) string {
	w.t.Helper()
	secret, err := w.keys.Secret(context.Background(), keyring.Challenges, "")
	if err != nil {
		w.t.Fatal(err)
	}
	q, err := captcha.NewIssuer(secret, w.clock.now).Open(ticket, pollID, netip.MustParseAddrPort(from).Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	return q.Text()
}

// identify fills in the first form.
func (b *plainBrowser) identify(lang, id string, p person) *plainBrowser {
	b.w.t.Helper()
	b.get("/plain/" + lang + "/" + id + "/who")
	return b.post("/plain/"+lang+"/"+id+"/who", b.whoForm(id, p))
}

func (b *plainBrowser) whoForm(id string, p person) url.Values {
	b.w.t.Helper()
	ticket := b.field("ticket")
	return url.Values{"number": {p.hkid}, "phone": {p.phone}, "ticket": {ticket}, "digits": {b.w.digits(ticket, id, b.from)}}
}

// prove confirms the phone.
func (b *plainBrowser) prove(lang, id string, p person) *plainBrowser {
	b.w.t.Helper()
	at := "/plain/" + lang + "/" + id + "/"
	if id == sends {
		b.w.text(p.phone, b.outputs()[1])
		return b.get(at + "arrived")
	}
	return b.post(at+"phone", url.Values{"code": {b.w.phones.code(b.w.t, p.phone)}})
}

// choices picks an option of every question.
func (w *world) choices(id string, nth int) (url.Values, ballot.Answers) {
	form, answers := url.Values{}, ballot.Answers{}
	for _, q := range w.box.polls[id].manifest.Questions {
		form.Set("q-"+q.ID, q.Options[nth].ID)
		answers = append(answers, []string{q.Options[nth].ID})
	}
	return form, answers
}

// vote goes the whole way to the page that casts.
func (b *plainBrowser) vote(lang, id string, p person) *plainBrowser {
	b.w.t.Helper()
	b.identify(lang, id, p).prove(lang, id, p)
	form, _ := b.w.choices(id, 1)
	return b.post("/plain/"+lang+"/"+id+"/ballot", form)
}

func TestAVoterWithoutScriptsGoesTheWholeWay(t *testing.T) {
	key := jwkScalar(t)
	for _, lang := range poll.Languages {
		for _, id := range []string{sends, receives} {
			t.Run(lang+" "+id, func(t *testing.T) {
				w := newWorld(t, func(w *world) {
					w.box.set(id, poll.Open, func(d *poll.Definition) { d.TallyKey = key.public })
				})
				b, p := w.browser(), w.someone()
				b.get("/plain/" + lang + "/")
				if !strings.Contains(b.body(), `href="/plain/`+lang+`/`+id+`"`) {
					t.Fatalf("the list does not lead to the poll: %s", b.body())
				}
				b.get("/plain/" + lang + "/" + id)
				said, begin := strings.Index(b.body(), `class="box warn"`), strings.Index(b.body(), "/who")
				if said < 0 || begin < said {
					t.Errorf("that the server sees the vote is not said before it begins: %s", b.body())
				}
				b.get("/plain/" + lang + "/" + id + "/who")
				form := b.whoForm(id, p)
				if strings.Contains(b.body(), form.Get("digits")) {
					t.Errorf("the digits are in the page: %s", b.body())
				}
				if b.post("/plain/"+lang+"/"+id+"/who", form); b.page.status != http.StatusOK || !strings.HasSuffix(b.at, "/phone") {
					t.Fatalf("%s: %d %s", b.at, b.page.status, b.body())
				}
				if !strings.Contains(b.body(), p.phone[len(p.phone)-4:]) {
					t.Error("which phone is meant is not said")
				}
				if b.prove(lang, id, p); !strings.HasSuffix(b.at, "/ballot") {
					t.Fatalf("%s: %d %s", b.at, b.page.status, b.body())
				}
				choices, want := w.choices(id, 1)
				if b.post("/plain/"+lang+"/"+id+"/ballot", choices); !strings.HasSuffix(b.at, "/check") {
					t.Fatalf("%s: %d %s", b.at, b.page.status, b.body())
				}
				for _, q := range w.box.polls[id].manifest.Questions {
					if !strings.Contains(b.body(), "<b>"+html.EscapeString(q.Options[1].Label[lang])+"</b>") {
						t.Errorf("the choice %s is not shown: %s", q.Options[1].ID, b.body())
					}
				}
				if b.post("/plain/"+lang+"/"+id+"/check", nil); !strings.HasSuffix(b.at, "/receipt") {
					t.Fatalf("%s: %d %s", b.at, b.page.status, b.body())
				}
				votes := slices.Collect(maps.Values(w.box.polls[id].votes))
				if len(votes) != 1 {
					t.Fatalf("%d votes are in the box", len(votes))
				}
				code := strings.Join(regexp.MustCompile(`<span>([0-9A-Z]{4}) </span>`).FindAllString(b.body(), -1), "")
				if code = regexp.MustCompile(`</?span>`).ReplaceAllString(code, ""); strings.TrimSpace(code) != votes[0].receipt.Code {
					t.Errorf("the code is %q, want %q", code, votes[0].receipt.Code)
				}
				opener, err := ballot.NewOpener(id, key.scalar)
				if err != nil {
					t.Fatal(err)
				}
				plain, err := opener.Open([]byte(votes[0].sealed))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := ballot.Decode(&w.box.polls[id].manifest, plain); err != nil || !slices.EqualFunc(got, want, slices.Equal) {
					t.Errorf("the ballot says %v, want %v: %v", got, want, err)
				}
				// Afterwards the other pages lead to the receipt, and clearing leaves nothing.
				if b.get("/plain/" + lang + "/" + id + "/check"); !strings.HasSuffix(b.at, "/receipt") {
					t.Errorf("a voter who has voted is led to %s", b.at)
				}
				if b.post("/plain/"+lang+"/"+id+"/clear", nil); len(b.cookies) != 0 || !strings.HasSuffix(b.at, "/cleared") {
					t.Errorf("%s, with cookies %v", b.at, b.cookies)
				}
				secrets := []string{p.hkid, p.hkid[:7], p.phone, p.phone[4:]}
				for _, secret := range secrets {
					if strings.Contains(strings.Join(b.asked, "\n"), secret) {
						t.Errorf("%s is in an address: %s", secret, b.asked)
					}
					if strings.Contains(w.log.String(), secret) {
						t.Errorf("%s is in the log", secret)
					}
				}
			})
		}
	}
}

type tallyKey struct {
	scalar []byte
	public poll.JWK
}

func jwkScalar(t *testing.T) tallyKey {
	t.Helper()
	scalar := make([]byte, 32)
	scalar[31] = 9
	opener, err := ballot.NewOpener("any", scalar)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwk.PublicKey(opener.Key()); err != nil {
		t.Fatal(err)
	}
	return tallyKey{scalar, opener.Key()}
}

// TestACaptchaIsAnsweredOnce: wrong, old, used or somebody else's digits start no session, and what was
// typed beside them stays.
func TestACaptchaIsAnsweredOnce(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*plainBrowser, url.Values)
		says   string
	}{
		"wrong": {func(_ *plainBrowser, form url.Values) {
			n, _ := strconv.Atoi(form.Get("digits"))
			form.Set("digits", strconv.Itoa(1_000_000 + (n+1)%1_000_000)[1:])
		}, "Those were not the digits shown"},
		"right after wrong": {func(b *plainBrowser, form url.Values) {
			wrong := url.Values{"number": form["number"], "phone": form["phone"], "ticket": form["ticket"], "digits": {"none"}}
			b.post("/plain/en/sends/who", wrong)
		}, "used already"},
		"used": {func(b *plainBrowser, form url.Values) {
			if b.post("/plain/en/sends/who", form); !strings.HasSuffix(b.at, "/phone") {
				t.Errorf("the first time it leads to %s", b.at)
			}
		}, "used already"},
		"old":              {func(b *plainBrowser, _ url.Values) { b.w.clock.advance(captcha.TTL) }, "too long ago"},
		"changed":          {func(_ *plainBrowser, form url.Values) { form.Set("ticket", "A"+form.Get("ticket")[1:]+"A") }, "not the digits"},
		"none":             {func(_ *plainBrowser, form url.Values) { form.Del("ticket") }, "not the digits"},
		"no digits":        {func(_ *plainBrowser, form url.Values) { form.Set("digits", "") }, "Enter the six digits"},
		"long":             {func(_ *plainBrowser, form url.Values) { form.Set("digits", strings.Repeat("7", 5000)) }, "not the digits"},
		"another network":  {func(b *plainBrowser, _ url.Values) { b.from = "198.51.100.9:1" }, "not the digits"},
		"of another poll":  {func(b *plainBrowser, form url.Values) { other(b, form) }, "not the digits"},
		"a work's payload": {func(b *plainBrowser, form url.Values) { form.Set("ticket", ""); form.Set("digits", b.w.solve()) }, "not the digits"},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := w.browser(), w.someone()
			b.get("/plain/en/sends/who")
			form := b.whoForm(sends, p)
			c.change(b, form)
			b.cookies = map[string]string{}
			b.post("/plain/en/sends/who", form)
			if got := b.fault("digits"); !strings.Contains(got, c.says) {
				t.Errorf("%d: %q, want %q: %s", b.page.status, got, c.says, b.body())
			}
			if b.page.status != http.StatusForbidden && b.page.status != http.StatusUnprocessableEntity && b.page.status != http.StatusBadRequest {
				t.Errorf("status %d", b.page.status)
			}
			if b.field("number") != p.hkid || b.field("phone") != p.phone || b.field("digits") != "" {
				t.Errorf("kept: %q, %q and %q", b.field("number"), b.field("phone"), b.field("digits"))
			}
			if b.field("ticket") == form.Get("ticket") || len(b.cookies) != 0 {
				t.Errorf("the same digits are asked for again, or a session began: %v", b.cookies)
			}
		})
	}
}

func other(b *plainBrowser, form url.Values) {
	b.get("/plain/en/receives/who")
	form.Set("ticket", b.field("ticket"))
	form.Set("digits", b.w.digits(b.field("ticket"), receives, b.from))
}

// TestFaultsAreShownByTheirField, and the digits were not used up by them.
func TestFaultsAreShownByTheirField(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ number, phone, field string }{
		"check digit": {"A123456(1)", "91234567", "number"},
		"no number":   {"", "91234567", "number"},
		"too long":    {strings.Repeat("A", 500), "91234567", "number"},
		"no phone":    {hkid(77), "", "phone"},
		"land line":   {hkid(77), "25221234", "phone"},
		"not a phone": {hkid(77), "12", "phone"},
		"markup":      {`"><b>x`, "91234567", "number"},
	} {
		b := w.browser().get("/plain/zh-Hant-HK/sends/who")
		form := b.whoForm(sends, person{c.number, c.phone})
		b.post("/plain/zh-Hant-HK/sends/who", form)
		if b.page.status != http.StatusUnprocessableEntity && b.page.status != http.StatusBadRequest || b.fault(c.field) == "" || b.fault("digits") != "" {
			t.Errorf("%s: %d %s", name, b.page.status, b.body())
		}
		if b.field("number") != c.number || b.field("phone") != c.phone {
			t.Errorf("%s: kept %q and %q", name, b.field("number"), b.field("phone"))
		}
		form.Set("number", hkid(78))
		form.Set("phone", "91234568")
		if b.post("/plain/zh-Hant-HK/sends/who", form); !strings.HasSuffix(b.at, "/phone") {
			t.Errorf("%s: the digits were used up: %s", name, b.body())
		}
	}
	b := w.browser().get("/plain/en/sends/who")
	first := b.field("ticket")
	b.post("/plain/en/sends/who", url.Values{"number": {"A1"}, "phone": {"9"}, "another": {"1"}})
	if b.page.status != http.StatusOK || b.field("number") != "A1" || b.field("ticket") == first || strings.Contains(b.body(), "fault") {
		t.Errorf("asking for other digits: %d %s", b.page.status, b.body())
	}
}

// TestOnlyWhereThePollSaysSo: without its rule there is neither a captcha nor a ballot to fill in.
func TestOnlyWhereThePollSaysSo(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.box.set(sends, poll.Open, func(d *poll.Definition) { d.SealOnServer = false })
	})
	b := w.browser().get("/plain/en/sends")
	if strings.Contains(b.body(), "/who") || !strings.Contains(b.body(), "This poll needs JavaScript") || !strings.Contains(b.body(), `href="/en/?poll=sends"`) {
		t.Error(b.body())
	}
	if b.get("/plain/en/sends/who"); b.at != "/plain/en/sends" {
		t.Errorf("the form is at %s all the same", b.at)
	}
	b.get("/plain/en/receives/who")
	form := b.whoForm(receives, w.someone())
	if b.post("/plain/en/sends/who", form); b.at != "/plain/en/sends" || len(b.cookies) != 0 {
		t.Errorf("a session at %s: %v", b.at, b.cookies)
	}
}

// TestNothingOfTheStateCanBeChanged: it is sealed, for its poll.
func TestNothingOfTheStateCanBeChanged(t *testing.T) {
	w := newWorld(t)
	const name = "__Host-popvote-plain"
	b, p := w.browser(), w.someone()
	b.identify("en", sends, p).prove("en", sends, p)
	good := b.cookies[name]
	changed := []byte(good)
	changed[len(changed)/2] ^= 1
	for what, value := range map[string]string{
		"changed": string(changed), "cut": good[:len(good)-8], "nothing": "", "junk": "!!", "short": "AAAA", "none of our keys": "f" + good[1:],
	} {
		b.cookies[name] = value
		if b.get("/plain/en/sends/ballot"); b.page.status != http.StatusUnauthorized || !strings.Contains(b.body(), "lost track of you") {
			t.Errorf("%s: %d %s", what, b.page.status, b.body())
		}
	}
	b.cookies[name] = good
	if b.get("/plain/en/receives/ballot"); b.page.status != http.StatusUnauthorized {
		t.Errorf("in another poll: %d", b.page.status)
	}
	if b.get("/plain/en/sends/receipt"); !strings.HasSuffix(b.at, "/ballot") {
		t.Errorf("a receipt before the vote is at %s", b.at)
	}
	if b.post("/plain/en/sends/check", nil); !strings.HasSuffix(b.at, "/ballot") || w.box.count("cast") != 0 {
		t.Errorf("casting nothing leads to %s", b.at)
	}
	q := w.box.polls[sends].manifest.Questions[0]
	for what, form := range map[string]url.Values{
		"an option of no question": {"q-" + q.ID: {"made-up"}},
		"an option twice":          {"q-" + q.ID: {q.Options[0].ID, q.Options[0].ID}},
	} {
		if b.post("/plain/en/sends/ballot", form); b.page.status != http.StatusBadRequest {
			t.Errorf("%s: %d", what, b.page.status)
		}
	}
	if b.post("/plain/en/sends/ballot", url.Values{"q-" + q.ID: {q.Options[0].ID, q.Options[1].ID}}); b.page.status != http.StatusUnprocessableEntity ||
		!strings.Contains(b.body(), `<p class="fault">Choose at most 1 options</p>`) {
		t.Errorf("two of one: %d %s", b.page.status, b.body())
	}
}

// TestWhoHasNotProvedThePhoneHasNoBallot, whichever page they ask for.
func TestWhoHasNotProvedThePhoneHasNoBallot(t *testing.T) {
	w := newWorld(t)
	b := w.browser().identify("en", receives, w.someone())
	form, _ := w.choices(receives, 0)
	for _, page := range []string{"ballot", "check"} {
		if b.get("/plain/en/receives/" + page); !strings.HasSuffix(b.at, "/phone") {
			t.Errorf("%s leads to %s", page, b.at)
		}
		if b.post("/plain/en/receives/"+page, form); !strings.HasSuffix(b.at, "/phone") {
			t.Errorf("posting %s leads to %s", page, b.at)
		}
	}
	if w.box.count("cast") != 0 {
		t.Error("something was cast")
	}
}

func TestACodeIsSpoken(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Calls = true })
	b, p := w.browser(), w.someone()
	b.identify("en", receives, p)
	const at, offer = "/plain/en/receives/", "Call me and say the code"
	if strings.Contains(b.body(), offer) {
		t.Error("a call is offered before the second SMS")
	}
	w.clock.advance(30 * time.Second)
	if b.post(at+"resend", nil); !strings.Contains(b.body(), offer) {
		t.Errorf("no call is offered: %s", b.body())
	}
	code := w.phones.code(t, p.phone)
	w.clock.advance(time.Minute)
	if b.post(at+"call", nil); b.page.status != http.StatusOK || !strings.Contains(b.body(), "Your phone is about to ring") || strings.Contains(b.body(), "Another code is on its way") {
		t.Errorf("a call: %d %s", b.page.status, b.body())
	}
	if w.phones.count() != 3 || w.phones.sent[2].Kind != sms.ByCall {
		t.Errorf("%+v", w.phones.sent)
	}
	if b.post(at+"phone", url.Values{"code": {code}}); !strings.HasSuffix(b.at, "/ballot") {
		t.Errorf("the code leads to %s", b.at)
	}
}

func TestACodeIsEnteredAndSentAgain(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.CheckDelay = time.Nanosecond })
	b, p := w.browser(), w.someone()
	b.identify("en", receives, p)
	const at = "/plain/en/receives/"
	if !strings.Contains(b.body(), "SMS and calls can be intercepted") {
		t.Error("it does not tell the risk of codes by SMS")
	}
	if !strings.Contains(b.body(), `autocomplete="one-time-code"`) || !strings.Contains(b.body(), "You have 5 tries left") {
		t.Error(b.body())
	}
	for typed, says := range map[string]string{"": "Enter the 6 digits of the code", "12": "Enter the 6 digits of the code"} {
		if b.post(at+"phone", url.Values{"code": {typed}}); b.fault("code") != says {
			t.Errorf("%q: %q", typed, b.fault("code"))
		}
	}
	wrong := "000000"
	if w.phones.code(t, p.phone) == wrong {
		wrong = "000001"
	}
	if b.post(at+"phone", url.Values{"code": {wrong}}); !strings.Contains(b.fault("code"), "The code is not right") || !strings.Contains(b.body(), "4 tries left") {
		t.Errorf("a wrong code: %q %s", b.fault("code"), b.body())
	}
	if b.post(at+"resend", nil); b.page.status != http.StatusTooManyRequests || !regexp.MustCompile(`You can ask for another code in (29|30) seconds`).MatchString(b.body()) {
		t.Errorf("too soon: %d %s", b.page.status, b.body())
	}
	w.clock.advance(31 * time.Second)
	if b.post(at+"resend", nil); b.page.status != http.StatusOK || !strings.Contains(b.body(), "Another code is on its way") || w.phones.count() != 2 {
		t.Errorf("in time: %d, %d SMS, %s", b.page.status, w.phones.count(), b.body())
	}
	if b.prove("en", receives, p); !strings.HasSuffix(b.at, "/ballot") {
		t.Errorf("the code leads to %s", b.at)
	}
}

// TestAPageAsksForTheSMSByItself: once the voter said that it is on its way.
func TestAPageAsksForTheSMSByItself(t *testing.T) {
	w := newWorld(t)
	b, p := w.browser(), w.someone()
	b.identify("en", sends, p)
	if b.page.header.Get("Refresh") != "" {
		t.Error("it reloads before anybody asked")
	}
	text := b.outputs()[1]
	if !strings.Contains(html.UnescapeString(b.body()), `href="sms:`+inbound+`?body=VOTE%20`+strings.TrimPrefix(text, "VOTE ")) {
		t.Errorf("no link opens the SMS: %s", b.body())
	}
	if b.get("/plain/en/sends/phone?waiting=1"); b.page.header.Get("Refresh") != "3; url=/plain/en/sends/arrived" {
		t.Errorf("Refresh is %q", b.page.header.Get("Refresh"))
	}
	time.AfterFunc(20*time.Millisecond, func() { w.text(p.phone, text) })
	if b.get("/plain/en/sends/arrived"); !strings.HasSuffix(b.at, "/ballot") {
		t.Errorf("it leads to %s", b.at)
	}
	late := w.browser().identify("en", sends, w.someone())
	w.clock.advance(time.Hour)
	if late.get("/plain/en/sends/phone"); late.heading() != "The time is over" {
		t.Errorf("after the deadline: %s", late.heading())
	}
	if late.get("/plain/en/sends/arrived"); late.heading() != "The time is over" {
		t.Errorf("asked after the deadline: %s", late.heading())
	}
}

// TestAnUnknownOutcomeIsFoundOut: the same ballot is sent again, and no other can be made meanwhile.
func TestAnUnknownOutcomeIsFoundOut(t *testing.T) {
	w := newWorld(t)
	b := w.browser().vote("en", sends, w.someone())
	w.box.outcome = problem.Wrap(problem.OutcomeUnknown, errors.New("the connection broke"))
	b.post("/plain/en/sends/check", nil)
	if b.page.status != http.StatusServiceUnavailable || b.heading() != "We do not know yet whether your ballot is in the box" ||
		!strings.Contains(b.body(), "Send the same ballot again") || strings.Contains(b.body(), "has not been counted") {
		t.Errorf("%d %s", b.page.status, b.body())
	}
	form, _ := w.choices(sends, 0)
	if b.post("/plain/en/sends/ballot", form); !strings.HasSuffix(b.at, "/check") {
		t.Errorf("another ballot leads to %s", b.at)
	}
	w.box.outcome = nil
	if b.post("/plain/en/sends/check", nil); !strings.HasSuffix(b.at, "/receipt") || w.box.recorded() != 1 {
		t.Errorf("%s, %d recorded: %s", b.at, w.box.recorded(), b.body())
	}
}

func TestWhoVotedBeforeIsTold(t *testing.T) {
	w := newWorld(t)
	p := w.someone()
	w.browser().vote("en", sends, p).post("/plain/en/sends/check", nil)
	b := w.browser().vote("en", sends, p).post("/plain/en/sends/check", nil)
	if b.page.status != http.StatusConflict || !strings.Contains(b.body(), "This ballot has not been counted.") || strings.Contains(b.body(), "Cast my ballot") {
		t.Errorf("%d %s", b.page.status, b.body())
	}
	if w.box.recorded() != 1 {
		t.Errorf("%d votes are recorded", w.box.recorded())
	}
}

// TestAnotherSitesFormIsRefused before anything of it is read.
func TestAnotherSitesFormIsRefused(t *testing.T) {
	w := newWorld(t)
	b := w.browser().vote("en", sends, w.someone())
	for name, o := range map[string][]option{
		"by fetch metadata": {with("Origin", ""), with("Sec-Fetch-Site", "cross-site")},
		"by origin":         {with("Origin", "https://evil.example")},
		"by a null origin":  {with("Origin", "null")},
	} {
		if b.send("POST", "/plain/en/sends/check", nil, o...); b.page.status != http.StatusForbidden || w.box.recorded() != 0 {
			t.Errorf("%s: %d", name, b.page.status)
		}
	}
}

// TestAVoterBehindAProxyIsCountedApart: what the pages ask for a voter counts for that voter's own network.
func TestAVoterBehindAProxyIsCountedApart(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config.TrustedProxies = []string{"10.0.0.1"}
		w.limits.Scale = 1
		w.limits.Override = map[string]ratelimit.Rate{"attempt-network": {Count: 1, Window: time.Hour}}
	})
	for i, c := range []struct {
		client string
		want   int
	}{{"203.0.113.5", http.StatusSeeOther}, {"203.0.113.6", http.StatusTooManyRequests}, {"198.51.100.5", http.StatusSeeOther}} {
		b, p := w.browser(), w.someone()
		b.from = "10.0.0.1:1234"
		forwarded := func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", c.client)
			r.Header.Set("X-Forwarded-Proto", "https")
		}
		b.send("GET", "/plain/en/sends/who", nil, forwarded)
		b.from = c.client + ":0" // whom the digits are for
		form := b.whoForm(sends, p)
		b.from = "10.0.0.1:1234"
		r := httptest.NewRequest("POST", "/plain/en/sends/who", strings.NewReader(form.Encode()))
		r.RemoteAddr = b.from
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		forwarded(r)
		recorder := httptest.NewRecorder()
		if w.server.Handler().ServeHTTP(recorder, r); recorder.Code != c.want {
			t.Errorf("voter %d is answered %d, want %d: %s", i, recorder.Code, c.want, recorder.Body)
		}
	}
}

func TestPicturesAndRecordingsAreLimited(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits.Scale = 1
		w.limits.Override = map[string]ratelimit.Rate{"captcha-network": {Count: 4, Window: time.Hour}}
	})
	b := w.browser().get("/plain/zh-Hant-HK/sends/who")
	sources := regexp.MustCompile(`src="([^"]+)"`).FindAllStringSubmatch(b.body(), -1)
	if len(sources) != 3 {
		t.Fatalf("a picture and two recordings, but %q", sources)
	}
	for i, want := range []string{"image/png", "audio/wav", "audio/wav"} {
		if b.get(sources[i][1]); b.page.status != http.StatusOK || b.page.header.Get("Content-Type") != want || b.page.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", sources[i][1], b.page.status, b.page.header)
		}
	}
	if b.send("GET", sources[1][1], nil, with("Range", "bytes=0-3")); b.page.status != http.StatusPartialContent || b.body() != "RIFF" {
		t.Errorf("a range: %d %q", b.page.status, b.body())
	}
	if b.get(sources[0][1]); b.page.status != http.StatusTooManyRequests || b.page.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %v", b.page.status, b.page.header)
	}
	b.from = "198.51.100.9:1"
	for _, path := range []string{sources[0][1], "/plain/captcha/sends/junk.png", strings.Replace(sources[0][1], ".png", ".svg", 1)} {
		if b.get(path); b.page.status != http.StatusNotFound {
			t.Errorf("%s from elsewhere: %d", path, b.page.status)
		}
	}
}

func TestTroubleIsAPageToo(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]int{
		"/plain/":                    http.StatusOK,
		"/plain/fr/":                 http.StatusNotFound,
		"/plain/en/nothing":          http.StatusNotFound,
		"/plain/en/NOT A POLL/who":   http.StatusNotFound,
		"/plain/en/sends/phone":      http.StatusUnauthorized,
		"/plain/zh-Hans/sends/check": http.StatusUnauthorized,
	} {
		b := w.browser().get((&url.URL{Path: path}).String())
		if b.page.status != want || !strings.Contains(b.body(), "<h1") {
			t.Errorf("%s: %d %s", path, b.page.status, b.body())
		}
	}
	b := w.browser().send("POST", "/plain/en/sends/who", nil, with("Content-Type", "application/json"))
	if b.page.status != http.StatusUnsupportedMediaType {
		t.Errorf("JSON: %d", b.page.status)
	}
	if b.post("/plain/en/sends/who", url.Values{"number": {strings.Repeat("x", 70_000)}}); b.page.status != http.StatusBadRequest {
		t.Errorf("a large form: %d", b.page.status)
	}
}

func TestAPausedPollStartsNoSession(t *testing.T) {
	w := newWorld(t, func(w *world) { w.box.set(sends, poll.Paused) })
	b := w.browser().get("/plain/en/sends/who")
	if b.post("/plain/en/sends/who", b.whoForm(sends, w.someone())); b.page.status != http.StatusConflict || !strings.Contains(b.body(), "Voting is paused just now.") {
		t.Errorf("paused: %d %s", b.page.status, b.body())
	}
}
