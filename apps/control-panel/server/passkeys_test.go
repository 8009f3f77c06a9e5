package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

const named = "http://localhost:8081"

// newNamedPanel is a panel that has a name, so that there can be passkeys.
func newNamedPanel(t *testing.T, change ...func(*server.Config)) *panel {
	t.Helper()
	return newPanel(t, append(change, func(c *server.Config) { c.PublicOrigin = named })...)
}

// authenticator is an authenticator in software with one credential, as the browser at an origin uses it.
type authenticator struct {
	t      *testing.T
	origin string
	auth   virtualwebauthn.Authenticator
	cred   virtualwebauthn.Credential
}

// ec2Key is the length of a P-256 public key in COSE's form, both coordinates whole.
const ec2Key = 77

func newToken(t *testing.T) *authenticator {
	k := &authenticator{t: t, origin: named, auth: virtualwebauthn.NewAuthenticator(), cred: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)}
	// virtualwebauthn drops a coordinate's leading zeros, which RFC 9053 §7.1.1 forbids and no real authenticator does.
	for len(k.cred.Key.AttestationData()) != ec2Key {
		k.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	}
	return k
}

func (k *authenticator) at() virtualwebauthn.RelyingParty {
	return virtualwebauthn.RelyingParty{ID: "localhost", Name: "PopVote", Origin: k.origin}
}

func options(t *testing.T, begun map[string]any) string {
	t.Helper()
	text, err := json.Marshal(begun["options"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (k *authenticator) register(begun map[string]any) json.RawMessage {
	k.t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(options(k.t, begun))
	if err != nil {
		k.t.Fatal(err)
	}
	k.auth.Options.UserHandle = []byte(o.UserID)
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(k.at(), k.auth, k.cred, *o))
}

func (k *authenticator) answer(begun map[string]any) json.RawMessage {
	k.t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(options(k.t, begun))
	if err != nil {
		k.t.Fatal(err)
	}
	k.cred.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(k.at(), k.auth, k.cred, *o))
}

func (p *panel) begin(path string, body any) map[string]any {
	p.t.Helper()
	return p.want(p.post(path, body), http.StatusOK, "")
}

// enrol registers a passkey for the session, which goes on as the account's.
func (p *panel) enrol(k *authenticator, name, label string) *http.Response {
	p.t.Helper()
	begun := p.begin("/api/passkeys/begin", map[string]string{"name": name})
	answer := p.post("/api/passkeys", map[string]any{"ceremony": begun["ceremony"], "credential": k.register(begun), "label": label})
	if all := answer.Cookies(); answer.StatusCode == http.StatusOK && len(all) > 0 {
		p.cookie = all[0]
	}
	return answer
}

// trySignIn uses a passkey at a browser of its own.
func (p *panel) trySignIn(k *authenticator) *http.Response {
	p.t.Helper()
	p.cookie = nil
	begun := p.begin("/api/sign-in/begin", struct{}{})
	return p.post("/api/sign-in", map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)})
}

func (p *panel) signIn(k *authenticator) map[string]any {
	p.t.Helper()
	answer := p.trySignIn(k)
	body := p.want(answer, http.StatusOK, "")
	p.cookie = answer.Cookies()[0]
	return body
}

// withAnna is a panel whose one operator has a passkey, and is signed in.
func withAnna(t *testing.T) (*panel, *authenticator) {
	t.Helper()
	p, k := newNamedPanel(t).logIn(), newToken(t)
	p.want(p.enrol(k, "Anna", "Laptop"), http.StatusOK, "")
	return p, k
}

// secretOf is what a link carries.
func secretOf(link any) string {
	_, secret, _ := strings.Cut(link.(string), "#login=")
	return secret
}

func TestAPasskeySignsIn(t *testing.T) {
	p := newNamedPanel(t)
	before := p.want(p.get("/api/sign-in"), http.StatusOK, "")
	if before["passkeys"] != false || before["possible"] != true {
		t.Errorf("before the first passkey: %v", before)
	}
	p.logIn()
	link, k := p.cookie, newToken(t)
	in := p.want(p.enrol(k, "Anna", "Laptop"), http.StatusOK, "")
	if in["actor"] != "Anna" || in["account"] != true || p.cookie.Value == link.Value {
		t.Errorf("after registering it is %v", in)
	}
	mine := p.cookie
	p.cookie = link
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")

	p.clock.advance(time.Hour)
	if in := p.signIn(k); in["actor"] != "Anna" || in["account"] != true || in["enrols"] != false {
		t.Errorf("signed in it is %v", in)
	}
	if p.cookie.Value == mine.Value || !p.cookie.HttpOnly || p.cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %+v", p.cookie)
	}
	if after := p.want(p.get("/api/sign-in"), http.StatusOK, ""); after["passkeys"] != true {
		t.Errorf("after it: %v", after)
	}
	// What is done is done in the operator's name.
	p.elect("p", poll.Draft)
	done := p.want(p.prove(k, "/api/polls/p/open", decision("p")), http.StatusOK, "")
	if done["entry"].(map[string]any)["actor"] != "Anna" {
		t.Errorf("the entry is %v", done["entry"])
	}
	one := p.passkeys()["Anna"][0]
	if one["label"] != "Laptop" || one["current"] != true || one["last_used_at"] != p.clock.Now().Format(time.RFC3339) {
		t.Errorf("it is listed as %v", one)
	}
	if err := ballotapi.VerifyOperators(0, nil, p.box.chain); err != nil {
		t.Error(err)
	}
	if len(p.box.noted(operators.PasskeyAdded)) != 1 || len(p.box.noted(operators.SignedIn)) != 1 {
		t.Error("the chain does not tell of it")
	}
}

// passkeys are the listed ones by account.
func (p *panel) passkeys() map[string][]map[string]any {
	p.t.Helper()
	by := map[string][]map[string]any{}
	for _, a := range p.want(p.get("/api/passkeys"), http.StatusOK, "")["accounts"].([]any) {
		account := a.(map[string]any)
		by[account["name"].(string)] = []map[string]any{}
		for _, k := range account["passkeys"].([]any) {
			by[account["name"].(string)] = append(by[account["name"].(string)], k.(map[string]any))
		}
	}
	return by
}

// TestOnceThereIsAPasskeyALinkLetsNobodyIn: not the one that was printed, not a session it began, and none is
// printed any more.
func TestOnceThereIsAPasskeyALinkLetsNobodyIn(t *testing.T) {
	p := newNamedPanel(t).logIn()
	other := p.cookie
	p.logIn()
	spare := p.token()
	p.want(p.enrol(newToken(t), "Anna", "Laptop"), http.StatusOK, "")
	anna := p.cookie

	p.cookie = other
	p.want(p.get("/api/overview"), http.StatusUnauthorized, "log-in-needed")
	p.cookie = nil
	p.want(p.post("/api/login", map[string]string{"token": spare}), http.StatusForbidden, "passkeys-in-use")
	if link := p.server.LoginLink(); server.LogsIn(link) || link != named+"/" {
		t.Errorf("it prints %s", link)
	}
	if refused := p.box.noted(operators.LinkRefused); len(refused) != 1 {
		t.Errorf("the chain has %d refusals", len(refused))
	}
	p.cookie = anna
	p.want(p.get("/api/overview"), http.StatusOK, "")
}

// TestAColleagueIsInvited: by a link that lets them register a passkey, once, and do nothing else before.
func TestAColleagueIsInvited(t *testing.T) {
	p, anna := withAnna(t)
	made := p.want(p.prove(anna, "/api/links", struct{}{}), http.StatusOK, "")
	if made["enrols"] != true {
		t.Errorf("the link is %v", made)
	}
	mine := p.cookie
	p.cookie = nil
	answer := p.post("/api/login", map[string]string{"token": secretOf(made["link"])})
	if in := p.want(answer, http.StatusOK, ""); in["enrols"] != true || in["account"] != false {
		t.Errorf("the session is %v", in)
	}
	p.cookie = answer.Cookies()[0]
	p.elect("p", poll.Draft)
	p.want(p.get("/api/overview"), http.StatusForbidden, "passkey-needed")
	p.want(p.get("/api/passkeys"), http.StatusForbidden, "passkey-needed")
	p.want(p.post("/api/links", struct{}{}), http.StatusForbidden, "passkey-needed")
	p.want(p.post("/api/polls/p/open", decision("p")), http.StatusForbidden, "passkey-needed")
	for name, code := range map[string]string{
		"anna": "account-name-taken", "": "account-name-wrong", "clock": "account-name-wrong", "operator-a41c": "account-name-wrong",
		" Ben": "account-name-wrong", "Ben\n": "account-name-wrong", "popvote up": "account-name-wrong",
	} {
		if body := p.want(p.post("/api/passkeys/begin", map[string]string{"name": name}), map[bool]int{true: http.StatusConflict, false: http.StatusUnprocessableEntity}[code == "account-name-taken"], code); body["field"] != "/name" {
			t.Errorf("%q: %v", name, body)
		}
	}
	k := newToken(t)
	if in := p.want(p.enrol(k, "陳大文", "Phone"), http.StatusOK, ""); in["actor"] != "陳大文" || in["enrols"] != false {
		t.Errorf("with a passkey the session is %v", in)
	}
	p.want(p.get("/api/overview"), http.StatusOK, "")

	p.cookie = nil
	p.want(p.post("/api/login", map[string]string{"token": secretOf(made["link"])}), http.StatusForbidden, "passkeys-in-use")
	p.cookie = mine
	late := p.want(p.prove(anna, "/api/links", struct{}{}), http.StatusOK, "")
	p.clock.advance(operators.InviteTTL + time.Second)
	p.want(p.post("/api/login", map[string]string{"token": secretOf(late["link"])}), http.StatusForbidden, "passkeys-in-use")
}

// TestAnEnrolmentEnds by itself, soon, even if its browser is busy.
func TestAnEnrolmentEnds(t *testing.T) {
	p, anna := withAnna(t)
	made := p.want(p.prove(anna, "/api/links", struct{}{}), http.StatusOK, "")
	p.cookie = p.post("/api/login", map[string]string{"token": secretOf(made["link"])}).Cookies()[0]
	p.clock.advance(29 * time.Minute)
	p.want(p.get("/api/session"), http.StatusOK, "")
	p.clock.advance(2 * time.Minute)
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")
}

// TestARecoveryLinkIsForOneOperator: it was made on the machine, brings back who it is for, works once, and the chain
// says so.
func TestARecoveryLinkIsForOneOperator(t *testing.T) {
	p, old := withAnna(t)
	secret, _, err := operators.Recover(t.Context(), p.box, "anna", "command line (root)", "the laptop is gone", p.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.cookie = nil
	answer := p.post("/api/login", map[string]string{"token": secret})
	if in := p.want(answer, http.StatusOK, ""); in["enrols"] != true || in["named"] != "Anna" {
		t.Errorf("the session is %v", in)
	}
	p.cookie = answer.Cookies()[0]
	k := newToken(t)
	p.clock.advance(time.Minute)
	if in := p.want(p.enrol(k, "Somebody else", "New laptop"), http.StatusOK, ""); in["actor"] != "Anna" {
		t.Errorf("it let in %v", in)
	}
	if all := p.passkeys(); len(all) != 1 || len(all["Anna"]) != 2 {
		t.Errorf("there are %v", all)
	}
	made := p.box.noted(operators.RecoveryMade)
	if len(made) != 1 || made[0].Actor != "command line (root)" || made[0].Reason != "the laptop is gone" || strings.Contains(made[0].Detail, secret) {
		t.Errorf("the chain says %+v", made)
	}
	p.want(p.post("/api/login", map[string]string{"token": secret}), http.StatusForbidden, "passkeys-in-use")
	p.signIn(old) // until it is removed
	p.want(p.prove(old, "/api/passkeys/remove", map[string]string{"passkey": p.passkeys()["Anna"][0]["id"].(string), "reason": "it is gone"}), http.StatusNoContent, "")
	p.want(p.trySignIn(old), http.StatusForbidden, "passkey-refused")
	p.signIn(k)
}

// TestARemovedPasskeyIsOutAtOnce: the sessions it began end, and it signs in no more.
func TestARemovedPasskeyIsOutAtOnce(t *testing.T) {
	p, first := withAnna(t)
	mine := p.cookie
	p.want(p.prove(first, "/api/passkeys/remove", map[string]string{"passkey": p.passkeys()["Anna"][0]["id"].(string), "reason": "to lock myself out"}), http.StatusConflict, "passkey-last")
	second := newToken(t)
	p.clock.advance(time.Minute)
	p.want(p.enrolMore(first, second, "Security key"), http.StatusOK, "")
	p.want(p.get("/api/overview"), http.StatusOK, "")
	p.signIn(second)
	gone := p.passkeys()["Anna"][0]["id"].(string)
	p.want(p.prove(second, "/api/passkeys/remove", map[string]string{"passkey": gone, "reason": "no"}), http.StatusUnprocessableEntity, "reason-missing")
	p.want(p.prove(second, "/api/passkeys/remove", map[string]string{"passkey": gone, "reason": "sold the laptop"}), http.StatusNoContent, "")
	p.want(p.prove(second, "/api/passkeys/remove", map[string]string{"passkey": gone, "reason": "sold the laptop"}), http.StatusNotFound, "passkey-not-found")
	now := p.cookie
	p.cookie = mine
	p.want(p.get("/api/session"), http.StatusUnauthorized, "log-in-needed")
	p.want(p.trySignIn(first), http.StatusForbidden, "passkey-refused")
	p.cookie = now
	p.want(p.get("/api/session"), http.StatusOK, "")
}

// TestWhatIsNoSignInIsRefused, one thing wrong at a time; the passkey itself is good.
func TestWhatIsNoSignInIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(p *panel, k *authenticator) *http.Response{
		"another origin": func(p *panel, k *authenticator) *http.Response {
			k.origin = "http://localhost:9999"
			return p.trySignIn(k)
		},
		"a lookalike of the host": func(p *panel, k *authenticator) *http.Response {
			begun := p.begin("/api/sign-in/begin", struct{}{})
			o, err := virtualwebauthn.ParseAssertionOptions(options(p.t, begun))
			if err != nil {
				p.t.Fatal(err)
			}
			k.cred.Counter++
			elsewhere := virtualwebauthn.RelyingParty{ID: "localhost.evil.example", Origin: named}
			return p.post("/api/sign-in", map[string]any{"ceremony": begun["ceremony"], "credential": json.RawMessage(virtualwebauthn.CreateAssertionResponse(elsewhere, k.auth, k.cred, *o))})
		},
		"nobody verified": func(p *panel, k *authenticator) *http.Response {
			k.auth.Options.UserNotVerified = true
			return p.trySignIn(k)
		},
		"nobody present": func(p *panel, k *authenticator) *http.Response {
			k.auth.Options.UserNotPresent = true
			return p.trySignIn(k)
		},
		"another key": func(p *panel, k *authenticator) *http.Response {
			id := k.cred.ID
			k.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
			k.cred.ID = id
			return p.trySignIn(k)
		},
		"a passkey that is not known": func(p *panel, k *authenticator) *http.Response {
			k.cred = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
			return p.trySignIn(k)
		},
		"another's handle": func(p *panel, k *authenticator) *http.Response {
			k.auth.Options.UserHandle = make([]byte, 16)
			return p.trySignIn(k)
		},
		"an answer to another challenge": func(p *panel, k *authenticator) *http.Response {
			first, second := p.begin("/api/sign-in/begin", struct{}{}), p.begin("/api/sign-in/begin", struct{}{})
			return p.post("/api/sign-in", map[string]any{"ceremony": first["ceremony"], "credential": k.answer(second)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, k := withAnna(t)
			k.t = t
			p.signIn(k)
			p.cookie = nil
			p.want(spoil(p, k), http.StatusForbidden, "passkey-refused")
			if refused := p.box.noted(operators.PasskeyRefused); len(refused) != 1 || refused[0].Reason == "" {
				t.Errorf("the chain says %+v", refused)
			}
			if len(p.box.noted(operators.SignedIn)) != 1 {
				t.Error("the chain tells of a sign-in")
			}
		})
	}
}

// TestAnAnswerIsGoodOnce: not a second time, not too late, and of many at once one.
func TestAnAnswerIsGoodOnce(t *testing.T) {
	p, k := withAnna(t)
	p.cookie = nil
	begun := p.begin("/api/sign-in/begin", struct{}{})
	body := map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)}
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if p.post("/api/sign-in", body).StatusCode == http.StatusOK {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in", in.Load())
	}
	p.want(p.post("/api/sign-in", body), http.StatusConflict, "passkey-late")

	begun = p.begin("/api/sign-in/begin", struct{}{})
	body = map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)}
	p.clock.advance(5*time.Minute + time.Second)
	p.want(p.post("/api/sign-in", body), http.StatusConflict, "passkey-late")
}

// TestACounterThatGoesBackIsAnAlarm: there may be a copy of the passkey. It is refused, and told.
func TestACounterThatGoesBackIsAnAlarm(t *testing.T) {
	p, k := withAnna(t)
	k.cred.Counter = 40
	p.signIn(k)
	k.cred.Counter = 12
	p.want(p.trySignIn(k), http.StatusForbidden, "passkey-refused")
	told := p.box.noted(operators.CounterRegressed)
	if len(told) != 1 || !strings.Contains(told[0].Detail, "Anna") || !strings.Contains(told[0].Detail, "Laptop") {
		t.Errorf("the chain says %+v", told)
	}
	k.cred.Counter = 41
	p.signIn(k)
	// One without a counter, as phones have, is none that goes back.
	q, free := withAnna(t)
	for range 2 {
		free.cred.Counter = ^uint32(0) // and one is nought
		q.signIn(free)
	}
}

// TestWhatIsNoRegistrationIsRefused: passkeys are made for this origin and by somebody whom the authenticator has
// verified; a challenge is good for the session that asked, once.
func TestWhatIsNoRegistrationIsRefused(t *testing.T) {
	p := newNamedPanel(t).logIn()
	unverified := newToken(t)
	unverified.auth.Options.UserNotVerified = true
	p.want(p.enrol(unverified, "Anna", "Laptop"), http.StatusUnprocessableEntity, "passkey-unreadable")
	elsewhere := newToken(t)
	elsewhere.origin = "https://panel.evil.example"
	p.want(p.enrol(elsewhere, "Anna", "Laptop"), http.StatusUnprocessableEntity, "passkey-unreadable")
	k := newToken(t)
	p.want(p.enrol(k, "Anna", ""), http.StatusUnprocessableEntity, "passkey-name-wrong")
	begun := p.begin("/api/passkeys/begin", map[string]string{"name": "Anna"})
	body := map[string]any{"ceremony": begun["ceremony"], "credential": k.register(begun), "label": "Laptop"}
	mine := p.cookie
	p.logIn()
	p.want(p.post("/api/passkeys", body), http.StatusConflict, "passkey-late")
	p.cookie = mine
	p.want(p.post("/api/passkeys", body), http.StatusConflict, "passkey-late")
	if len(p.box.noted(operators.PasskeyAdded)) != 0 {
		t.Error("one was registered")
	}
	p.want(p.enrol(k, "Anna", "Laptop"), http.StatusOK, "")
	p.want(p.enrolMore(k, k, "The same again"), http.StatusUnprocessableEntity, "passkey-unreadable")
}

// TestAnAddressThatIsNoNameHasNoPasskeys: browsers make none for it. Links work there as ever.
func TestAnAddressThatIsNoNameHasNoPasskeys(t *testing.T) {
	for _, origin := range []string{"http://127.0.0.1:8081", "https://[::1]", "http://panel.example.hk"} {
		p := newPanel(t, func(c *server.Config) { c.PublicOrigin = origin })
		_, token, _ := strings.Cut(p.server.LoginLink(), "#login=")
		p.cookie = p.post("/api/login", map[string]string{"token": token}).Cookies()[0]
		if in := p.want(p.get("/api/session"), http.StatusOK, ""); in["passkeys"] != false {
			t.Errorf("%s: %v", origin, in)
		}
		p.want(p.post("/api/passkeys/begin", map[string]string{"name": "Anna"}), http.StatusConflict, "passkeys-impossible")
		p.want(p.post("/api/sign-in/begin", struct{}{}), http.StatusConflict, "passkeys-impossible")
	}
}

// TestStrangersFillNoChain: of what is refused there is one entry a minute, which says how often.
func TestStrangersFillNoChain(t *testing.T) {
	p := newNamedPanel(t)
	for range 50 {
		p.want(p.post("/api/login", map[string]string{"token": "nonsense"}), http.StatusForbidden, "link-spent")
	}
	p.clock.advance(time.Minute)
	said := 0
	deadline := time.Now().Add(5 * time.Second)
	for said < 50 && time.Now().Before(deadline) {
		said = 0
		for _, e := range p.box.noted(operators.LinkRefused) {
			var d operators.Detail
			if err := json.Unmarshal([]byte(e.Detail), &d); err != nil {
				t.Fatal(err)
			}
			said += d.Times
		}
	}
	if n := len(p.box.noted(operators.LinkRefused)); n != 2 || said != 50 {
		t.Errorf("%d entries tell of %d refusals", n, said)
	}
}

// TestTheChainIsBelievedWholeOrNotAtAll: nobody signs in by a chain that was changed or cut short.
func TestTheChainIsBelievedWholeOrNotAtAll(t *testing.T) {
	for name, spoil := range map[string]func(b *box){
		"changed":   func(b *box) { b.chain[len(b.chain)-1].Reason = "another" },
		"cut short": func(b *box) { b.chain = b.chain[:len(b.chain)-1] },
		"emptied":   func(b *box) { b.chain = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p, k := withAnna(t)
			p.signIn(k)
			p.cookie = nil
			begun := p.begin("/api/sign-in/begin", struct{}{})
			p.box.mu.Lock()
			spoil(p.box)
			p.box.mu.Unlock()
			p.want(p.post("/api/sign-in", map[string]any{"ceremony": begun["ceremony"], "credential": k.answer(begun)}), http.StatusInternalServerError, "internal")
		})
	}
}

// TestWithoutABallotServerTheLinkIsEnough: the clouds may need an operator. Once one answers, it is not.
func TestWithoutABallotServerTheLinkIsEnough(t *testing.T) {
	box := newBox(time.Now)
	q := newNamedPanel(t).logIn()
	k := newToken(t)
	q.want(q.enrol(k, "Anna", "Laptop"), http.StatusOK, "")
	box.chain = q.box.chain
	box.down = true
	p := newPanelWith(t, func(c *server.Config, d *server.Deps) { c.PublicOrigin, d.Admin = named, box })
	p.want(p.post("/api/login", map[string]string{"token": "nonsense"}), http.StatusInternalServerError, "internal")
	p.logIn()
	p.want(p.get("/api/session"), http.StatusOK, "")
	box.setDown(false)
	deadline := time.Now().Add(5 * time.Second)
	for p.get("/api/session").StatusCode != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("the session that a link began outlives the first answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.signIn(k)
	box.setDown(true)
	p.want(p.get("/api/session"), http.StatusOK, "")
	p.cookie = nil
	p.want(p.post("/api/login", map[string]string{"token": "nonsense"}), http.StatusInternalServerError, "internal")
}
