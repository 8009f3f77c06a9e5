package server

import (
	"crypto/cipher"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/problem"
)

// aging is a ring that is too old from some time on, as Vault's is a day after it was last fetched.
type aging struct {
	keyring.Tokens
	old *atomic.Bool
}

func (a aging) Sealing() (int, cipher.AEAD, error) {
	if a.old.Load() {
		return 0, nil, keyring.ErrTooOld
	}
	return a.Tokens.Sealing()
}

// TestKeysTooOldToSealWith: whoever has a token goes on with it. No session begins, no phone is proved, and nothing is
// spent on either: no SMS, and not the code, which is right once the keys are current again.
func TestKeysTooOldToSealWith(t *testing.T) {
	var old atomic.Bool
	w := newWorld(t, func(w *world) { w.tokens = aging{w.keys, &old} })
	verified := w.verify(w.someone())
	waiting, texting, coming := w.someone(), w.someone(), w.someone()
	session := w.open(receives, waiting)
	code := w.phones.code(t, waiting.phone)
	text := w.open(sends, texting)
	w.text(texting.phone, *text.Verification.Text)

	old.Store(true)
	sent := w.phones.count()
	for what, got := range map[string]reply{
		"a session with a code": w.call("POST", "/v1/polls/"+receives+"/sessions", w.sessionBody(coming)),
		"a session with a text": w.call("POST", "/v1/polls/"+sends+"/sessions", w.sessionBody(coming)),
		"the right code":        w.check(session.AccessToken, code),
		"another SMS":           w.resend(session.AccessToken),
		"a text that came":      w.await(text.AccessToken),
	} {
		if p := got.problem(t); got.status != http.StatusServiceUnavailable || string(p.Code) != string(problem.Unavailable) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	if n := w.phones.count() - sent; n != 0 {
		t.Errorf("%d SMS were sent", n)
	}
	if got := w.cast(verified, someKey, w.sealed(sends)); got.status != http.StatusCreated {
		t.Errorf("who was verified before votes: %d %s", got.status, got.body)
	}

	old.Store(false)
	if got := w.check(session.AccessToken, code); got.status != http.StatusOK {
		t.Errorf("the code, once the keys are current: %d %s", got.status, got.body)
	}
	if got := w.await(text.AccessToken); got.status != http.StatusOK {
		t.Errorf("the text, once the keys are current: %d %s", got.status, got.body)
	}
	w.open(receives, coming)
}
