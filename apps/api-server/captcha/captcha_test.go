package captcha_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image/png"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/api-server/captcha"
)

var (
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	secret = [32]byte{1, 2, 3}
	home   = netip.MustParseAddr("192.0.2.7")
)

func at(t time.Time) *captcha.Issuer {
	return captcha.NewIssuer(secret, func() time.Time { return t })
}

func open(t *testing.T, ticket string) *captcha.Question {
	t.Helper()
	q, err := at(noon).Open(ticket, "lunch", home)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestAnyServerWithTheSecretReadsATicket(t *testing.T) {
	ticket := at(noon).Issue("lunch", home)
	first, again := open(t, ticket), open(t, ticket)
	if first.Text() != again.Text() || first.ID != again.ID || len(first.Text()) != captcha.Digits || strings.Trim(first.Text(), "0123456789") != "" {
		t.Errorf("%q and %q", first.Text(), again.Text())
	}
	if want := noon.Add(captcha.TTL); !first.Expires.Equal(want) {
		t.Errorf("it expires at %s, want %s", first.Expires, want)
	}
	if _, err := at(noon).Open(ticket, "lunch", netip.MustParseAddr("192.0.2.250")); err != nil {
		t.Errorf("a neighbour of the same network: %v", err)
	}
}

func TestATicketIsForOnePurposeNetworkAndTime(t *testing.T) {
	ticket := at(noon).Issue("lunch", home)
	changed := []byte(ticket)
	changed[3] ^= 1
	for name, c := range map[string]struct {
		ticket, purpose, from string
		when                  time.Time
		key                   [32]byte
		want                  error
	}{
		"another poll":    {ticket, "dinner", "192.0.2.7", noon, secret, captcha.ErrInvalid},
		"another network": {ticket, "lunch", "198.51.100.7", noon, secret, captcha.ErrInvalid},
		"IPv6":            {ticket, "lunch", "2001:db8::1", noon, secret, captcha.ErrInvalid},
		"another key":     {ticket, "lunch", "192.0.2.7", noon, [32]byte{4}, captcha.ErrInvalid},
		"changed":         {string(changed), "lunch", "192.0.2.7", noon, secret, captcha.ErrInvalid},
		"cut":             {ticket[:len(ticket)-4], "lunch", "192.0.2.7", noon, secret, captcha.ErrInvalid},
		"empty":           {"", "lunch", "192.0.2.7", noon, secret, captcha.ErrInvalid},
		"not base64":      {"!" + ticket[1:], "lunch", "192.0.2.7", noon, secret, captcha.ErrInvalid},
		"too late":        {ticket, "lunch", "192.0.2.7", noon.Add(captcha.TTL), secret, captcha.ErrExpired},
	} {
		i := captcha.NewIssuer(c.key, func() time.Time { return c.when })
		if _, err := i.Open(c.ticket, c.purpose, netip.MustParseAddr(c.from)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestAnAnswerIsReadAsPeopleTypeIt(t *testing.T) {
	q := open(t, at(noon).Issue("lunch", home))
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, q.Text())
	for _, typed := range []string{q.Text(), wide, " " + q.Text()[:3] + " " + q.Text()[3:] + "\n"} {
		if !q.Answered(typed) {
			t.Errorf("%q is refused for %s", typed, q.Text())
		}
	}
	other := []byte(q.Text())
	other[5] = '0' + (other[5]-'0'+1)%10
	for _, typed := range []string{"", string(other), q.Text()[:5], q.Text() + "0"} {
		if q.Answered(typed) {
			t.Errorf("%q is taken for %s", typed, q.Text())
		}
	}
}

// TestNothingThatIsSentHoldsTheDigits: not even in another spelling of the ticket.
func TestNothingThatIsSentHoldsTheDigits(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		ticket := at(noon).Issue("lunch", home)
		q := open(t, ticket)
		raw, err := base64.RawURLEncoding.DecodeString(ticket)
		if err != nil {
			t.Fatal(err)
		}
		for _, sent := range []string{ticket, string(raw), string(q.PNG())} {
			if strings.Contains(sent, q.Text()) {
				t.Errorf("the digits %s are in %q", q.Text(), sent)
			}
		}
		seen[q.Text()] = true
	}
	if len(seen) < 190 {
		t.Errorf("200 tickets have %d different answers", len(seen))
	}
}

func TestThePictureAndTheRecording(t *testing.T) {
	q := open(t, at(noon).Issue("lunch", home))
	picture, err := png.Decode(bytes.NewReader(q.PNG()))
	if err != nil || picture.Bounds().Dx() != captcha.Width || picture.Bounds().Dy() != captcha.Height {
		t.Errorf("the picture: %v", err)
	}
	said := map[string][]byte{}
	for _, lang := range captcha.Languages {
		said[lang] = q.WAV(lang)
		if !bytes.HasPrefix(said[lang], []byte("RIFF")) || !bytes.Equal(said[lang][8:12], []byte("WAVE")) {
			t.Errorf("%s: no recording: % x", lang, said[lang][:16])
		}
		// A range of it may be asked for in a second request, as Safari does.
		if !bytes.Equal(said[lang], q.WAV(lang)) {
			t.Errorf("%s: it sounds different the second time", lang)
		}
	}
	if bytes.Equal(said["en"], said["zh"]) {
		t.Error("both languages sound the same")
	}
}

func TestAnswersTravelAsText(t *testing.T) {
	if ticket, typed, ok := captcha.CutAnswer(captcha.Answer("ab-_9", "12:3 ")); !ok || ticket != "ab-_9" || typed != "12:3 " {
		t.Errorf("%q %q %t", ticket, typed, ok)
	}
	for _, other := range []string{"", "eyJjaGFsbGVuZ2UiOnt9fQ==", "captcha"} {
		if _, _, ok := captcha.CutAnswer(other); ok {
			t.Errorf("%q is taken for an answer", other)
		}
	}
}

func BenchmarkPNG(b *testing.B) {
	for b.Loop() {
		q, _ := at(noon).Open(at(noon).Issue("lunch", home), "lunch", home)
		q.PNG()
	}
}

func BenchmarkWAV(b *testing.B) {
	for b.Loop() {
		q, _ := at(noon).Open(at(noon).Issue("lunch", home), "lunch", home)
		b.SetBytes(int64(len(q.WAV("zh"))))
	}
}
