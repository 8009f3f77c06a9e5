package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
)

// TestTheMessagesOfASession have one name that says nothing, and count their attempts; the gateway learns when
// the code was right, and not before.
func TestTheMessagesOfASession(t *testing.T) {
	w := newWorld(t)
	p := w.someone()
	session := w.open(receives, p)
	w.phones.failing(sms.ErrUnavailable)
	w.clock.advance(30 * time.Second)
	w.resend(session.AccessToken) // didn't go out, so it is no attempt
	w.phones.failing(nil)
	w.server = w.start() // another server
	read[channelsapi.Verification](t, w.resend(session.AccessToken), 200)
	other := w.open(receives, w.someone())
	sent := w.phones.sent
	if len(sent) != 3 || sent[0].Attempt != 0 || sent[1].Attempt != 1 || sent[2].Attempt != 0 {
		t.Fatalf("%d messages, or other attempts: %+v", len(sent), sent)
	}
	if c := sent[0].Conversation; c == "" || c != sent[1].Conversation || c == sent[2].Conversation || sent[0].ID == sent[1].ID {
		t.Errorf("conversations %q, %q, %q", c, sent[1].Conversation, sent[2].Conversation)
	}
	if strings.Contains(session.AccessToken+other.AccessToken+p.phone, sent[0].Conversation) || len(sent[0].Conversation) > 64 {
		t.Error("its name says something")
	}
	code := w.phones.code(t, p.phone)
	w.check(session.AccessToken, fmt.Sprintf("%c%s", '0'+(code[0]-'0'+1)%10, code[1:]))
	if len(w.phones.used) != 0 {
		t.Error("a wrong code was confirmed")
	}
	w.clock.advance(time.Second)
	w.check(session.AccessToken, code)
	if len(w.phones.used) != 1 || w.phones.used[0] != sent[0].Conversation {
		t.Errorf("confirmed: %q", w.phones.used)
	}
}

// TestWhoNamesUnreachableNumbersUsesAnAllowanceUp, while what providers do wrong costs no voter anything.
func TestWhoNamesUnreachableNumbersUsesAnAllowanceUp(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"send-network": {Count: 3, Window: time.Hour}}}
	})
	start := func(why error) string {
		w.phones.failing(why)
		return string(w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone())).problem(t).Code)
	}
	for range 10 {
		if got := start(&sms.Throttled{After: time.Second}); got != string(problem.SMSUnavailable) {
			t.Fatal(got)
		}
	}
	for range 3 {
		if got := start(sms.ErrPermanent); got != string(problem.PhoneUnreachable) {
			t.Fatal(got)
		}
	}
	if got := start(sms.ErrPermanent); got != string(problem.RateLimited) {
		t.Error(got)
	}
}

func TestTheWaitIsTheProviders(t *testing.T) {
	w := newWorld(t)
	for after, most := range map[time.Duration]int{0: 10, 20 * time.Second: 40, 24 * time.Hour: 120} {
		w.phones.failing(&sms.Throttled{After: after})
		got := w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone())).problem(t)
		if got.RetryAfter == nil || *got.RetryAfter < int(min(after, smsRetryMost).Seconds()) || *got.RetryAfter > most {
			t.Errorf("asked to wait %s: retry_after %v", after, got.RetryAfter)
		}
	}
}

// TestCodesFitOneSegment in every language, and end with the line that binds them to the page.
func TestCodesFitOneSegment(t *testing.T) {
	for lang := range codeTexts {
		for _, host := range []string{"", "v.hk", "vote.example.hk", strings.Repeat("h", 29), strings.Repeat("h", 36)} {
			for _, ttl := range []time.Duration{0, 10 * time.Minute, 99 * time.Minute} {
				text := codeText(lang, "012345", host, ttl)
				last := text[strings.LastIndex(text, "\n")+1:]
				if host != "" && last != "@"+host+" #012345" {
					t.Errorf("%s: %q does not end with its origin", lang, text)
				}
				if !oneSegment(text) || strings.Count(text, "012345") < 1 {
					t.Errorf("%s, %s: %q has %d characters", lang, ttl, text, len([]rune(text)))
				}
			}
		}
	}
	if codeText("zh-Hans", "012345", "vote.example.hk", time.Minute) == codeText("zh-Hans", "012345", strings.Repeat("h", 36), time.Minute) ||
		!strings.Contains(codeText("zh-Hans", "012345", strings.Repeat("h", 29), 10*time.Minute), "切勿转告他人") {
		t.Error("the warning is left out where there is room for it")
	}
	for text, want := range map[string]bool{
		strings.Repeat("a", 160): true, strings.Repeat("a", 161): false, strings.Repeat("投", 70): true, strings.Repeat("投", 71): false,
		strings.Repeat("a", 69) + "€": true, strings.Repeat("a", 70) + "~": false, strings.Repeat("𠮷", 36): false,
	} {
		if oneSegment(text) != want {
			t.Errorf("%d of %.3q: %v", len([]rune(text)), text, !want)
		}
	}
}
