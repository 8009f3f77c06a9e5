package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/e2e/voter"
)

// secrets are what must be nowhere: in any form somebody would look for.
type secrets struct {
	// exact are found anywhere, also inside other bytes.
	exact map[string]string
	// codes are six digits, which other numbers contain by chance: they count standing by themselves.
	codes []string
}

func (s *secrets) person(p voter.Person) {
	canonical := strings.NewReplacer("(", "", ")", "").Replace(p.HKID)
	local := strings.TrimPrefix(p.Phone, "+852")
	for what, text := range map[string]string{
		"an identity number as typed":      p.HKID,
		"an identity number":               canonical,
		"an identity number, lower case":   strings.ToLower(canonical),
		"an identity number, less a digit": canonical[:7],
		"a phone number":                   local,
	} {
		s.add(what, text)
	}
}

func (s *secrets) add(what, text string) {
	s.exact[text] = what
	s.exact[hex.EncodeToString([]byte(text))] = what + ", in hex"
	s.exact[strings.ToUpper(hex.EncodeToString([]byte(text)))] = what + ", in hex"
	// Base64 of a text inside something longer has three forms, by where it begins; what depends on
	// the neighbours is cut off.
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			form := enc.EncodeToString(append(make([]byte, shift), text...))
			begin := (shift*8 + 5) / 6
			end := (shift + len(text)) * 8 / 6
			if end-begin >= 8 {
				s.exact[form[begin:end]] = what + ", in " + name
			}
		}
	}
}

// in finds secrets in content.
func (s *secrets) in(content []byte) (found []string) {
	for text, what := range s.exact {
		if bytes.Contains(content, []byte(text)) {
			found = append(found, fmt.Sprintf("%s (%s)", what, text))
		}
	}
	for _, code := range s.codes {
		if regexp.MustCompile(`(^|[^0-9A-Za-z.])` + code + `([^0-9A-Za-z]|$)`).Match(content) {
			found = append(found, "a code ("+code+")")
		}
	}
	return found
}

// A whole rehearsal, with everything that goes wrong in one: no identity number, no phone number, no
// one-time text, no code and no access token is in any log line, metric or file afterwards.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	i := demo(t)
	s := &secrets{exact: map[string]string{}}
	for n, poll := range []string{referendum, lunch} {
		w := voters(t, i, poll)
		h := record(t)
		for p := range 25 {
			person := voter.NewPerson(700+n, p)
			s.person(person)
			session, err := w.Identify(t.Context(), person)
			if err != nil {
				t.Fatal(err)
			}
			s.token(session.AccessToken)
			if session.Verification.Text != nil {
				s.add("a one-time text", strings.TrimPrefix(*session.Verification.Text, "VOTE "))
			}
			s.mistakes(t, w, person)
			token, err := w.Verify(t.Context(), person, session)
			if err != nil {
				t.Fatal(err)
			}
			s.token(token)
			if poll == lunch {
				code, err := w.Code(t.Context(), person)
				if err != nil {
					t.Fatal(err)
				}
				s.codes = append(s.codes, code)
			}
			e, err := w.Seal()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := w.Record(t.Context(), h.Recorder, person, token, e); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, metrics := i.Fetch("/metrics")
		for _, leak := range s.in([]byte(metrics)) {
			t.Errorf("the metrics show %s while voters vote", leak)
		}
		i.Do("pause", poll, "--reason", "rehearsal")
		i.Do("open", poll)
		h.check(t, i.Finish(poll))
	}
	for _, path := range []string{"/metrics", "/readyz", "/version"} {
		_, body := i.Fetch(path)
		for _, leak := range s.in([]byte(body)) {
			t.Errorf("%s shows %s", path, leak)
		}
	}
	// The write-ahead log too: a kill leaves it as it is.
	i.Kill()
	files := i.Files()
	if len(files) < 3 {
		t.Fatalf("the data directory holds %d files: that proves little", len(files))
	}
	for path, content := range files {
		for _, leak := range s.in(content) {
			t.Errorf("%s holds %s", filepath.Base(path), leak)
		}
	}
	logged := i.Output.String()
	if strings.Count(logged, "\n") < 5 {
		t.Errorf("the log has hardly a line: that proves little\n%s", logged)
	}
	for _, leak := range s.in([]byte(logged)) {
		t.Errorf("the log shows %s", leak)
	}
}

// token adds the part of an access token that is its own.
func (s *secrets) token(token string) { s.exact[token[len(token)-40:]] = "an access token" }

// mistakes are what voters get wrong, and error paths are where things leak.
func (s *secrets) mistakes(t *testing.T, w *voter.World, p voter.Person) {
	t.Helper()
	typo := p
	typo.HKID = p.HKID[:6] + string('0'+(p.HKID[6]-'0'+1)%10) + p.HKID[7:]
	s.add("a mistyped identity number", strings.NewReplacer("(", "", ")", "").Replace(typo.HKID))
	if _, err := w.Identify(t.Context(), typo); problemCode(err) != "identity-invalid" {
		t.Errorf("a wrong check digit: %v", err)
	}
	typo = p
	typo.Phone = "+85225" + p.Phone[6:]
	s.add("a landline", typo.Phone[4:])
	if _, err := w.Identify(t.Context(), typo); problemCode(err) != "phone-not-mobile" && problemCode(err) != "phone-invalid" {
		t.Errorf("a landline: %v", err)
	}
	if err := w.Text(t.Context(), p, "+85264500000", "VOTE for my cousin "+p.HKID); err != nil {
		t.Error(err)
	}
}

// The oracle must be able to see: every form of a planted secret is found.
func TestTheLeakOracleSees(t *testing.T) {
	t.Parallel()
	s := &secrets{exact: map[string]string{}, codes: []string{"493027"}}
	p := voter.NewPerson(999, 1)
	s.person(p)
	canonical := strings.NewReplacer("(", "", ")", "").Replace(p.HKID)
	for _, planted := range []string{
		`{"number":"` + p.HKID + `"}`,
		"id=" + strings.ToLower(canonical),
		hex.EncodeToString([]byte("xx" + canonical + "yy")),
		base64.StdEncoding.EncodeToString([]byte(canonical + "y")),
		base64.StdEncoding.EncodeToString([]byte("x" + canonical + "yy")),
		base64.RawURLEncoding.EncodeToString([]byte("xx" + canonical)),
		base64.StdEncoding.EncodeToString([]byte("from=" + p.Phone + "&")),
		"tel:" + p.Phone,
		`code="493027"`,
		"your code is 493027.",
	} {
		if len(s.in([]byte("some text before "+planted+" and after"))) == 0 {
			t.Errorf("%q was not seen", planted)
		}
	}
	for _, innocent := range []string{"2026-11-23T01:02:03.493027Z", "took=1493027", "0x493027ab"} {
		if found := s.in([]byte(innocent)); len(found) > 0 {
			t.Errorf("%q: %v", innocent, found)
		}
	}
}
