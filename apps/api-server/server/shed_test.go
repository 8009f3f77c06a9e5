package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/hostile"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/verification"
)

// costs counts what requests cost others: the board, which is Redis, and the limits, which tell Redis.
type costs struct {
	verification.Board
	ratelimit.Limiter
	board, limits atomic.Int64
	actions       []ratelimit.Action
}

func (c *costs) Watch(ctx context.Context, key verification.Key) (<-chan verification.News, func(), error) {
	c.board.Add(1)
	return c.Board.Watch(ctx, key)
}

func (c *costs) NewCode(ctx context.Context, session string, mac [32]byte, limits verification.CodeLimits, now time.Time) (verification.CodeState, error) {
	c.board.Add(1)
	return c.Board.NewCode(ctx, session, mac, limits, now)
}

func (c *costs) TryCode(ctx context.Context, session string, mac [32]byte, now time.Time) (verification.CodeState, error) {
	c.board.Add(1)
	return c.Board.TryCode(ctx, session, mac, now)
}

func (c *costs) Spend(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	c.board.Add(1)
	return c.Board.Spend(ctx, id, ttl)
}

func (c *costs) Spent(ctx context.Context, id string) (bool, error) {
	c.board.Add(1)
	return c.Board.Spent(ctx, id)
}

func (c *costs) Take(ctx context.Context, action ratelimit.Action, who ratelimit.Subject) (ratelimit.Decision, error) {
	c.limits.Add(1)
	c.actions = append(c.actions, action)
	return c.Limiter.Take(ctx, action, who)
}

// counting starts a server that counts. Its own refreshing of polls has ended, so that what the ballot server
// is asked is asked for a request.
func (w *world) counting() (*Server, *costs) {
	w.t.Helper()
	deps := w.server.deps
	c := &costs{Board: deps.Board, Limiter: deps.Limiter}
	deps.Board, deps.Limiter, deps.Metrics = c, c, nil
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server.Close()
	s.Close()
	w.server = s
	return s, c
}

// junk is a request with something wrong in it, which its sender could have known.
type junk struct {
	name   string
	code   problem.Code
	method string
	path   string
	body   any
	as     []option
}

// invalids goes through docs/shedding.md line by line. Tokens and challenges are made in the world.
func invalids(w *world) []junk {
	w.t.Helper()
	w.clock.advance(-40 * time.Minute)
	stale := w.sessionBody(w.someone())
	late, lateCode := w.verify(w.someone()), w.open(receives, w.someone()).AccessToken
	w.clock.advance(40 * time.Minute)

	texts, codes, verified := w.open(sends, w.someone()).AccessToken, w.open(receives, w.someone()).AccessToken, w.verify(w.someone())
	forged := func(token string) string {
		swapped := map[bool]string{true: "B", false: "A"}[token[len(token)-9] == 'A']
		return token[:len(token)-9] + swapped + token[len(token)-8:]
	}
	session := func(change func(object)) object {
		body := w.sessionBody(w.someone())
		change(body)
		return body
	}
	key := with("Idempotency-Key", someKey)
	ballot := object{"sealed": w.sealed(sends)}
	const code, cast, wait = "/v1/verification/code", "/v1/ballots", "/v1/verification"
	const again, call = "/v1/verification/resend", "/v1/verification/call"
	all := []junk{
		{"chunks", problem.LengthRequired, "POST", sessionsPath, session(func(object) {}), []option{chunked}},
		{"in the clear", problem.TLSRequired, "POST", sessionsPath, session(func(object) {}), []option{with("X-Forwarded-Proto", "http")}},
		{"another site", problem.OriginNotAllowed, "POST", sessionsPath, session(func(object) {}), []option{with("Sec-Fetch-Site", "cross-site")}},
		{"another origin", problem.OriginNotAllowed, "GET", "/v1/polls/sends/turnout", nil, []option{with("Origin", "https://evil.example")}},
		{"no such path", problem.NotFound, "GET", "/v1/elsewhere", nil, nil},
		{"another method", problem.MethodNotAllowed, "PUT", cast, ballot, []option{bearer(verified), key}},
		{"TRACE", problem.MethodNotAllowed, "TRACE", "/v1/polls", nil, nil},
		{"not a tile", problem.NotFound, "GET", "/v1/polls/sends/log/tile/0/1", nil, nil},

		{"no body", problem.MalformedJSON, "POST", sessionsPath, "", nil},
		{"half a body", problem.MalformedJSON, "POST", code, `{"code":"123`, []option{bearer(codes)}},
		{"more after the body", problem.MalformedJSON, "POST", code, `{"code":"123456"}{}`, []option{bearer(codes)}},
		{"a body too deep", problem.InvalidField, "POST", sessionsPath, `{"identity":` + strings.Repeat(`{"type":`, 900), nil},
		{"a body too large", problem.BodyTooLarge, "POST", cast, object{"sealed": strings.Repeat("A", maxBody)}, []option{bearer(verified), key}},
		{"a member twice", problem.DuplicateField, "POST", code, `{"code":"123456","code":"123456"}`, []option{bearer(codes)}},
		{"a member unknown", problem.UnknownField, "POST", cast, `{"sealed":"AAAA","voter":"me"}`, []option{bearer(verified), key}},
		{"a member of another kind", problem.InvalidField, "POST", code, `{"code":123456}`, []option{bearer(codes)}},
		{"a form", problem.WrongContentType, "POST", code, `code=123456`, []option{bearer(codes), with("Content-Type", "application/x-www-form-urlencoded")}},

		{"a wrong check digit", problem.IdentityInvalid, "POST", sessionsPath, session(func(o object) { o["identity"] = object{"type": "hkid", "number": "A123456(4)"} }), nil},
		{"not a challenge", problem.ChallengeInvalid, "POST", sessionsPath, session(func(o object) { o["challenge"] = "nonsense" }), nil},
		{"a forged challenge", problem.ChallengeInvalid, "POST", sessionsPath, session(func(o object) { o["challenge"] = w.forge(func(p *challenge.Parameters) { p.Cost = 1 }) }), nil},
		{"a stale challenge", problem.ChallengeExpired, "POST", sessionsPath, stale, nil},
		{"an unsolved challenge", problem.ChallengeInvalid, "POST", sessionsPath, session(func(o object) { o["challenge"] = w.forge(nil) }), nil},
		{"a token for a ticket", problem.ChallengeInvalid, "POST", sessionsPath, session(func(o object) { o["challenge"] = texts }), nil},
		{"a forged ticket", problem.ChallengeInvalid, "POST", sessionsPath, session(func(o object) { o["challenge"] = forged(texts) }), nil},
		{"an expired ticket", problem.ChallengeExpired, "POST", sessionsPath, session(func(o object) { o["challenge"] = late }), nil},
		{"a fixed line", problem.PhoneNotMobile, "POST", sessionsPath, session(func(o object) { o["phone"] = "+85225000000" }), nil},
		{"a phone of a country that is not listed", problem.PhoneCountry, "POST", sessionsPath, session(func(o object) { o["phone"] = "+447400123456" }), nil},
		{"not a phone", problem.PhoneInvalid, "POST", sessionsPath, session(func(o object) { o["phone"] = "12" }), nil},

		{"no key", problem.IdempotencyKeyMissing, "POST", cast, ballot, []option{bearer(verified)}},
		{"not a key", problem.IdempotencyKeyInvalid, "POST", cast, ballot, []option{bearer(verified), with("Idempotency-Key", "short")}},
		{"not a ballot", problem.BallotInvalid, "POST", cast, object{"sealed": "AAA="}, []option{bearer(verified), key}},
		{"a ballot of another size", problem.BallotWrongSize, "POST", cast, object{"sealed": "AAAA"}, []option{bearer(verified), key}},
		{"a ballot without a point", problem.BallotInvalid, "POST", cast, object{"sealed": strings.Repeat("A", len(w.sealed(sends)))}, []option{bearer(verified), key}},
		{"not a code", problem.InvalidField, "POST", code, object{"code": "12345"}, []option{bearer(codes)}},
		{"a code in the other mode", problem.WrongMode, "POST", code, object{"code": "123456"}, []option{bearer(texts)}},
		{"a call where none are made", problem.NotFound, "POST", call, nil, []option{bearer(codes)}},
		{"waiting in the other mode", problem.WrongMode, "GET", wait, nil, []option{bearer(codes)}},
		{"a proof of nothing", problem.InvalidField, "POST", proofPath, object{}, nil},
		{"a proof of no leaf", problem.InvalidField, "POST", proofPath, object{"leaf": "AAAA"}, nil},
	}
	for _, path := range []string{"", "/turnout", "/results", "/log/checkpoint", "/bundle", "/log/tile/0/000"} {
		all = append(all, junk{"a made-up poll" + path, problem.PollNotFound, "GET", "/v1/polls/made-up" + path, nil, nil})
	}
	all = append(all, junk{"a session of a made-up poll", problem.PollNotFound, "POST", "/v1/polls/made-up/sessions", session(func(object) {}), nil})
	for _, op := range []struct {
		method, path string
		body         any
		wrong, old   string
	}{
		{"GET", wait, nil, verified, ""},
		{"POST", code, object{"code": "123456"}, verified, lateCode},
		{"POST", again, nil, verified, lateCode},
		{"POST", call, nil, verified, lateCode},
		{"POST", cast, ballot, texts, late},
	} {
		add := func(name string, code problem.Code, as ...option) {
			all = append(all, junk{name + " at " + op.path, code, op.method, op.path, op.body, append(as, key)})
		}
		add("no token", problem.TokenMissing)
		add("two tokens", problem.TokenMissing, func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer a", "Bearer b"} })
		add("a token too long", problem.TokenInvalid, bearer(strings.Repeat("A", maxToken+1)))
		add("a forged token", problem.TokenInvalid, bearer(forged(op.wrong)))
		add("a token of another step", problem.TokenWrongStep, bearer(op.wrong))
		if op.old != "" {
			add("an expired token", problem.TokenExpired, bearer(op.old))
		}
	}
	return all
}

// forge returns a payload that nobody worked for: of a challenge as it was issued, with work to do, or changed.
func (w *world) forge(change func(*challenge.Parameters)) string {
	issued := w.server.challenges.Issue(challenge.DefaultCost)
	if change != nil {
		change(&issued.Parameters)
	}
	text, err := json.Marshal(object{"challenge": issued, "solution": object{"counter": 1, "derivedKey": "ff"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

// TestWhatIsInvalidCostsNobodyElse: it is answered before the ballot server, Redis, the limits (which may
// tell Redis) or an SMS provider is asked.
func TestWhatIsInvalidCostsNobodyElse(t *testing.T) {
	w := newWorld(t, behindProxy)
	all := invalids(w)
	_, c := w.counting()
	for _, one := range all {
		t.Run(one.name, func(t *testing.T) {
			w.t = t
			box, sent, board, limits := w.box.total(), w.phones.count(), c.board.Load(), c.limits.Load()
			if got := w.call(one.method, one.path, one.body, one.as...).problem(t); string(got.Code) != string(one.code) || got.Status >= 500 {
				t.Errorf("%d %s, want %s", got.Status, got.Code, one.code)
			}
			if n := w.box.total() - box; n != 0 {
				t.Errorf("the ballot server was asked %d times", n)
			}
			if n := c.board.Load() - board; n != 0 {
				t.Errorf("Redis was asked %d times", n)
			}
			if n := c.limits.Load() - limits; n != 0 {
				t.Errorf("%d limits were taken from: %v", n, c.actions[len(c.actions)-int(n):])
			}
			if n := w.phones.count() - sent; n != 0 {
				t.Errorf("%d SMS were sent", n)
			}
		})
	}
}

// TestTheCostsAreSeen: a good request is counted.
func TestTheCostsAreSeen(t *testing.T) {
	w := newWorld(t)
	_, c := w.counting()
	box := w.box.total()
	w.cast(w.verifyByCode(w.someone()), someKey, w.sealed(receives))
	if c.board.Load() != 4 || c.limits.Load() < 5 || w.box.total() == box || w.phones.count() == 0 {
		t.Errorf("board %d, limits %d, box %d, SMS %d", c.board.Load(), c.limits.Load(), w.box.total()-box, w.phones.count())
	}
}

// TestAWrongSolutionIsCountedBeforeItsWork: a challenge of ours with a key that was not worked for is all that
// costs this server work, once per attempt that the limits allow, and costs nobody else any.
func TestAWrongSolutionIsCountedBeforeItsWork(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"attempt-network": {Count: 2, Window: time.Minute}}}
	})
	_, c := w.counting()
	issued := w.server.challenges.Issue(challenge.DefaultCost)
	text, err := json.Marshal(object{"challenge": issued, "solution": object{"counter": 1, "derivedKey": issued.Parameters.KeyPrefix + strings.Repeat("0", 62)}})
	if err != nil {
		t.Fatal(err)
	}
	body := w.sessionBody(w.someone())
	body["challenge"] = base64.StdEncoding.EncodeToString(text)
	c.limits.Store(0)
	for i, want := range []problem.Code{problem.ChallengeInvalid, problem.ChallengeInvalid, problem.RateLimited} {
		if got := w.call("POST", sessionsPath, body).problem(t); string(got.Code) != string(want) {
			t.Errorf("try %d: %s, want %s", i+1, got.Code, want)
		}
	}
	if c.limits.Load() != 3 || c.board.Load() != 0 {
		t.Errorf("%d limits, Redis %d times", c.limits.Load(), c.board.Load())
	}
}

// TestWhatScannersSendIsRefused: with 4xx, whatever it is and wherever it is put, and nothing of it comes back
// as anything but JSON.
func TestWhatScannersSendIsRefused(t *testing.T) {
	w := newWorld(t)
	w.box.polls["hk-2014-06"] = w.box.polls[sends]
	s, c := w.counting()
	box := w.box.total()
	all := hostile.Requests()
	if len(all) < 300 {
		t.Fatalf("%d requests prove little", len(all))
	}
	for _, one := range all {
		r := httptest.NewRequest(one.Method, "/", strings.NewReader(one.Body))
		if u, err := r.URL.Parse(one.Target); err == nil {
			r.URL = u
		} else {
			continue // no server would see it
		}
		r.Header = one.Header
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		if rec.Code < 400 || rec.Code > 499 || rec.Header().Get("Content-Type") != "application/problem+json" || !json.Valid(bytes.TrimSpace(rec.Body.Bytes())) {
			t.Errorf("%.60q: %d %s", one.Name, rec.Code, rec.Body)
		}
	}
	if c.board.Load() != 0 || w.box.total() != box {
		t.Errorf("Redis was asked %d times, the ballot server %d times", c.board.Load(), w.box.total()-box)
	}
}

// TestCrossOriginMatrix: every method from every kind of page, to the API and to the voter's page.
func TestCrossOriginMatrix(t *testing.T) {
	w := newWorld(t)
	deps := w.server.deps
	deps.Metrics = nil
	deps.Page = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusOK) })
	s, err := New(context.Background(), w.config, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const own, host, evil = "https://vote.example", "http://example.com", "https://evil.example"
	safe := map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true}
	cases := 0
	for _, path := range []string{"/v1/polls", "/v1/ballots", sessionsPath, "/v1/nothing", "/problems/internal", "/", "/en/"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"} {
			for _, origin := range []string{"", own, host, mirror, evil, "null"} {
				for _, site := range []string{"", "none", "same-origin", "same-site", "cross-site"} {
					cases++
					r := w.request(method, path, nil, with("Origin", origin), with("Sec-Fetch-Site", site))
					if origin == "" {
						r.Header.Del("Origin")
					}
					if site == "" {
						r.Header.Del("Sec-Fetch-Site")
					}
					rec := httptest.NewRecorder()
					s.Handler().ServeHTTP(rec, r)
					foreign := origin == evil || origin == "null"
					listed := origin == own || origin == mirror
					// A page of another site changes nothing, whatever the browser says of it; the API is not even read.
					refused := isAPI(path) && foreign
					if !safe[method] && !listed {
						refused = refused || site == "same-site" || site == "cross-site" || site == "" && foreign
					}
					if got := rec.Code == http.StatusForbidden; got != refused {
						t.Errorf("%s %s, Origin %q, Sec-Fetch-Site %q: %d, want refused: %v", method, path, origin, site, rec.Code, refused)
					}
					allow := ""
					if isAPI(path) && origin == mirror {
						allow = mirror
					}
					if got := rec.Header().Get("Access-Control-Allow-Origin"); got != allow {
						t.Errorf("%s %s, Origin %q: allowed %q, want %q", method, path, origin, got, allow)
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}
