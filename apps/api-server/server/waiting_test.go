package server

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

// slow is a world whose servers let in one voter in so many seconds.
func slow(seconds float64) func(*world) {
	return func(w *world) { w.config.AdmissionRate = 1 / seconds }
}

// fill takes all places there are.
func (w *world) fill() {
	w.t.Helper()
	for range 100 {
		if w.begin(sends, w.sessionBody(w.someone())).status != http.StatusCreated {
			return
		}
	}
	w.t.Fatal("it is never full")
}

func (w *world) begin(id string, body object, options ...option) reply {
	w.t.Helper()
	return w.call("POST", "/v1/polls/"+id+"/sessions", body, options...)
}

// waits wants the answer to be a place in the queue.
func (r reply) waits(t testing.TB) channelsapi.WaitingRoom {
	t.Helper()
	p := r.problem(t)
	if r.status != http.StatusTooManyRequests || string(p.Code) != string(problem.WaitingRoom) || p.Effect != "not_applied" || p.WaitingRoom == nil {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if after := r.header.Get("Retry-After"); after != strconv.Itoa(p.WaitingRoom.Seconds) {
		t.Errorf("Retry-After %s, and an estimate of %d seconds", after, p.WaitingRoom.Seconds)
	}
	return *p.WaitingRoom
}

// withTicket is a person's request with a ticket in the place of a challenge.
func withTicket(p person, ticket string) object {
	return object{"identity": object{"type": "hkid", "number": p.hkid}, "phone": p.phone, "challenge": ticket}
}

func (w *world) queue() channelsapi.Queue {
	w.t.Helper()
	w.clock.advance(roomTurns) // past what was answered before
	got := w.call("GET", "/v1/polls/sends/queue", nil)
	if got.header.Get("Cache-Control") != "public, max-age=1" {
		w.t.Errorf("Cache-Control %q", got.header.Get("Cache-Control"))
	}
	return read[channelsapi.Queue](w.t, got, http.StatusOK)
}

// TestWhenItIsFullVotersWaitTheirTurn: a ticket, an estimate, and then in with it, first come, first served, at whichever
// server and from whichever network. Nobody else is asked before.
func TestWhenItIsFullVotersWaitTheirTurn(t *testing.T) {
	w := newWorld(t, slow(10))
	_, c := w.counting()
	w.fill()
	board := c.board.Load()
	first, second := w.someone(), w.someone()
	one := w.begin(sends, w.sessionBody(first)).waits(t)
	w.clock.advance(time.Second)
	two := w.begin(sends, w.sessionBody(second)).waits(t)
	if one.Seconds < 5 || one.Seconds > 25 || two.Seconds < one.Seconds+5 || two.Seconds > one.Seconds+15 {
		t.Errorf("they are told %d and %d seconds, and one is let in every ten", one.Seconds, two.Seconds)
	}
	if !one.IssuedAt.Before(two.IssuedAt) || one.ExpiresAt.Sub(one.IssuedAt) < ticketLife {
		t.Errorf("%v to %v, then %v", one.IssuedAt, one.ExpiresAt, two.IssuedAt)
	}
	if q := w.queue(); q.Waiting != 3 || q.Rate < 0.09 || q.Rate > 0.11 || len(q.Steps) == 0 || !q.Steps[len(q.Steps)-1].Until.After(two.IssuedAt) || q.Called.After(one.IssuedAt) {
		t.Errorf("%+v", q)
	}
	// Before its turn a ticket is told again how long; nothing is lost by asking.
	for range 3 {
		if again := w.begin(sends, withTicket(second, two.Ticket)).waits(t); !again.IssuedAt.Equal(two.IssuedAt) {
			t.Errorf("the place was %v and is %v", two.IssuedAt, again.IssuedAt)
		}
	}
	if n := c.board.Load() - board; n != 0 {
		t.Errorf("Redis was asked %d times for who is not let in", n)
	}
	// fill's last voter, who never comes back, has its turn, and then the first.
	for range 30 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	if q := w.queue(); !q.Called.After(one.IssuedAt) {
		t.Errorf("%+v, and the ticket is from %v", q, one.IssuedAt)
	}
	from := func(r *http.Request) { r.RemoteAddr = "198.51.100.77:1" }
	read[channelsapi.Session](t, w.begin(sends, withTicket(first, one.Ticket), from), http.StatusCreated)
	for range 30 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	read[channelsapi.Session](t, w.begin(sends, withTicket(second, two.Ticket)), http.StatusCreated)
}

// TestATicketIsGoodAtAnotherServer, which was started while people waited: it knows nothing of them but what comes.
func TestATicketIsGoodAtAnotherServer(t *testing.T) {
	w := newWorld(t, slow(2))
	w.fill()
	p := w.someone()
	place := w.begin(sends, w.sessionBody(p)).waits(t)
	w.clock.advance(time.Second)
	w.server = w.start()
	if q := w.queue(); !q.Since.After(place.IssuedAt) {
		t.Errorf("it says that it was there since %v, and the ticket is from %v", q.Since, place.IssuedAt)
	}
	again := w.begin(sends, withTicket(p, place.Ticket)).waits(t)
	if !again.IssuedAt.Equal(place.IssuedAt) {
		t.Errorf("the place was %v and is %v", place.IssuedAt, again.IssuedAt)
	}
	// Who comes now is after those who were there before, although it never gave them a ticket.
	w.begin(sends, w.sessionBody(w.someone())).waits(t)
	for range 12 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	read[channelsapi.Session](t, w.begin(sends, withTicket(p, again.Ticket)), http.StatusCreated)
}

// TestATicketIsForOneVoter: nobody else's, of no other poll, neither forged nor old, and no token of the three steps.
func TestATicketIsForOneVoter(t *testing.T) {
	w := newWorld(t)
	verified, waiting := w.verify(w.someone()), w.open(sends, w.someone()).AccessToken
	w.config.AdmissionRate = 0.5
	w.server = w.start()
	w.fill()
	p := w.someone()
	place := w.begin(sends, w.sessionBody(p)).waits(t)
	for range 20 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	forged := place.Ticket[:len(place.Ticket)-9] + map[bool]string{true: "B", false: "A"}[place.Ticket[len(place.Ticket)-9] == 'A'] + place.Ticket[len(place.Ticket)-8:]
	for name, c := range map[string]struct {
		poll   string
		who    person
		ticket string
		code   problem.Code
	}{
		"another voter":      {sends, person{w.someone().hkid, p.phone}, place.Ticket, problem.ChallengeInvalid},
		"another phone":      {sends, person{p.hkid, w.someone().phone}, place.Ticket, problem.ChallengeInvalid},
		"another poll":       {receives, p, place.Ticket, problem.ChallengeInvalid},
		"another poll named": {receives, p, receives + strings.TrimPrefix(place.Ticket, sends), problem.ChallengeInvalid},
		"forged":             {sends, p, forged, problem.ChallengeInvalid},
		"a session's token":  {sends, p, waiting, problem.ChallengeInvalid},
		"a verified token":   {sends, p, verified, problem.ChallengeInvalid},
		"nothing in it":      {sends, p, "sends.vault:v1:", problem.ChallengeInvalid},
	} {
		got := w.begin(c.poll, withTicket(c.who, c.ticket)).problem(t)
		if string(got.Code) != string(c.code) || got.Field == nil || *got.Field != "/challenge" || got.WaitingRoom != nil {
			t.Errorf("%s: %d %s, want %s", name, got.Status, got.Code, c.code)
		}
	}
	// It is no access token.
	for _, got := range []reply{
		w.await(place.Ticket), w.check(place.Ticket, "123456"), w.resend(place.Ticket), w.cast(place.Ticket, someKey, w.sealed(sends)),
	} {
		if p := got.problem(t); string(p.Code) != string(problem.TokenWrongStep) {
			t.Errorf("a ticket as a token: %d %s", got.status, p.Code)
		}
	}
	// Written as people write them, it is the same voter and the same phone.
	read[channelsapi.Session](t, w.begin(sends, withTicket(person{strings.ToLower(p.hkid), strings.TrimPrefix(p.phone, "+852")}, place.Ticket)), http.StatusCreated)
	w.clock.advance(ticketLife)
	if got := w.begin(sends, withTicket(p, place.Ticket)).problem(t); string(got.Code) != string(problem.ChallengeExpired) {
		t.Errorf("after its life: %d %s", got.Status, got.Code)
	}
}

// TestATicketEndsWithItsPoll.
func TestATicketEndsWithItsPoll(t *testing.T) {
	w := newWorld(t, slow(10))
	w.fill()
	closes := w.box.polls[sends].manifest.ClosesAt
	w.clock.advance(closes.Sub(w.clock.now()) - time.Minute)
	if place := w.begin(sends, w.sessionBody(w.someone())).waits(t); place.ExpiresAt.Before(closes) || place.ExpiresAt.After(closes.Add(time.Second)) {
		t.Errorf("it ends at %v, the poll at %v", place.ExpiresAt, closes)
	}
}

// TestOneChallengeIsOneSession: who sends it again has the same place, and once that is used the challenge is, too.
func TestOneChallengeIsOneSession(t *testing.T) {
	w := newWorld(t, slow(1))
	w.fill()
	p := w.someone()
	body := w.sessionBody(p)
	place := w.begin(sends, body).waits(t)
	if again := w.begin(sends, body).waits(t); !again.IssuedAt.Equal(place.IssuedAt) {
		t.Errorf("the place was %v and is %v", place.IssuedAt, again.IssuedAt)
	}
	other := w.sessionBody(w.someone())
	other["challenge"] = body["challenge"]
	taken := w.begin(sends, other).waits(t)
	for range 20 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	read[channelsapi.Session](t, w.begin(sends, withTicket(p, place.Ticket)), http.StatusCreated)
	for name, body := range map[string]object{"the challenge": body, "another's ticket for it": {"identity": other["identity"], "phone": other["phone"], "challenge": taken.Ticket}} {
		if got := w.begin(sends, body).problem(t); string(got.Code) != string(problem.ChallengeSpent) {
			t.Errorf("%s: %d %s", name, got.Status, got.Code)
		}
	}
}

// TestBallotsBegunPassWhileTheRoomIsFull: all that comes after step 1 asks no room.
func TestBallotsBegunPassWhileTheRoomIsFull(t *testing.T) {
	w := newWorld(t)
	texting, typing := w.someone(), w.someone()
	verified, text, code := w.verify(w.someone()), w.open(sends, texting), w.open(receives, typing)
	w.config.AdmissionRate = 0.001
	w.server = w.start()
	w.fill()
	w.begin(receives, w.sessionBody(w.someone())).waits(t)

	w.clock.advance(31 * time.Second)
	read[channelsapi.Verification](t, w.resend(code.AccessToken), http.StatusOK)
	byCode := read[channelsapi.Verified](t, w.check(code.AccessToken, w.phones.code(t, typing.phone)), http.StatusOK)
	w.text(texting.phone, *text.Verification.Text)
	byText := read[channelsapi.VerificationState](t, w.await(text.AccessToken), http.StatusOK)
	for id, token := range map[string]string{"begun": verified, "by text": byText.Verified.AccessToken} {
		if got := w.cast(token, someKey, w.sealed(sends)); got.status != http.StatusCreated {
			t.Errorf("%s: %d %s", id, got.status, got.body)
		}
	}
	if got := w.cast(byCode.AccessToken, someKey, w.sealed(receives)); got.status != http.StatusCreated {
		t.Errorf("by code: %d %s", got.status, got.body)
	}
	w.begin(sends, w.sessionBody(w.someone())).waits(t)
}

// TestAFailedSendingKeepsThePlace: who was let in by a ticket does not go to the end of the queue because no SMS could
// be sent.
func TestAFailedSendingKeepsThePlace(t *testing.T) {
	w := newWorld(t, slow(1))
	w.fill()
	p := w.someone()
	place := w.begin(receives, w.sessionBody(p)).waits(t)
	for range 20 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	w.phones.failing(errors.New("no provider"))
	got := w.begin(receives, withTicket(p, place.Ticket)).problem(t)
	if string(got.Code) != string(problem.SMSUnavailable) || got.WaitingRoom == nil || !got.WaitingRoom.IssuedAt.Equal(place.IssuedAt) {
		t.Fatalf("%+v", got)
	}
	w.phones.failing(nil)
	w.clock.advance(time.Minute)
	read[channelsapi.Session](t, w.begin(receives, withTicket(p, got.WaitingRoom.Ticket)), http.StatusCreated)
	w.clock.advance(answerLife)
	if got := w.begin(receives, withTicket(p, place.Ticket)).problem(t); string(got.Code) != string(problem.ChallengeSpent) {
		t.Errorf("the first ticket again: %d %s", got.Status, got.Code)
	}
}

// TestAPlaceIsCountedOnce: a ticket stands for one of the sessions that a voter may begin, however often it asks.
func TestAPlaceIsCountedOnce(t *testing.T) {
	w := newWorld(t, slow(1), func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"session-voter": {Count: 2, Window: time.Hour}}}
	})
	w.fill()
	p := w.someone()
	place := w.begin(sends, w.sessionBody(p)).waits(t)
	for range 5 {
		w.begin(sends, withTicket(p, place.Ticket)).waits(t)
	}
	w.begin(sends, w.sessionBody(p)).waits(t)
	if got := w.begin(sends, w.sessionBody(p)).problem(t); string(got.Code) != string(problem.RateLimited) {
		t.Errorf("a third place: %d %s", got.Status, got.Code)
	}
	for range 20 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	read[channelsapi.Session](t, w.begin(sends, withTicket(p, place.Ticket)), http.StatusCreated)
}

// TestALostAnswerCostsNoPlace: the same ticket is good once more, and counts as another session then; at another server
// too, for that is where a client may come who lost a server's answer.
func TestALostAnswerCostsNoPlace(t *testing.T) {
	for name, restart := range map[string]bool{"at the same server": false, "at another": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, slow(1), func(w *world) {
				w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"session-voter": {Count: 2, Window: time.Hour}}}
			})
			w.fill()
			p := w.someone()
			place := w.begin(sends, w.sessionBody(p)).waits(t)
			turn := func() {
				for range 20 {
					w.clock.advance(time.Second)
					w.server.room.Turn()
				}
			}
			turn()
			lost := read[channelsapi.Session](t, w.begin(sends, withTicket(p, place.Ticket)), http.StatusCreated)
			if restart {
				w.server = w.start()
				w.begin(sends, withTicket(p, place.Ticket)).waits(t)
				turn()
			}
			again := read[channelsapi.Session](t, w.begin(sends, withTicket(p, place.Ticket)), http.StatusCreated)
			if lost.AccessToken == again.AccessToken {
				t.Error("one token, given out twice")
			}
			if restart {
				return // this server counts anew
			}
			if got := w.begin(sends, withTicket(p, place.Ticket)).problem(t); string(got.Code) != string(problem.RateLimited) {
				t.Errorf("the third time, of two sessions allowed: %d %s", got.Status, got.Code)
			}
		})
	}
	for name, c := range map[string]struct {
		first int
		after time.Duration
	}{"not a third time": {2, 0}, "not when the answer is old": {1, answerLife}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, slow(1))
			w.fill()
			p := w.someone()
			place := w.begin(sends, w.sessionBody(p)).waits(t)
			for range 20 {
				w.clock.advance(time.Second)
				w.server.room.Turn()
			}
			for range c.first {
				read[channelsapi.Session](t, w.begin(sends, withTicket(p, place.Ticket)), http.StatusCreated)
			}
			w.clock.advance(c.after)
			if got := w.begin(sends, withTicket(p, place.Ticket)).problem(t); string(got.Code) != string(problem.ChallengeSpent) {
				t.Errorf("%d %s", got.Status, got.Code)
			}
		})
	}
}

// TestTheRoomIsSeen: by whoever operates it, without anybody's name.
func TestTheRoomIsSeen(t *testing.T) {
	w := newWorld(t, slow(10))
	w.fill()
	p := w.someone()
	place := w.begin(sends, w.sessionBody(p)).waits(t)
	w.begin(sends, withTicket(p, place.Ticket)).waits(t)
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"popvote_api_room_waiting": 2, "popvote_api_room_called": 0, "popvote_api_room_requests_total straight": 1,
		"popvote_api_room_requests_total waits": 2, "popvote_api_room_requests_total not_yet": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if wait := got["popvote_api_room_wait_seconds"]; wait < 15 || wait > 35 {
		t.Errorf("who comes now is told %v seconds", wait)
	}
	w.server.Close() // from here on, nobody else writes to the log
	told := w.server.tellRoom(t.Context(), time.Time{})
	w.clock.advance(2 * time.Minute)
	told = w.server.tellRoom(t.Context(), told)
	for range 60 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	if told = w.server.tellRoom(t.Context(), told); !told.IsZero() {
		t.Error("somebody waits")
	}
	for _, line := range []string{"they wait their turn", "voters wait their turn", "empty again"} {
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("the log does not say %q: %s", line, w.log.String())
		}
	}
	if strings.Contains(w.log.String(), place.Ticket) || strings.Contains(w.log.String(), p.phone) {
		t.Error("the log says who waits")
	}
}

var placeField = regexp.MustCompile(`name="place" value="[^"]+"`)

// TestThePlainPagesWaitTheirTurn: the place is in the form, in any language; nothing is typed twice.
func TestThePlainPagesWaitTheirTurn(t *testing.T) {
	w := newWorld(t, slow(30))
	w.fill()
	p := w.someone()
	b := w.browser().get("/plain/en/sends/who")
	b.post("/plain/en/sends/who", b.whoForm(sends, p))
	if b.page.status != http.StatusTooManyRequests || b.heading() != "You are in the queue" || !strings.Contains(b.body(), "or less") || !placeField.MatchString(b.body()) {
		t.Fatalf("%d %s", b.page.status, b.body())
	}
	if b.page.header.Get("Refresh") != "" || len(b.cookies) != 0 {
		t.Errorf("it goes on by itself, or something is kept: %v %v", b.page.header, b.cookies)
	}
	held := func() url.Values {
		return url.Values{"number": {b.field("number")}, "phone": {b.field("phone")}, "place": {b.field("place")}}
	}
	place := held()
	// Another language is a button of the same form.
	if !strings.Contains(b.body(), `formaction="/plain/zh-Hans/sends/who"`) {
		t.Errorf("changing the language loses the place: %s", b.body())
	}
	b.post("/plain/zh-Hans/sends/who", held())
	if b.page.status != http.StatusTooManyRequests || !strings.Contains(b.body(), `lang="zh-Hans"`) || b.field("number") != p.hkid {
		t.Fatalf("%d %s", b.page.status, b.body())
	}
	for range 100 {
		w.clock.advance(time.Second)
		w.server.room.Turn()
	}
	b.post("/plain/en/sends/who", held())
	if !strings.HasSuffix(b.at, "/phone") {
		t.Fatalf("%s: %d %s", b.at, b.page.status, b.body())
	}
	w.clock.advance(answerLife)
	// Used again it is no place any more, which is said, and new digits give a new one.
	b = w.browser()
	b.post("/plain/en/sends/who", place)
	if !strings.Contains(b.fault("digits"), "place in the queue has run out") || b.field("number") != p.hkid {
		t.Errorf("%d %s", b.page.status, b.body())
	}
	other := w.someone()
	b.post("/plain/en/sends/who", b.whoForm(sends, other))
	if b.page.status != http.StatusTooManyRequests || b.heading() != "You are in the queue" {
		t.Errorf("%d %s", b.page.status, b.body())
	}
}

// TestTheQueueOfNoPoll is none.
func TestTheQueueOfNoPoll(t *testing.T) {
	w := newWorld(t)
	if got := w.call("GET", "/v1/polls/made-up/queue", nil); got.status != http.StatusNotFound {
		t.Errorf("%d %s", got.status, got.body)
	}
	empty := w.queue()
	if empty.Waiting != 0 || len(empty.Steps) != 0 || empty.Steps == nil || w.clock.now().Sub(empty.Called) > time.Second {
		t.Errorf("%+v", empty)
	}
}
