package server

import (
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/sms"
)

// TestACallSaysTheSameCode, once it was sent twice: it is a sending like the others, and what it says is right.
func TestACallSaysTheSameCode(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Calls = true })
	p := w.someone()
	session := w.open(receives, p)
	if session.Verification.NextCallSeconds != nil {
		t.Error("a call is offered before an SMS may have come")
	}
	w.clock.advance(30 * time.Second)
	if got := w.ring(session.AccessToken).problem(t); got.Code != channelsapi.ProblemCode(problem.ResendTooSoon) || got.Verification.NextCallSeconds != nil {
		t.Errorf("before the second SMS: %+v", got)
	}
	next := read[channelsapi.Verification](t, w.resend(session.AccessToken), 200)
	if next.NextCallSeconds == nil || next.NextSendSeconds == nil || *next.NextCallSeconds != *next.NextSendSeconds {
		t.Fatalf("after the second SMS: %+v", next)
	}
	code := w.phones.code(t, p.phone)
	if got := w.ring(session.AccessToken).problem(t); got.Code != channelsapi.ProblemCode(problem.ResendTooSoon) || *got.RetryAfter < *next.NextCallSeconds {
		t.Errorf("a moment after it: %+v", got)
	}
	w.clock.advance(time.Minute)
	if next = read[channelsapi.Verification](t, w.ring(session.AccessToken), 200); *next.NextCallSeconds != 120 || *next.TriesLeft != 5 {
		t.Errorf("after the call: %+v", next)
	}
	sent := w.phones.sent
	last := sent[len(sent)-1]
	if len(sent) != 3 || last.Kind != sms.ByCall || last.Attempt != 2 || last.Conversation != sent[0].Conversation || sent[0].Kind != sms.ByText || sent[1].Kind != sms.ByText {
		t.Errorf("%d were sent, last %+v", len(sent), last)
	}
	if slow := strings.Join(strings.Split(code, ""), ". ") + "."; strings.Count(last.Text, slow) != 2 && strings.Count(last.Text, strings.Join(strings.Split(code, ""), "。")) != 2 {
		t.Errorf("it says %q for %s", last.Text, code)
	}
	read[channelsapi.Verified](t, w.check(session.AccessToken, code), 200)
}

// TestACallThatNobodyMakesCostsNothing: the voter may ask for an SMS instead, at once.
func TestACallThatNobodyMakesCostsNothing(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Calls = true })
	session := w.open(receives, w.someone())
	w.clock.advance(30 * time.Second)
	w.resend(session.AccessToken)
	w.clock.advance(time.Minute)
	w.phones.failing(sms.ErrUnavailable)
	if got := w.ring(session.AccessToken).problem(t); got.Code != channelsapi.ProblemCode(problem.SMSUnavailable) {
		t.Errorf("%+v", got)
	}
	w.phones.failing(nil)
	read[channelsapi.Verification](t, w.resend(session.AccessToken), 200)
}

func TestWithoutCallsNoneIsOffered(t *testing.T) {
	w := newWorld(t)
	session := w.open(receives, w.someone())
	w.clock.advance(30 * time.Second)
	if next := read[channelsapi.Verification](t, w.resend(session.AccessToken), 200); next.NextCallSeconds != nil {
		t.Errorf("%+v", next)
	}
	w.clock.advance(time.Minute)
	if got := w.ring(session.AccessToken).problem(t); got.Code != channelsapi.ProblemCode(problem.NotFound) || w.phones.count() != 2 {
		t.Errorf("%+v, %d sent", got, w.phones.count())
	}
}

func TestWhatACallSays(t *testing.T) {
	for lang, want := range map[string]string{
		"en":         "Your voting code is:\n0. 1. 2. 3. 4. 5.\nOnce more:\n0. 1. 2. 3. 4. 5.\nDo not share it.",
		"zh-Hant-HK": "你的投票驗證碼是：\n0。1。2。3。4。5。\n再說一次：\n0。1。2。3。4。5。\n請勿轉告他人。",
		"zh-Hans":    "您的投票验证码是：\n0。1。2。3。4。5。\n再说一遍：\n0。1。2。3。4。5。\n请勿转告他人。",
		"fr":         spokenText("en", "012345"),
	} {
		if got := spokenText(lang, "012345"); got != want {
			t.Errorf("%s: %q", lang, got)
		}
	}
	for lang := range codeTexts {
		if _, ok := spokenTexts[lang]; !ok {
			t.Errorf("%s has an SMS and no call", lang)
		}
	}
}
