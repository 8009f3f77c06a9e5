package server

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/receipt"
)

func TestAVoterTextsUsAndGetsAReceipt(t *testing.T) {
	w := newWorld(t)
	p := w.someone()
	session := w.open(sends, p)
	v := session.Verification
	if v.Seconds != 180 || *v.Number != inbound || *v.SmsLink != "sms:"+inbound+"?body=VOTE%20"+strings.TrimPrefix(*v.Text, "VOTE ") {
		t.Errorf("verification is %+v", v)
	}
	w.text(p.phone, strings.ToLower(*v.Text))
	state := read[channelsapi.VerificationState](t, w.await(session.AccessToken), http.StatusOK)
	if state.Verified.Seconds != 1800 {
		t.Errorf("the ballot's time is %d s, want 1800", state.Verified.Seconds)
	}
	castAndVerify(t, w, sends, state.Verified.AccessToken)
}

func TestAVoterReceivesACodeAndGetsAReceipt(t *testing.T) {
	w := newWorld(t)
	castAndVerify(t, w, receives, w.verifyByCode(w.someone()))
}

// castAndVerify casts twice with one key, and checks the one receipt as a voter would.
func castAndVerify(t *testing.T, w *world, id, token string) {
	t.Helper()
	sealed := w.sealed(id)
	first := w.cast(token, someKey, sealed)
	again := w.cast(token, someKey, sealed)
	if string(first.body) != string(again.body) {
		t.Errorf("the same ballot under the same key got another receipt:\n%s\n%s", first.body, again.body)
	}
	// The API's receipt and the contract's have the same form.
	got := read[struct{ Receipt ballotapi.Receipt }](t, first, http.StatusCreated).Receipt
	raw, _ := base64.RawURLEncoding.DecodeString(sealed)
	if err := receipt.VerifyBallot(got, raw, w.box.signer.Key()); err != nil {
		t.Errorf("the receipt does not verify: %v", err)
	}
	if n := w.box.recorded(); n != 1 {
		t.Errorf("%d ballots are in the box, want 1", n)
	}
	if cc := first.header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("a receipt may be cached: %q", cc)
	}
}

// TestAnotherServerGoesOn kills the server between any two steps: the voter goes on at the next one.
func TestAnotherServerGoesOn(t *testing.T) {
	for _, mode := range []string{sends, receives} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			restart := func() {
				w.server.Close()
				w.server = w.start()
			}
			p := w.someone()
			body := w.sessionBody(p)
			restart()
			session := read[channelsapi.Session](t, w.call("POST", "/v1/polls/"+mode+"/sessions", body), http.StatusCreated)
			restart()
			var token string
			if mode == sends {
				w.text(p.phone, *session.Verification.Text)
				restart()
				token = read[channelsapi.VerificationState](t, w.await(session.AccessToken), http.StatusOK).Verified.AccessToken
			} else {
				wrong := w.check(session.AccessToken, "000000")
				if left := *wrong.problem(t).Verification.TriesLeft; left != 4 {
					t.Errorf("%d tries left, want 4", left)
				}
				restart()
				w.clock.advance(30 * time.Second)
				read[channelsapi.Verification](t, w.resend(session.AccessToken), http.StatusOK)
				restart()
				token = read[channelsapi.Verified](t, w.check(session.AccessToken, w.phones.code(t, p.phone)), http.StatusOK).AccessToken
			}
			restart()
			sealed := w.sealed(mode)
			first := w.cast(token, someKey, sealed)
			restart()
			if again := w.cast(token, someKey, sealed); first.status != http.StatusCreated || string(again.body) != string(first.body) {
				t.Errorf("the receipts differ: %s, %s", first.body, again.body)
			}
		})
	}
}

// TestTheReceiptOutlivesTheClose: a retry after the close still gets what it was owed.
func TestTheReceiptOutlivesTheClose(t *testing.T) {
	w := newWorld(t)
	token, sealed := w.verify(w.someone()), w.sealed(sends)
	first := w.cast(token, someKey, sealed)
	w.box.set(sends, poll.Closed)
	w.clock.advance(2 * time.Second)
	if again := w.cast(token, someKey, sealed); again.status != http.StatusCreated || string(again.body) != string(first.body) {
		t.Errorf("after the close: %d %s", again.status, again.body)
	}
}
