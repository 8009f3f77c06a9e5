package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

// TestAPollsOwnLimit counts in that poll alone, and is what its answers say.
func TestAPollsOwnLimit(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Polls: map[string]map[string]ratelimit.Rate{sends: {
			"session-voter": {Count: 2, Window: time.Minute}, "cast-network": {Count: 1, Window: time.Minute},
			"attempt-network": {Count: 5, Window: time.Minute}, "wait-network": {Count: 1, Window: time.Minute},
		}}}
	})
	p := w.someone()
	for _, want := range []struct {
		status       int
		policy, left string
	}{
		{http.StatusCreated, `"session-voter";q=2;w=60`, `"session-voter";r=1;t=`},
		{http.StatusCreated, `"session-voter";q=2;w=60`, `"session-voter";r=0;t=`},
		{http.StatusTooManyRequests, `"session-voter";q=2;w=60`, `"session-voter";r=0;t=`},
	} {
		got := w.call("POST", sessionsPath, w.sessionBody(p))
		if policy, left := got.header.Get("RateLimit-Policy"), got.header.Get("RateLimit"); got.status != want.status || policy != want.policy || !strings.HasPrefix(left, want.left) {
			t.Errorf("%d %s %s, want %d %s %s", got.status, policy, left, want.status, want.policy, want.left)
		}
	}
	w.open(receives, p) // there are as many sessions as ever
	other := w.someone()
	session := w.open(sends, other)
	w.text(other.phone, *session.Verification.Text)
	first := w.await(session.AccessToken)
	if policy := first.header.Get("RateLimit-Policy"); first.status != http.StatusOK || policy != `"verify-phone";q=10;w=86400` {
		t.Errorf("proved: %d %s", first.status, policy)
	}
	if again := w.await(session.AccessToken); again.status != http.StatusTooManyRequests || again.header.Get("RateLimit-Policy") != `"wait-network";q=1;w=60` {
		t.Errorf("waiting: %d %v", again.status, again.header)
	}
	verified := read[channelsapi.VerificationState](t, first, http.StatusOK).Verified.AccessToken
	for i, status := range []int{http.StatusCreated, http.StatusTooManyRequests} {
		if got := w.cast(verified, someKey, w.sealed(sends)); got.status != status || got.header.Get("RateLimit-Policy") != `"cast-network";q=1;w=60` {
			t.Errorf("cast %d: %d %v", i+1, got.status, got.header)
		}
	}
	w.call("POST", sessionsPath, w.sessionBody(w.someone()))
	if got := w.call("POST", sessionsPath, w.sessionBody(w.someone())); got.status != http.StatusTooManyRequests || got.header.Get("RateLimit-Policy") != `"attempt-network";q=5;w=60` {
		t.Errorf("attempts: %d %v", got.status, got.header)
	}
}

// TestAPumpGetsWhatItsBlockIsAllowed: one number after the other, each from another network. Whoever has a number
// elsewhere gets a code, and a code sent again counts like another.
func TestAPumpGetsWhatItsBlockIsAllowed(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits = ratelimit.Config{} })
	ask := func(phone, network string) reply {
		body := w.sessionBody(w.someone())
		body["phone"] = phone
		return w.call("POST", "/v1/polls/"+receives+"/sessions", body, from(network+":1"))
	}
	for i := range 300 {
		got := ask(fmt.Sprintf("+852912340%02d", i%100), fmt.Sprintf("10.%d.%d.1", i/200, i%200))
		if got.status == http.StatusCreated {
			continue
		}
		if policy := got.header.Get("RateLimit-Policy"); got.problem(t).Code != channelsapi.ProblemCode(problem.RateLimited) || policy != `"send-block-all";q=180;w=3600` {
			t.Fatalf("number %d: %s, %s", i, got.body, policy)
		}
	}
	if n := w.phones.count(); n < 180 || n > 185 { // some may have grown back meanwhile
		t.Errorf("%d SMS were sent to the block, want 180", n)
	}
	for _, phone := range []string{"+85291235000", "+85291233999", "+85261234001"} {
		if got := ask(phone, "10.0.0.1"); got.status != http.StatusCreated {
			t.Errorf("another block: %d %s", got.status, got.body)
		}
	}

	w = newWorld(t, func(w *world) {
		w.limits = ratelimit.Config{Polls: map[string]map[string]ratelimit.Rate{receives: {"send-block": {Count: 2, Window: time.Hour}}}}
	})
	session := read[channelsapi.Session](t, ask("+85291234001", "192.0.2.7"), http.StatusCreated)
	w.clock.advance(30 * time.Second)
	read[channelsapi.Verification](t, w.resend(session.AccessToken), http.StatusOK)
	if got := ask("+85291234002", "192.0.2.7"); got.status != http.StatusTooManyRequests || got.header.Get("RateLimit-Policy") != `"send-block";q=2;w=3600` {
		t.Errorf("after a code and its resend: %d %v", got.status, got.header)
	}
	read[channelsapi.Session](t, ask("+85291234003", "198.51.100.1"), http.StatusCreated)
}

// TestWhichCountriesTakePart is the operator's to say. That others cost nothing, TestWhatIsInvalidCostsNobodyElse shows.
func TestWhichCountriesTakePart(t *testing.T) {
	const home, abroad, far = "+85291234567", "+447400123456", "+12015550123"
	for _, c := range []struct {
		list  []string
		taken map[string]bool
	}{
		{nil, map[string]bool{home: true}},
		{[]string{"+44"}, map[string]bool{abroad: true}},
		{[]string{"+852", "+4474"}, map[string]bool{home: true, abroad: true}},
		{[]string{"+4475"}, map[string]bool{}},
		{[]string{"any"}, map[string]bool{home: true, abroad: true, far: true}},
	} {
		w := newWorld(t, func(w *world) { w.config.PhoneCountries = c.list })
		for _, phone := range []string{home, abroad, far} {
			body := w.sessionBody(w.someone())
			body["phone"] = phone
			got := w.call("POST", sessionsPath, body)
			if c.taken[phone] != (got.status == http.StatusCreated) {
				t.Errorf("%v: a number that begins with %.4s: %d", c.list, phone, got.status)
			}
			if !c.taken[phone] && got.problem(t).Code != channelsapi.ProblemCode(problem.PhoneCountry) {
				t.Errorf("%v: %s", c.list, got.body)
			}
		}
	}
	w := newWorld(t)
	for _, wrong := range [][]string{{"852"}, {"+"}, {"+0"}, {"any", "+852"}, {"+852 "}, {"HK"}} {
		config := w.config
		config.PhoneCountries = wrong
		if s, err := New(context.Background(), config, w.server.deps); err == nil || !strings.Contains(err.Error(), "phone_countries") {
			t.Errorf("%q: %v", wrong, err)
			if s != nil {
				s.Close()
			}
		}
	}
}

// onePhone lets a phone prove so many.
func onePhone(n int) func(*world) {
	return func(w *world) {
		w.limits = ratelimit.Config{Override: map[string]ratelimit.Rate{"verify-phone": {Count: n, Window: time.Hour}}}
	}
}

// TestOnePhoneProvesNoMoreThanItMay, by text and by code, over the stream and without. What was won stays won, and
// time gives the phone back.
func TestOnePhoneProvesNoMoreThanItMay(t *testing.T) {
	w := newWorld(t, onePhone(2))
	shared := w.someone().phone
	somebody := func() person { p := w.someone(); p.phone = shared; return p }

	texting := somebody()
	session := w.open(sends, texting)
	w.text(shared, *session.Verification.Text)
	for range 5 { // a connection that breaks after the event costs nothing
		if got := w.await(session.AccessToken); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	w.verify(somebody())

	if got := w.await(session.AccessToken); got.status != http.StatusOK {
		t.Errorf("who won before has lost it: %d %s", got.status, got.body)
	}
	third := w.open(sends, somebody())
	w.text(shared, *third.Verification.Text)
	refused := w.await(third.AccessToken)
	if p := refused.problem(t); p.Code != channelsapi.ProblemCode(problem.PhoneUsedUp) || p.RetryAfter == nil || *p.RetryAfter > 1800 || refused.header.Get("RateLimit-Policy") != `"verify-phone";q=2;w=3600` {
		t.Errorf("%s %v", refused.body, refused.header)
	}
	stream := w.hold(third.AccessToken, eventStream)
	<-stream.done
	if text := stream.read(); !strings.Contains(text, "event: refused\ndata: {") || !strings.Contains(text, `"code":"phone-used-up"`) || strings.Contains(text, "access_token") {
		t.Errorf("the stream: %q", text)
	}
	for range 2 { // in another poll it is another phone
		w.verifyByCode(somebody())
	}
	code := w.open(receives, somebody())
	if got := w.check(code.AccessToken, w.phones.code(t, shared)); got.problem(t).Code != channelsapi.ProblemCode(problem.PhoneUsedUp) {
		t.Errorf("by code: %s", got.body)
	}
	w.verify(w.someone()) // another phone
	w.clock.advance(time.Duration(*refused.problem(t).RetryAfter) * time.Second)
	w.verify(somebody())
}

// TestNobodyUsesUpSomebodyElsesPhone: whatever strangers type, only what the phone itself proved counts, and only who
// has it is told.
func TestNobodyUsesUpSomebodyElsesPhone(t *testing.T) {
	w := newWorld(t, onePhone(1))
	victim := w.someone()
	for i := range 20 {
		stranger := w.someone()
		body := w.sessionBody(stranger)
		body["phone"] = victim.phone
		poll := []string{sends, receives}[i%2]
		session := read[channelsapi.Session](t, w.call("POST", "/v1/polls/"+poll+"/sessions", body, from(fmt.Sprintf("10.0.%d.1:1", i))), http.StatusCreated)
		if poll == sends {
			w.text(stranger.phone, *session.Verification.Text) // from a phone of their own
		} else {
			w.check(session.AccessToken, "000000")
		}
	}
	w.verify(victim)
	// Now it is used up. To those who do not have it nothing has changed.
	body := w.sessionBody(w.someone())
	body["phone"] = victim.phone
	if got := w.call("POST", sessionsPath, body); got.status != http.StatusCreated {
		t.Errorf("a stranger learns that the phone was used: %d %s", got.status, got.body)
	}
}

// TestOfManyWhoProveAtOnce: two sessions of one phone that may prove one, each asked for by many connections.
func TestOfManyWhoProveAtOnce(t *testing.T) {
	w := newWorld(t, onePhone(1))
	phone := w.someone().phone
	var tokens [2]string
	for i := range tokens {
		p := w.someone()
		p.phone = phone
		session := w.open(sends, p)
		w.text(phone, *session.Verification.Text)
		tokens[i] = session.AccessToken
	}
	var verified [2]sync.Map
	var group sync.WaitGroup
	for i, token := range tokens {
		for n := range 20 {
			group.Go(func() {
				rec := httptest.NewRecorder()
				w.server.Handler().ServeHTTP(rec, w.request("GET", "/v1/verification", nil, bearer(token)))
				if rec.Code == http.StatusOK {
					verified[i].Store(n, true)
				}
			})
		}
	}
	group.Wait()
	won := 0
	for i, token := range tokens {
		n := 0
		verified[i].Range(func(any, any) bool { n++; return true })
		if n == 0 {
			continue
		}
		won++
		if got := w.await(token); got.status != http.StatusOK {
			t.Errorf("who won comes back: %d %s", got.status, got.body)
		}
	}
	if won != 1 {
		t.Errorf("%d sessions were verified by a phone that may prove 1", won)
	}
}
