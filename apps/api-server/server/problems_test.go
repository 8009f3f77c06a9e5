package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
)

// mishap is a request that must come to a problem, and to nothing else.
type mishap struct {
	name  string
	code  problem.Code
	field string
	do    func(w *world) reply
	// setup changes the world before its server starts.
	setup func(*world)
}

const sessionsPath = "/v1/polls/" + sends + "/sessions"

// post sends a raw body to step 1.
func post(body string, options ...option) func(*world) reply {
	return func(w *world) reply { return w.call("POST", sessionsPath, body, options...) }
}

// changed sends a good session request with one member changed.
func changed(change func(object)) func(*world) reply {
	return func(w *world) reply {
		body := w.sessionBody(w.someone())
		change(body)
		return w.call("POST", sessionsPath, body)
	}
}

// ready casts a good ballot by a verified voter, after the change.
func ready(change func(w *world), key string) func(*world) reply {
	return func(w *world) reply {
		given, sealed := w.verify(w.someone()), w.sealed(sends)
		if change != nil {
			change(w)
		}
		return w.cast(given, key, sealed)
	}
}

// chunked is a body whose length is not said.
func chunked(r *http.Request) { r.ContentLength, r.TransferEncoding = -1, []string{"chunked"} }

func repeat(n int, do func() reply) reply {
	for range n - 1 {
		do()
	}
	return do()
}

var mishaps = []mishap{
	{name: "no body", code: problem.MalformedJSON, do: post("")},
	{name: "not JSON", code: problem.MalformedJSON, do: post("identity=A123456(3)")},
	{name: "half a body", code: problem.MalformedJSON, do: post(`{"phone":"+85291234567"`)},
	{name: "two values", code: problem.MalformedJSON, do: func(w *world) reply {
		return w.call("POST", "/v1/verification/code", `{"code":"123456"} {}`, bearer(w.open(receives, w.someone()).AccessToken))
	}},
	{name: "a comma too many", code: problem.MalformedJSON, do: post(`{"phone":"1",}`)},
	{name: "not UTF-8", code: problem.MalformedJSON, do: post("{\"phone\":\"\xff\"}")},
	{name: "half a surrogate", code: problem.MalformedJSON, do: post(`{"phone":"\ud800"}`)},
	{name: "a member twice", code: problem.DuplicateField, field: "/phone", do: post(`{"phone":"1","phone":"2"}`)},
	{name: "a member twice, once escaped", code: problem.DuplicateField, field: "/phone", do: post(`{"phone":"1","\u0070hone":"2"}`)},
	{name: "a member twice, deeper", code: problem.DuplicateField, field: "/identity/type", do: post(`{"identity":{"type":"hkid","type":"hkid"}}`)},
	{name: "an unknown member", code: problem.UnknownField, field: "/a~1b~0", do: post(`{"a/b~":1}`)},
	{name: "a member in capitals", code: problem.UnknownField, field: "/Phone", do: post(`{"Phone":"1"}`)},
	{name: "an unknown member, deeper", code: problem.UnknownField, field: "/identity/admin", do: post(`{"identity":{"admin":true}}`)},
	{name: "a number for a string", code: problem.InvalidField, field: "/phone", do: post(`{"phone":91234567}`)},
	{name: "null for a string", code: problem.InvalidField, field: "/phone", do: post(`{"phone":null}`)},
	{name: "an array for an object", code: problem.InvalidField, field: "/identity", do: post(`{"identity":[` + strings.Repeat("[", 4000) + `]}`)},
	{name: "an array", code: problem.InvalidField, do: post(`[]`)},
	{name: "a member missing", code: problem.InvalidField, field: "/challenge", do: post(`{"identity":{"type":"hkid","number":"A123456(3)"},"phone":"91234567"}`)},
	{name: "a string too long", code: problem.InvalidField, field: "/phone", do: post(`{"phone":"` + strings.Repeat("1", 65) + `"}`)},
	{name: "an unknown language", code: problem.InvalidField, field: "/lang", do: changed(func(o object) { o["lang"] = "tlh" })},
	{name: "a station's channel from the web", code: problem.InvalidField, field: "/channel", do: changed(func(o object) { o["channel"] = "station" })},
	{name: "another kind of number", code: problem.InvalidField, field: "/identity/type", do: changed(func(o object) { o["identity"] = object{"type": "passport", "number": "1"} })},
	{name: "a form", code: problem.WrongContentType, do: post(`{}`, with("Content-Type", "application/x-www-form-urlencoded"))},
	{name: "plain text", code: problem.WrongContentType, do: post(`{}`, with("Content-Type", "text/plain"))},
	{name: "no type", code: problem.WrongContentType, do: post(`{}`, func(r *http.Request) { r.Header.Del("Content-Type") })},
	{name: "another charset", code: problem.WrongContentType, do: post(`{}`, with("Content-Type", "application/json; charset=big5"))},
	{name: "compressed", code: problem.WrongContentType, do: post(`{}`, with("Content-Encoding", "gzip"))},
	{name: "too large", code: problem.BodyTooLarge, do: post(`{"phone":"` + strings.Repeat(" ", maxBody) + `"}`)},
	{name: "too large, of unknown length", code: problem.BodyTooLarge, do: post(`{"phone":"`+strings.Repeat("1", maxBody)+`"}`, func(r *http.Request) { r.ContentLength = -1 })},

	{name: "in chunks", code: problem.LengthRequired, do: post(`{}`, chunked)},
	{name: "in the clear", code: problem.TLSRequired, setup: behindProxy, do: post(`{}`, with("X-Forwarded-Proto", "http"))},

	{name: "no such path", code: problem.NotFound, do: func(w *world) reply { return w.call("GET", "/v1/nothing", nil) }},
	{name: "a tile the log has not", code: problem.NotFound, do: func(w *world) reply { return w.call("GET", "/v1/polls/sends/log/tile/0/001", nil) }},
	{name: "a proof of nothing", code: problem.InvalidField, do: func(w *world) reply { return w.call("POST", proofPath, object{}) }},
	{name: "a proof of two things", code: problem.InvalidField, do: func(w *world) reply { return w.call("POST", proofPath, object{"leaf": "AAAA", "code": "0000"}) }},
	{name: "a code of two ballots", code: problem.ReceiptAmbiguous, setup: func(w *world) {
		w.box.logs[sends].Append([32]byte{31: 1})
		w.box.logs[sends].Append([32]byte{31: 2})
	}, do: func(w *world) reply { return w.proveCode(ballot.Code([32]byte{})) }},
	{name: "not a tile", code: problem.NotFound, do: func(w *world) reply { return w.call("GET", "/v1/polls/sends/log/tile/../../secret", nil) }},
	{name: "another method", code: problem.MethodNotAllowed, do: func(w *world) reply { return w.call("DELETE", "/v1/ballots", nil) }},
	{name: "trace", code: problem.MethodNotAllowed, do: func(w *world) reply { return w.call("TRACE", "/v1/polls", nil) }},
	{name: "another origin", code: problem.OriginNotAllowed, do: func(w *world) reply { return w.call("GET", "/v1/polls", nil, with("Origin", "https://evil.example")) }},
	{name: "another origin's preflight", code: problem.OriginNotAllowed, do: func(w *world) reply {
		return w.call("OPTIONS", "/v1/ballots", nil, with("Origin", "https://evil.example"), with("Access-Control-Request-Method", "POST"))
	}},
	{name: "no origin but another site", code: problem.OriginNotAllowed, do: post(`{}`, with("Sec-Fetch-Site", "cross-site"))},
	{name: "the null origin", code: problem.OriginNotAllowed, do: func(w *world) reply { return w.call("GET", "/v1/polls", nil, with("Origin", "null")) }},

	{name: "no such poll", code: problem.PollNotFound, do: func(w *world) reply { return w.call("GET", "/v1/polls/other", nil) }},
	{name: "not a poll's name", code: problem.PollNotFound, do: func(w *world) reply { return w.call("GET", "/v1/polls/A%00B", nil) }},
	{name: "a draft", code: problem.PollNotFound, setup: func(w *world) { w.box.set(sends, poll.Draft) }, do: post(`{"identity":{"type":"hkid","number":"1"},"phone":"1","challenge":"1"}`)},
	{name: "not open yet", code: problem.PollNotOpen, setup: func(w *world) {
		w.box.set(sends, poll.Open, func(d *poll.Definition) { d.OpensAt = d.OpensAt.Add(2 * time.Hour) })
	}, do: changed(func(object) {})},
	{name: "paused", code: problem.PollPaused, setup: func(w *world) { w.box.set(sends, poll.Paused) }, do: changed(func(object) {})},
	{name: "closed", code: problem.PollClosed, setup: func(w *world) { w.box.set(sends, poll.Closed) }, do: changed(func(object) {})},
	{name: "past its time", code: problem.PollClosed, setup: func(w *world) {
		w.box.set(sends, poll.Open, func(d *poll.Definition) { d.ClosesAt = d.ClosesAt.Add(-25 * time.Hour) })
	}, do: changed(func(object) {})},
	{name: "paused between sealing and casting", code: problem.PollPaused, do: ready(func(w *world) { w.box.set(sends, poll.Paused) }, someKey)},
	{name: "closed between sealing and casting", code: problem.PollClosed, do: ready(func(w *world) { w.box.set(sends, poll.Closed) }, someKey)},
	{name: "results before the publication", code: problem.ResultsNotPublished, do: func(w *world) reply { return w.call("GET", "/v1/polls/sends/results", nil) }},
	{name: "the bundle before the publication", code: problem.ResultsNotPublished, do: func(w *world) reply { return w.call("GET", "/v1/polls/sends/bundle", nil) }},

	{name: "a wrong check digit", code: problem.IdentityInvalid, field: "/identity/number", do: changed(func(o object) { o["identity"] = object{"type": "hkid", "number": "A123456(4)"} })},
	{name: "not a number at all", code: problem.IdentityInvalid, field: "/identity/number", do: changed(func(o object) { o["identity"] = object{"type": "hkid", "number": ""} })},
	{name: "not a phone number", code: problem.PhoneInvalid, field: "/phone", do: changed(func(o object) { o["phone"] = "12" })},
	{name: "a fixed line", code: problem.PhoneNotMobile, field: "/phone", do: changed(func(o object) { o["phone"] = "+85225000000" })},
	{name: "no proof of work", code: problem.ChallengeInvalid, field: "/challenge", do: changed(func(o object) { o["challenge"] = "" })},
	{name: "another server's challenge", code: problem.ChallengeInvalid, field: "/challenge", do: func(w *world) reply {
		body := w.sessionBody(w.someone())
		body["challenge"] = newWorld(w.t).solve()
		return w.call("POST", sessionsPath, body)
	}},
	{name: "an old challenge", code: problem.ChallengeExpired, field: "/challenge", do: func(w *world) reply {
		body := w.sessionBody(w.someone())
		w.clock.advance(challenge.TTL + time.Second)
		return w.call("POST", sessionsPath, body)
	}},
	{name: "a challenge twice", code: problem.ChallengeSpent, field: "/challenge", do: func(w *world) reply {
		body := w.sessionBody(w.someone())
		return repeat(2, func() reply { return w.call("POST", sessionsPath, body) })
	}},

	{name: "no token", code: problem.TokenMissing, do: func(w *world) reply { return w.call("GET", "/v1/verification", nil) }},
	{name: "a token in another scheme", code: problem.TokenMissing, do: func(w *world) reply {
		return w.call("GET", "/v1/verification", nil, with("Authorization", "Basic "+w.open(sends, w.someone()).AccessToken))
	}},
	{name: "a token in the address", code: problem.TokenMissing, do: func(w *world) reply {
		return w.call("GET", "/v1/verification?access_token="+w.open(sends, w.someone()).AccessToken, nil)
	}},
	{name: "not a token", code: problem.TokenInvalid, do: func(w *world) reply { return w.await("nonsense") }},
	{name: "a token too long", code: problem.TokenInvalid, do: func(w *world) reply { return w.await(strings.Repeat("x", 5000)) }},
	{name: "a token changed", code: problem.TokenInvalid, do: func(w *world) reply {
		given := []byte(w.open(sends, w.someone()).AccessToken)
		given[len(given)/2] ^= 1
		return w.await(string(given))
	}},
	{name: "a token of another poll", code: problem.TokenInvalid, do: func(w *world) reply {
		return w.cast(strings.Replace(w.verify(w.someone()), sends, receives, 1), someKey, w.sealed(receives))
	}},
	{name: "another installation's token", code: problem.TokenInvalid, do: func(w *world) reply {
		return w.await(newWorld(w.t).open(sends, w.someone()).AccessToken)
	}},
	{name: "an old token", code: problem.TokenExpired, do: func(w *world) reply {
		given := w.open(sends, w.someone()).AccessToken
		w.clock.advance(181*time.Second + lateRead)
		return w.await(given)
	}},
	{name: "an old token for a code", code: problem.TokenExpired, do: func(w *world) reply {
		given := w.open(receives, w.someone()).AccessToken
		w.clock.advance(181 * time.Second)
		return w.check(given, "123456")
	}},
	{name: "an old token at the box", code: problem.TokenExpired, do: ready(func(w *world) { w.clock.advance(1801 * time.Second) }, someKey)},
	{name: "an SMS after the deadline", code: problem.TokenExpired, do: func(w *world) reply {
		p := w.someone()
		session := w.open(sends, p)
		w.clock.advance(181*time.Second + time.Millisecond)
		w.text(p.phone, *session.Verification.Text)
		return w.await(session.AccessToken)
	}},
	{name: "casting before the phone is proved", code: problem.TokenWrongStep, do: func(w *world) reply {
		return w.cast(w.open(sends, w.someone()).AccessToken, someKey, w.sealed(sends))
	}},
	{name: "waiting with a verified token", code: problem.TokenWrongStep, do: func(w *world) reply { return w.await(w.verify(w.someone())) }},
	{name: "a code with a verified token", code: problem.TokenWrongStep, do: func(w *world) reply { return w.check(w.verifyByCode(w.someone()), "123456") }},
	{name: "another code with a verified token", code: problem.TokenWrongStep, do: func(w *world) reply { return w.resend(w.verifyByCode(w.someone())) }},
	{name: "a code where voters text", code: problem.WrongMode, do: func(w *world) reply { return w.check(w.open(sends, w.someone()).AccessToken, "123456") }},
	{name: "waiting where voters get codes", code: problem.WrongMode, do: func(w *world) reply { return w.await(w.open(receives, w.someone()).AccessToken) }},

	{name: "a wrong code", code: problem.CodeWrong, field: "/code", do: func(w *world) reply { return wrongCode(w, w.someone()) }},
	{name: "not a code", code: problem.InvalidField, field: "/code", do: func(w *world) reply { return w.check(w.open(receives, w.someone()).AccessToken, "12345a") }},
	{name: "two tries in one second", code: problem.CodeTooSoon, do: func(w *world) reply {
		given := w.open(receives, w.someone()).AccessToken
		return repeat(2, func() reply { return w.check(given, "000000") })
	}},
	{name: "a sixth try", code: problem.CodeExhausted, do: func(w *world) reply {
		given := w.open(receives, w.someone()).AccessToken
		return repeat(6, func() reply { w.clock.advance(time.Second); return w.check(given, "000000") })
	}},
	{name: "a code used before", code: problem.CodeExpired, do: func(w *world) reply {
		p := w.someone()
		given := w.open(receives, p).AccessToken
		return repeat(2, func() reply { w.clock.advance(time.Second); return w.check(given, w.phones.code(w.t, p.phone)) })
	}},
	{name: "another code at once", code: problem.ResendTooSoon, do: func(w *world) reply { return w.resend(w.open(receives, w.someone()).AccessToken) }},
	{name: "a fifth sending", code: problem.ResendExhausted, setup: func(w *world) {
		w.config.SendDelays = []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}
	}, do: func(w *world) reply {
		given := w.open(receives, w.someone()).AccessToken
		return repeat(4, func() reply { w.clock.advance(20 * time.Second); return w.resend(given) })
	}},
	{
		name: "no human check", code: problem.HumanCheckRequired, field: "/human_check",
		setup: func(w *world) { w.newVendor("turnstile") }, do: changed(func(object) {}),
	},
	{
		name: "a human check that was not passed", code: problem.HumanCheckFailed, field: "/human_check",
		setup: func(w *world) { w.newVendor("turnstile").say(`{"success":false}`) },
		do:    changed(func(o object) { o["human_check"] = "a-response" }),
	},
	{
		name: "a human check that nobody can judge", code: problem.HumanCheckUnavailable,
		setup: func(w *world) { w.newVendor("turnstile").say("") },
		do:    changed(func(o object) { o["human_check"] = "a-response" }),
	},
	{name: "a number of a country that is not listed", code: problem.PhoneCountry, field: "/phone", do: changed(func(o object) { o["phone"] = "+447400123456" })},
	{name: "one phone for too many", code: problem.PhoneUsedUp, setup: func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"verify-phone": {Count: 1, Window: time.Hour}}}
	}, do: func(w *world) reply {
		first, second := w.someone(), w.someone()
		second.phone = first.phone
		w.verifyByCode(first)
		session := w.open(receives, second)
		return w.check(session.AccessToken, w.phones.code(w.t, second.phone))
	}},
	{name: "a number that no SMS goes to", code: problem.PhoneUnreachable, field: "/phone", do: func(w *world) reply {
		w.phones.failing(fmt.Errorf("connection: %w", sms.ErrPermanent))
		return w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone()))
	}},
	{name: "providers that want no more", code: problem.SMSUnavailable, do: func(w *world) reply {
		w.phones.failing(&sms.Throttled{After: time.Minute})
		return w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone()))
	}},
	{name: "an SMS blocked as fraud", code: problem.SMSUnavailable, do: func(w *world) reply {
		w.phones.failing(sms.ErrBlocked)
		return w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone()))
	}},
	{name: "no SMS provider", code: problem.SMSUnavailable, do: func(w *world) reply {
		w.phones.failing(errors.New("all providers are down"))
		return w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(w.someone()))
	}},

	{name: "no idempotency key", code: problem.IdempotencyKeyMissing, do: func(w *world) reply {
		return w.call("POST", "/v1/ballots", object{"sealed": w.sealed(sends)}, bearer(w.verify(w.someone())))
	}},
	{name: "an empty idempotency key", code: problem.IdempotencyKeyMissing, do: ready(nil, "")},
	{name: "a short idempotency key", code: problem.IdempotencyKeyInvalid, do: ready(nil, "0123456789abcde")},
	{name: "a long idempotency key", code: problem.IdempotencyKeyInvalid, do: ready(nil, strings.Repeat("k", 65))},
	{name: "an idempotency key with a space", code: problem.IdempotencyKeyInvalid, do: ready(nil, "0123456789abcdef 0")},
	{name: "two idempotency keys", code: problem.IdempotencyKeyInvalid, do: func(w *world) reply {
		return w.call("POST", "/v1/ballots", object{"sealed": w.sealed(sends)}, bearer(w.verify(w.someone())),
			func(r *http.Request) { r.Header["Idempotency-Key"] = []string{someKey, "another-key-0123456789"} })
	}},
	{name: "a ballot in the wrong alphabet", code: problem.BallotInvalid, field: "/sealed", do: func(w *world) reply { return w.cast(w.verify(w.someone()), someKey, "+/+/") }},
	{name: "a ballot with line ends", code: problem.BallotInvalid, field: "/sealed", do: func(w *world) reply {
		return w.cast(w.verify(w.someone()), someKey, w.sealed(sends)+"\n")
	}},
	{name: "a ballot that begins with no point", code: problem.BallotInvalid, field: "/sealed", do: func(w *world) reply {
		return w.cast(w.verify(w.someone()), someKey, base64.RawURLEncoding.EncodeToString(make([]byte, base64.RawURLEncoding.DecodedLen(len(w.sealed(sends))))))
	}},
	{name: "an empty ballot", code: problem.BallotWrongSize, field: "/sealed", do: func(w *world) reply { return w.cast(w.verify(w.someone()), someKey, "") }},
	{name: "a ballot a byte too short", code: problem.BallotWrongSize, field: "/sealed", do: func(w *world) reply {
		raw, _ := base64.RawURLEncoding.DecodeString(w.sealed(sends))
		return w.cast(w.verify(w.someone()), someKey, base64.RawURLEncoding.EncodeToString(raw[1:]))
	}},

	{name: "the limiter's no", code: problem.RateLimited, setup: func(w *world) {
		w.limits.Override = map[string]ratelimit.Rate{"challenge-network": {Count: 1, Window: time.Hour}}
		w.limits.Scale = 1
	}, do: func(w *world) reply { return repeat(2, func() reply { return w.call("GET", "/v1/challenge", nil) }) }},
	{name: "more voters than are let in", code: problem.WaitingRoom, setup: slow(60), do: func(w *world) reply {
		return repeat(2, func() reply { return w.begin(sends, w.sessionBody(w.someone())) })
	}},
	{name: "too many waiters", code: problem.Overloaded, setup: func(w *world) { w.config.MaxWaiters = 1 }, do: func(w *world) reply {
		w.server.waiters.Add(1)
		return w.await(w.open(sends, w.someone()).AccessToken)
	}},
	{name: "a full box", code: problem.Overloaded, do: ready(func(w *world) { w.box.outcomeIs(problem.New(problem.Overloaded)) }, someKey)},
	{name: "no inbound number", code: problem.Unavailable, setup: func(w *world) { w.config.InboundNumber = "" }, do: changed(func(object) {})},
	{name: "no ballot server since the start", code: problem.Unavailable, setup: func(w *world) { w.box.failRead = errors.New("no route") }, do: func(w *world) reply { return w.call("GET", "/v1/polls", nil) }},
	{name: "no answer from the box", code: problem.OutcomeUnknown, do: ready(func(w *world) { w.box.fail(errors.New("the connection broke")) }, someKey)},
	{name: "an outcome the box does not know", code: problem.OutcomeUnknown, do: ready(func(w *world) { w.box.outcomeIs(problem.New(problem.OutcomeUnknown)) }, someKey)},
	{name: "a bug in the box", code: problem.Internal, do: ready(func(w *world) { w.box.outcomeIs(errors.New("secret detail")) }, someKey)},
	{name: "a bug in a handler", code: problem.Internal, do: ready(func(w *world) { w.box.panics = true }, someKey)},
}

// afterOneVote are refused because somebody's ballot is in the box already.
var afterOneVote = []mishap{
	{name: "voting twice", code: problem.AlreadyVoted, do: func(w *world) reply {
		p := w.someone()
		w.cast(w.verify(p), someKey, w.sealed(sends))
		return w.cast(w.verify(p), "a-key-of-another-ballot", w.sealed(sends))
	}},
	{name: "another ballot under the same key", code: problem.IdempotencyKeyReused, do: func(w *world) reply {
		given := w.verify(w.someone())
		w.cast(given, someKey, w.sealed(sends))
		return w.cast(given, someKey, w.sealed(sends))
	}},
	{name: "a stranger's ballot", code: problem.BallotCopied, do: func(w *world) reply {
		sealed := w.sealed(sends)
		w.cast(w.verify(w.someone()), someKey, sealed)
		return w.cast(w.verify(w.someone()), "a-key-of-another-ballot", sealed)
	}},
}

func wrongCode(w *world, p person) reply {
	given := w.open(receives, p).AccessToken
	code := w.phones.code(w.t, p.phone)
	return w.check(given, fmt.Sprintf("%c%s", '0'+(code[0]-'0'+1)%10, code[1:]))
}

func (b *box) outcomeIs(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcome = err
}

func (b *box) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failCast = err
}

// TestBadInput makes every mistake there is: each comes to its own problem with the status and the
// effect of the table, and records nothing that was not there before.
func TestBadInput(t *testing.T) {
	met := map[problem.Code]bool{}
	run := func(m mishap, recorded int) {
		met[m.code] = true
		t.Run(m.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				if m.setup != nil {
					m.setup(w)
				}
			})
			got := m.do(w)
			p, row := got.problem(t), problem.Lookup(m.code)
			field := ""
			if p.Field != nil {
				field = *p.Field
			}
			if string(p.Code) != string(m.code) || got.status != row.Status || string(p.Effect) != string(row.Effect) || field != m.field {
				t.Errorf("got %s (%d, %s) at %q; want %s (%d, %s) at %q", p.Code, got.status, p.Effect, field, m.code, row.Status, row.Effect, m.field)
			}
			if n := w.box.recorded(); row.Effect == problem.NotApplied && m.code != problem.Overloaded && n != recorded {
				t.Errorf("%d ballots are in the box, want %d", n, recorded)
			}
			if (got.status == 429 || got.status == 503) != (p.RetryAfter != nil && got.header.Get("Retry-After") == fmt.Sprint(*p.RetryAfter)) && m.code != problem.PollPaused {
				t.Errorf("Retry-After is %q, retry_after %v", got.header.Get("Retry-After"), p.RetryAfter)
			}
			if got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers: %v", got.header)
			}
			if strings.Contains(string(got.body), "secret") || strings.Contains(string(got.body), "connection") {
				t.Errorf("internal text reached the client: %s", got.body)
			}
		})
	}
	for _, m := range mishaps {
		run(m, 0)
	}
	for _, m := range afterOneVote {
		run(m, 1)
	}
	for _, row := range problem.Table {
		if !met[row.Code] {
			t.Errorf("no mistake in this test comes to %s", row.Code)
		}
	}
}

// TestTheWayOutOfEachProblem: after a mistake the voter goes on, and nothing was used up.
func TestTheWayOutOfEachProblem(t *testing.T) {
	t.Run("an unknown outcome, and the same ballot again", func(t *testing.T) {
		w := newWorld(t)
		given, sealed := w.verify(w.someone()), w.sealed(sends)
		w.box.outcomeIs(problem.New(problem.OutcomeUnknown)) // recorded, and not said
		w.cast(given, someKey, sealed)
		w.box.outcomeIs(nil)
		if got := w.cast(given, someKey, sealed); got.status != http.StatusCreated || w.box.recorded() != 1 {
			t.Errorf("%d %s, %d recorded", got.status, got.body, w.box.recorded())
		}
	})
	t.Run("a pause, and the end of it", func(t *testing.T) {
		w := newWorld(t)
		given, sealed := w.verify(w.someone()), w.sealed(sends)
		w.box.set(sends, poll.Paused)
		w.cast(given, someKey, sealed)
		w.box.set(sends, poll.Open)
		if got := w.cast(given, someKey, sealed); got.status != http.StatusCreated {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("a poll that opened a moment ago", func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.box.set(sends, poll.Draft) })
		w.box.set(sends, poll.Open)
		w.clock.advance(refreshLate)
		w.open(sends, w.someone())
	})
	t.Run("a wrong code, then the right one", func(t *testing.T) {
		w := newWorld(t)
		p := w.someone()
		session := w.open(receives, p)
		code := w.phones.code(t, p.phone)
		v := w.check(session.AccessToken, "000000").problem(t).Verification
		if *v.TriesLeft != 4 || *v.NextCheckSeconds != 1 || *v.NextSendSeconds != 30 {
			t.Errorf("after one try: %d left, next in %d s, another in %d s", *v.TriesLeft, *v.NextCheckSeconds, *v.NextSendSeconds)
		}
		w.clock.advance(time.Second)
		fullWidth := strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
		read[channelsapi.Verified](t, w.check(session.AccessToken, " "+fullWidth[:9]+" - "+fullWidth[9:]), http.StatusOK)
	})
	t.Run("no SMS, and a provider that comes back", func(t *testing.T) {
		w := newWorld(t)
		p := w.someone()
		session := w.open(receives, p)
		w.clock.advance(30 * time.Second)
		w.phones.failing(errors.New("down"))
		for range 10 {
			if got := w.resend(session.AccessToken); got.problem(t).Code != "sms-unavailable" {
				t.Fatalf("%s", got.body)
			}
		}
		// The first code stands, with its tries.
		if v := w.check(session.AccessToken, "000000").problem(t).Verification; *v.TriesLeft != 4 {
			t.Errorf("%d tries left, want 4", *v.TriesLeft)
		}
		w.phones.failing(nil)
		next := read[channelsapi.Verification](t, w.resend(session.AccessToken), http.StatusOK)
		if *next.NextSendSeconds != 60 || *next.TriesLeft != 5 {
			t.Errorf("after the second sending: %d s, %d tries", *next.NextSendSeconds, *next.TriesLeft)
		}
	})
	t.Run("no SMS in step 1 uses no allowance up", func(t *testing.T) {
		w := newWorld(t, func(w *world) {
			w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{
				"session-voter": {Count: 1, Window: time.Hour}, "send-phone": {Count: 1, Window: time.Hour},
			}}
		})
		p := w.someone()
		w.phones.failing(errors.New("down"))
		for range 3 {
			if got := w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(p)).problem(t); got.Code != "sms-unavailable" {
				t.Fatalf("%s", got.Code)
			}
		}
		w.phones.failing(nil)
		w.open(receives, p)
	})
	t.Run("an SMS that may have been sent", func(t *testing.T) {
		w := newWorld(t)
		w.phones.failing(sms.ErrUnknown)
		w.verifyByCode(w.someone())
	})
	t.Run("exact countdowns to the last sending", func(t *testing.T) {
		w := newWorld(t)
		p := w.someone()
		session := w.open(receives, p)
		v, code := session.Verification, w.phones.code(t, p.phone)
		for i, want := range []int{30, 60} {
			if v.NextSendSeconds == nil || *v.NextSendSeconds != want || *v.CodeLength != 6 {
				t.Fatalf("after sending %d: %+v, want %d s", i+1, v, want)
			}
			w.clock.advance(time.Duration(want) * time.Second)
			v = read[channelsapi.Verification](t, w.resend(session.AccessToken), http.StatusOK)
			if again := w.phones.code(t, p.phone); again != code {
				t.Errorf("the code changed from %s to %s: an SMS that comes late would be wrong", code, again)
			}
		}
	})
}

// TestNothingPrivateIsWritten: no number, code, token or text of a whole run is in its log or metrics.
func TestNothingPrivateIsWritten(t *testing.T) {
	w := newWorld(t)
	secret := map[string]bool{}
	for range 5 {
		for _, mode := range []string{sends, receives} {
			p := w.someone()
			digits := strings.NewReplacer("(", "", ")", "").Replace(p.hkid)
			for _, s := range []string{p.hkid, digits, digits[:7], p.phone, strings.TrimPrefix(p.phone, "+852")} {
				secret[s] = true
			}
			session := w.open(mode, p)
			secret[session.AccessToken] = true
			if mode == receives {
				code := w.phones.code(t, p.phone)
				secret[code] = true
				w.phones.failing(fmt.Errorf("no route to %v", sms.Number(p.phone)))
				w.clock.advance(30 * time.Second)
				w.resend(session.AccessToken)
				w.phones.failing(nil)
				w.check(session.AccessToken, code)
			} else {
				secret[*session.Verification.Text] = true
				w.text(p.phone, *session.Verification.Text)
				w.await(session.AccessToken)
			}
		}
	}
	w.box.panics = true
	ready(nil, someKey)(w)
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	written := w.log.String()
	for _, f := range families {
		written += f.String()
	}
	if len(w.log.String()) == 0 || len(families) < 5 {
		t.Fatal("there is nothing to look at")
	}
	for _, s := range slices.Sorted(maps.Keys(secret)) {
		if strings.Contains(written, s) {
			t.Errorf("%q is in the log or the metrics", s)
		}
	}
	if identity.VoterTag([32]byte{1}).String() != "voter:redacted" {
		t.Error("tags print")
	}
}
