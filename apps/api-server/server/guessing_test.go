package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/verification"
)

// TestAMillionGuesses tries five codes in each of 200,000 sessions, as many as each allows. One in a million is
// right, so one hit is expected; thirteen or more have a chance of one in sixteen thousand million.
func TestAMillionGuesses(t *testing.T) {
	w := newWorld(t)
	const sessions, each = 200_000, 5
	limits := verification.CodeLimits{Tries: each, TTL: time.Minute}
	now, hits, refused := w.clock.now(), 0, 0
	for i := range sessions {
		session := fmt.Sprintf("session %d", i)
		if state, err := w.board.NewCode(t.Context(), session, w.server.codeMAC(session, w.server.codeOf(session)), limits, now); err != nil || state.Result != verification.Accepted {
			t.Fatalf("%v, %v", state.Result, err)
		}
		for range each + 1 { // one more than is allowed
			guess := fmt.Sprintf("%06d", rand.IntN(1_000_000))
			state, err := w.board.TryCode(t.Context(), session, w.server.codeMAC(session, guess), now)
			switch {
			case err != nil:
				t.Fatal(err)
			case state.Result == verification.Right:
				hits++
			case state.Result == verification.Exhausted:
				refused++
			}
			w.server.guessing.count(t.Context(), state.Result)
		}
		if i%10_000 == 0 {
			w.clock.advance(2 * limits.TTL) // what has ended is forgotten
			now = w.clock.now()
		}
	}
	t.Logf("%d hits in %d guesses", hits, sessions*each)
	if hits > 12 {
		t.Errorf("%d hits", hits)
	}
	if refused < sessions-hits {
		t.Errorf("%d of %d sessions refused a sixth try", refused, sessions)
	}
	if w.alarm() != 1 {
		t.Error("nobody was alarmed")
	}
}

func (w *world) alarm() float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "popvote_api_code_guessing" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	w.t.Fatal("there is no figure of guessing")
	return 0
}

// TestGuessingIsToldFromMistyping: who mistypes alarms nobody, who guesses does, through the API, and it ends.
func TestGuessingIsToldFromMistyping(t *testing.T) {
	w := newWorld(t)
	wrong := func() {
		p := w.someone()
		session := w.open(receives, p)
		code := "000000"
		if w.phones.code(t, p.phone) == code {
			code = "111111"
		}
		if got := w.check(session.AccessToken, code).problem(t); got.Code != "code-wrong" {
			t.Fatalf("%+v", got)
		}
	}
	for range 150 {
		w.verifyByCode(w.someone())
	}
	for range 120 {
		wrong()
	}
	if w.alarm() != 0 {
		t.Error("an alarm, and most were right")
	}
	for range 40 {
		wrong()
	}
	if w.alarm() != 1 || strings.Count(w.log.String(), "codes are being guessed") != 1 {
		t.Errorf("no alarm, or not one line of it, with more wrong than right:\n%s", w.log.String())
	}
	w.clock.advance(2 * guessWindow)
	if w.alarm() != 0 {
		t.Error("the alarm does not end")
	}
	w.verifyByCode(w.someone())
	if !strings.Contains(w.log.String(), "codes are not being guessed any more") {
		t.Error("nobody was told that it ended")
	}
}
