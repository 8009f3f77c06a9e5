package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/libs/poll"
)

// notices are what the operator is shown, the newest first, and how far they have seen it.
func (p *panel) notices() (list []map[string]any, seen int64) {
	p.t.Helper()
	body := p.want(p.get("/api/notices"), http.StatusOK, "")
	for _, n := range body["notices"].([]any) {
		list = append(list, n.(map[string]any))
	}
	return list, int64(body["seen"].(float64))
}

// TestOperatorsAreToldOfSuspiciousSignIns: all of them, each kind of it, with a count of what is new to each.
func TestOperatorsAreToldOfSuspiciousSignIns(t *testing.T) {
	p, k := withAnna(t)
	anna := p.cookie
	made := p.want(p.prove(k, "/api/links", struct{}{}), http.StatusOK, "")
	p.cookie = p.post("/api/login", map[string]string{"token": secretOf(made["link"])}).Cookies()[0]
	ben := newToken(t)
	p.want(p.enrol(ben, "Ben", "Phone"), http.StatusOK, "")
	bens := p.cookie
	_, before := p.notices()

	p.want(p.post("/api/login", map[string]string{"token": "nonsense"}), http.StatusForbidden, "passkeys-in-use")
	ben.auth.Options.UserNotVerified = true
	p.want(p.trySignIn(ben), http.StatusForbidden, "passkey-refused")
	ben.auth.Options.UserNotVerified = false
	p.signIn(ben) // a browser that has no name
	ben.cred.Counter = 0
	p.want(p.trySignIn(ben), http.StatusForbidden, "passkey-refused")
	if _, _, err := operators.Recover(t.Context(), p.box, "Ben", "command line (root)", "he asked", p.clock.Now()); err != nil {
		t.Fatal(err)
	}
	want := []string{operators.RecoveryMade, operators.CounterRegressed, operators.NewDevice, operators.PasskeyRefused, operators.LinkRefused}
	for _, cookie := range []*http.Cookie{anna, bens} {
		p.cookie = cookie
		list, _ := p.notices()
		for i, kind := range want {
			if list[i]["kind"] != kind {
				t.Errorf("notice %d is %v, not %s", i, list[i], kind)
			}
		}
		if list[0]["by"] != "command line (root)" || list[0]["reason"] != "he asked" || list[0]["name"] != "Ben" || list[1]["label"] != "Phone" {
			t.Errorf("they say %v", list[:2])
		}
	}
	// Ben has seen what he reads; Anna has not.
	list, seen := p.notices()
	newest := int64(list[0]["seq"].(float64))
	if seen != before || seen >= newest {
		t.Errorf("seen up to %d of %d, before %d", seen, newest, before)
	}
	p.want(p.post("/api/notices/seen", map[string]int64{"up_to": newest + 9}), http.StatusBadRequest, "invalid-field")
	p.want(p.post("/api/notices/seen", map[string]int64{"up_to": newest}), http.StatusNoContent, "")
	if _, seen := p.notices(); seen != newest {
		t.Errorf("Ben has seen up to %d", seen)
	}
	p.cookie = anna
	if _, seen := p.notices(); seen >= newest {
		t.Errorf("Anna has seen up to %d", seen)
	}
	if overview := p.want(p.get("/api/overview"), http.StatusOK, ""); int64(overview["notice"].(float64)) != newest {
		t.Errorf("the overview says %v", overview["notice"])
	}
	if got := p.metric(`panel_notices_total{kind="counter-regressed"}`); got != 1 {
		t.Errorf("counted are %v", got)
	}
}

// TestABrowserIsKnownByItsCookie: the second sign-in from it is nothing new; from another it is.
func TestABrowserIsKnownByItsCookie(t *testing.T) {
	p, k := withAnna(t)
	p.cookie = nil
	begun := p.begin("/api/sign-in/begin", struct{}{})
	answer := p.post("/api/sign-in", map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)})
	p.want(answer, http.StatusOK, "")
	p.cookie = answer.Cookies()[0]
	device := answer.Cookies()[1]
	if device.Name != p.cookie.Name+"_device" || !device.HttpOnly || device.SameSite != http.SameSiteStrictMode {
		t.Errorf("it is known by %+v", device)
	}
	count := func() (n int) {
		list, _ := p.notices()
		for _, one := range list {
			if one["kind"] == operators.NewDevice {
				n++
			}
		}
		return n
	}
	if count() != 1 {
		t.Errorf("there are %d new devices", count())
	}
	begun = p.begin("/api/sign-in/begin", struct{}{})
	mine := p.cookie
	p.cookie = device
	p.want(p.post("/api/sign-in", map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)}), http.StatusOK, "")
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed") // it opens nothing
	p.cookie = mine
	if count() != 1 {
		t.Errorf("the same browser is new")
	}
	p.signIn(k)
	if count() != 2 {
		t.Errorf("there are %d new devices", count())
	}
}

// TestWithoutAnAccountNoticesAreSeenInASession: links let in people whom nobody can tell apart.
func TestWithoutAnAccountNoticesAreSeenInASession(t *testing.T) {
	p := newNamedPanel(t)
	p.want(p.post("/api/login", map[string]string{"token": "nonsense"}), http.StatusForbidden, "link-spent")
	p.logIn()
	p.elect("p", poll.Draft)
	list, seen := p.notices()
	if len(list) != 1 || seen != 0 || list[0]["kind"] != operators.LinkRefused {
		t.Errorf("%v, %d", list, seen)
	}
	p.want(p.post("/api/notices/seen", map[string]int64{"up_to": 1}), http.StatusNoContent, "")
	if _, seen := p.notices(); seen != 1 {
		t.Errorf("seen up to %d", seen)
	}
	p.clock.advance(time.Minute)
	p.logIn()
	if _, seen := p.notices(); seen != 0 {
		t.Errorf("in another session, up to %d", seen)
	}
}
