package plain

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newPages(t *testing.T) *Pages {
	t.Helper()
	clock := func() time.Time { return noon }
	keys, err := keyring.OpenFile(filepath.Join(t.TempDir(), "keys.json"), clock)
	if err != nil {
		t.Fatal(err)
	}
	return New(Deps{Tokens: keys, Clock: clock})
}

// sent is a journey as the browser sends it back.
func sent(t *testing.T, p *Pages, j *journey) (*http.Request, *http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.keep(w, j); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(cookie)
	return r, cookie
}

// TestTheLargestBallotFitsACookie: larger ones are not offered.
func TestTheLargestBallotFitsACookie(t *testing.T) {
	p := newPages(t)
	choices := make([][]int, 20)
	for i := range choices {
		choices[i] = []int{i, i + 20, i + 40}
	}
	full := &journey{
		Poll: strings.Repeat("p", 40), Token: strings.Repeat("t", 700), Verified: true, Deadline: noon, Order: 1 << 63,
		Choices: choices, Sealed: make([]byte, ballot.SealedSize(maxBallot)), Key: newKey(), Maybe: true,
	}
	r, cookie := sent(t, p, full)
	if size := len(cookie.Name) + len(cookie.Value); size > maxCookie {
		t.Errorf("the cookie has %d bytes", size)
	}
	back, err := p.journeyOf(r, full.Poll)
	if err != nil || back.Key != full.Key || len(back.Sealed) != len(full.Sealed) || !slices.EqualFunc(back.Choices, choices, slices.Equal) {
		t.Errorf("%+v: %v", back, err)
	}
	for size, want := range map[int]bool{maxBallot: true, maxBallot + 64: false} {
		if m := (&poll.Manifest{SealOnServer: true, Ballot: poll.BallotRules{Size: size}}); offered(m) != want {
			t.Errorf("a ballot of %d bytes: %t", size, !want)
		}
	}
	if offered(&poll.Manifest{Ballot: poll.BallotRules{Size: 64}}) {
		t.Error("offered although the poll's rules do not say so")
	}
}

// TestACookieShowsNothing: it is sealed, differently each time.
func TestACookieShowsNothing(t *testing.T) {
	p := newPages(t)
	j := &journey{Poll: "lunch", Token: "the-token", End: "4567", Choices: [][]int{{1}}}
	_, first := sent(t, p, j)
	_, second := sent(t, p, j)
	raw, err := base64.RawURLEncoding.DecodeString(first.Value)
	if err != nil || strings.Contains(string(raw), "token") || strings.Contains(string(raw), "4567") || first.Value == second.Value {
		t.Errorf("%q: %v", raw, err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(first)
	r.AddCookie(second)
	if _, err := p.journeyOf(r, "lunch"); err == nil {
		t.Error("two cookies of one name: another site of this domain may have set one")
	}
}

// TestRandomOrderMovesTheChoicesAlone, the same way whenever a voter looks.
func TestRandomOrderMovesTheChoicesAlone(t *testing.T) {
	q := &poll.Question{Order: "random", Options: make([]poll.Option, 12)}
	for i := range q.Options {
		q.Options[i].Kind = poll.Choice
	}
	q.Options[4].Kind, q.Options[11].Kind = poll.Abstain, poll.Blank
	orders := map[string]bool{}
	for chance := range uint64(50) {
		drawn := order(q, chance, 0)
		if !slices.Equal(drawn, order(q, chance, 0)) {
			t.Fatal("it changes between two looks")
		}
		if drawn[4] != 4 || drawn[11] != 11 {
			t.Fatalf("what stands alone was moved: %v", drawn)
		}
		sorted := slices.Sorted(slices.Values(drawn))
		if !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
			t.Fatalf("not every option once: %v", drawn)
		}
		text := make([]byte, len(drawn))
		for i, n := range drawn {
			text[i] = byte('a' + n)
		}
		orders[string(text)] = true
	}
	if len(orders) < 45 {
		t.Errorf("%d orders in 50", len(orders))
	}
	if q.Order = "fixed"; !slices.IsSorted(order(q, 7, 0)) {
		t.Error("a fixed order was changed")
	}
}

func TestEveryProblemHasWordsInEveryLanguage(t *testing.T) {
	for _, tag := range poll.Languages {
		w := catalogues[tag]
		for _, row := range problem.Table {
			if what, now := w.trouble(string(row.Code)); what == "" || now == "" || (row.Code != problem.Internal && what == w["trouble.internal.0"]) {
				t.Errorf("%s: %s: %q %q", tag, row.Code, what, now)
			}
		}
		for _, key := range captchaFaults {
			w.say(key) // panics without words
		}
	}
}

func TestTimesInWords(t *testing.T) {
	for seconds, want := range map[int]string{
		0: "0 seconds", 1: "1 second", 59: "59 seconds", 60: "1 minute", 61: "1 minute 1 second", 75: "1 minute 15 seconds",
		120: "2 minutes", 301: "5 minutes 1 second", 330: "5 minutes 30 seconds",
	} {
		if got := catalogues["en"].span(seconds); got != want {
			t.Errorf("%d: %q, want %q", seconds, got, want)
		}
	}
}

// TestPollsWordsAreEscaped: an organiser's text is text.
func TestPollsWordsAreEscaped(t *testing.T) {
	v := &view{Lang: "en", words: catalogues["en"]}
	if got := v.T(poll.Text{"en": `<b onclick="x">`}); strings.ContainsAny(string(got), `<>"`) {
		t.Errorf("%s", got)
	}
	if got := string(v.T(poll.Text{"zh-Hans": "<i>"})); got != `<span lang="zh-Hans">&lt;i&gt;</span>` {
		t.Errorf("%s", got)
	}
	if v.SMS("javascript:alert(1)") != "" {
		t.Error("a link that is no SMS")
	}
}

// TestTheLooksAreTheVoterPages: the style is the generated one, and our own after it.
func TestTheLooksAreTheVoterPages(t *testing.T) {
	for _, class := range []string{".card", ".box", ".ticket", ".fault", ".unseen"} {
		if !regexp.MustCompile(regexp.QuoteMeta(class) + `\b`).Match(shared) {
			t.Errorf("the style has no %s", class)
		}
	}
}
