package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/poll"
)

func text(t *testing.T, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// challenge asks for what a passkey has to sign before an act.
func (p *panel) challenge(path string, body any) map[string]any {
	p.t.Helper()
	hash := sha256.Sum256([]byte(text(p.t, body)))
	return p.begin("/api/acts", map[string]string{"path": path, "body_hash": base64.RawURLEncoding.EncodeToString(hash[:])})
}

// proof is the header that an authenticator's answer makes.
func (p *panel) proof(begun map[string]any, answer json.RawMessage) map[string]string {
	return map[string]string{"Popvote-Proof": begun["ceremony"].(string) + " " + base64.RawURLEncoding.EncodeToString(answer)}
}

// prove does an act that the passkey has signed.
func (p *panel) prove(k *authenticator, path string, body any) *http.Response {
	p.t.Helper()
	begun := p.challenge(path, body)
	return p.do(http.MethodPost, path, text(p.t, body), p.proof(begun, k.answer(begun)))
}

// dangerous are the acts that need a second proof.
var dangerous = []string{
	"/api/polls/p/open", "/api/polls/p/pause", "/api/polls/p/resume", "/api/polls/p/close", "/api/polls/p/publish",
	"/api/polls/p/extend", "/api/polls/p/count", "/api/polls/p/destroy-key", "/api/passkeys/remove", "/api/passkeys", "/api/links",
}

func TestADangerousActNeedsASecondProof(t *testing.T) {
	p, k := withAnna(t)
	p.elect("p", poll.Draft)
	for _, path := range dangerous {
		p.want(p.post(path, decision("p")), http.StatusForbidden, "proof-needed")
	}
	if len(p.box.polls["p"].chain) != 0 || len(p.box.noted(operators.ActProved)) != 0 {
		t.Error("something was done")
	}
	done := p.want(p.prove(k, "/api/polls/p/open", decision("p")), http.StatusOK, "")
	if done["entry"].(map[string]any)["actor"] != "Anna" || p.box.polls["p"].state != poll.Open {
		t.Errorf("it is %v", done)
	}
	p.want(p.prove(k, "/api/polls/p/pause", decision("p")), http.StatusOK, "")
	if made := p.want(p.prove(k, "/api/links", struct{}{}), http.StatusOK, ""); made["enrols"] != true {
		t.Errorf("the link is %v", made)
	}
	if n := len(p.box.noted(operators.ActProved)); n != 3 {
		t.Errorf("the chain tells of %d", n)
	}
}

// TestAnybodyCanCheckWhatWasProved: the chain has all that it takes, and it is about this act alone.
func TestAnybodyCanCheckWhatWasProved(t *testing.T) {
	p, k := withAnna(t)
	p.elect("p", poll.Draft)
	body := map[string]any{"confirm": "p", "reason": "the time has come"}
	p.want(p.prove(k, "/api/polls/p/open", body), http.StatusOK, "")
	entry := p.box.noted(operators.ActProved)[0]
	var added, proved operators.Detail
	for text, into := range map[string]*operators.Detail{p.box.noted(operators.PasskeyAdded)[0].Detail: &added, entry.Detail: &proved} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	act := proved.Act
	if hash := sha256.Sum256([]byte(text(t, body))); entry.Reason != "the time has come" || act.Path != "/api/polls/p/open" || string(act.BodyHash) != string(hash[:]) {
		t.Errorf("it says %+v of %+v", entry, act)
	}
	var client struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(act.Answer.ClientData, &client); err != nil || client.Challenge != base64.RawURLEncoding.EncodeToString(act.Challenge()) {
		t.Errorf("what was signed is not the act: %v %s", err, act.Answer.ClientData)
	}
	key, err := webauthncose.ParsePublicKey(added.Credential.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(act.Answer.ClientData)
	if good, err := webauthncose.VerifySignature(key, append(act.Answer.AuthenticatorData, hash[:]...), act.Answer.Signature); err != nil || !good {
		t.Errorf("the signature: %v %v", good, err)
	}
	for name, other := range map[string]operators.Act{
		"path": {Path: "/api/polls/q/open", BodyHash: act.BodyHash, Nonce: act.Nonce},
		"body": {Path: act.Path, BodyHash: make([]byte, 32), Nonce: act.Nonce},
	} {
		if string(other.Challenge()) == string(act.Challenge()) {
			t.Errorf("another %s has the same challenge", name)
		}
	}
}

// TestAProofIsForOneAct: each spoils one thing of a proof that is good.
func TestAProofIsForOneAct(t *testing.T) {
	const path = "/api/polls/p/open"
	for name, c := range map[string]struct {
		code string
		do   func(p *panel, k *authenticator) *http.Response
	}{
		"another poll": {"proof-other", func(p *panel, k *authenticator) *http.Response {
			begun := p.challenge("/api/polls/q/open", decision("p"))
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, k.answer(begun)))
		}},
		"another deed": {"proof-other", func(p *panel, k *authenticator) *http.Response {
			begun := p.challenge("/api/polls/p/close", decision("p"))
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, k.answer(begun)))
		}},
		"another reason": {"proof-other", func(p *panel, k *authenticator) *http.Response {
			begun := p.challenge(path, with(decision("p"), "reason", "something harmless"))
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, k.answer(begun)))
		}},
		"too late": {"passkey-late", func(p *panel, k *authenticator) *http.Response {
			begun := p.challenge(path, decision("p"))
			p.clock.advance(2*time.Minute + time.Second)
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, k.answer(begun)))
		}},
		"another session": {"passkey-late", func(p *panel, k *authenticator) *http.Response {
			begun := p.challenge(path, decision("p"))
			header := p.proof(begun, k.answer(begun))
			p.signIn(k)
			return p.do(http.MethodPost, path, text(p.t, decision("p")), header)
		}},
		"an answer to a sign-in": {"passkey-late", func(p *panel, k *authenticator) *http.Response {
			begun := p.begin("/api/sign-in/begin", struct{}{})
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, k.answer(begun)))
		}},
		"the answer to another act": {"passkey-refused", func(p *panel, k *authenticator) *http.Response {
			first, second := p.challenge(path, decision("p")), p.challenge("/api/polls/p/close", decision("p"))
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(first, k.answer(second)))
		}},
		"another origin": {"passkey-refused", func(p *panel, k *authenticator) *http.Response {
			k.origin = "http://localhost:9999"
			return p.prove(k, path, decision("p"))
		}},
		"nobody verified": {"passkey-refused", func(p *panel, k *authenticator) *http.Response {
			k.auth.Options.UserNotVerified = true
			return p.prove(k, path, decision("p"))
		}},
		"a colleague's passkey": {"passkey-refused", func(p *panel, k *authenticator) *http.Response {
			made := p.want(p.prove(k, "/api/links", struct{}{}), http.StatusOK, "")
			anna, ben := p.cookie, newToken(p.t)
			p.cookie = p.post("/api/login", map[string]string{"token": secretOf(made["link"])}).Cookies()[0]
			p.want(p.enrol(ben, "Ben", "Phone"), http.StatusOK, "")
			p.cookie = anna
			return p.prove(ben, path, decision("p"))
		}},
		"a removed passkey": {"passkey-refused", func(p *panel, k *authenticator) *http.Response {
			spare := newToken(p.t)
			p.want(p.enrolMore(k, spare, "Spare"), http.StatusOK, "")
			begun := p.challenge(path, decision("p"))
			var id string
			for _, one := range p.passkeys()["Anna"] {
				if one["label"] == "Spare" {
					id = one["id"].(string)
				}
			}
			p.want(p.prove(k, "/api/passkeys/remove", map[string]string{"passkey": id, "reason": "it is gone"}), http.StatusNoContent, "")
			return p.do(http.MethodPost, path, text(p.t, decision("p")), p.proof(begun, spare.answer(begun)))
		}},
		"nonsense": {"proof-needed", func(p *panel, _ *authenticator) *http.Response {
			return p.do(http.MethodPost, path, text(p.t, decision("p")), map[string]string{"Popvote-Proof": "x !"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, k := withAnna(t)
			k.t = t
			p.elect("p", poll.Draft)
			p.want(c.do(p, k), http.StatusForbidden+map[string]int{"passkey-late": http.StatusConflict - http.StatusForbidden}[c.code], c.code)
			if p.box.polls["p"].state != poll.Draft {
				t.Error("the poll is open")
			}
		})
	}
}

// enrolMore registers another passkey, which the one at hand confirms.
func (p *panel) enrolMore(k, more *authenticator, label string) *http.Response {
	p.t.Helper()
	begun := p.begin("/api/passkeys/begin", struct{}{})
	return p.prove(k, "/api/passkeys", map[string]any{"ceremony": begun["ceremony"], "credential": more.register(begun), "label": label})
}

func TestAProofIsGoodOnce(t *testing.T) {
	p, k := withAnna(t)
	p.elect("p", poll.Open)
	begun := p.challenge("/api/polls/p/pause", decision("p"))
	header := p.proof(begun, k.answer(begun))
	p.want(p.do(http.MethodPost, "/api/polls/p/pause", text(t, decision("p")), header), http.StatusOK, "")
	p.box.polls["p"].state = poll.Open
	p.want(p.do(http.MethodPost, "/api/polls/p/pause", text(t, decision("p")), header), http.StatusConflict, "passkey-late")
	if p.box.polls["p"].state != poll.Open {
		t.Error("it was done twice")
	}
}

// TestWhoHasNoPasskey may go on as ever, unless the configuration asks for one.
func TestWhoHasNoPasskey(t *testing.T) {
	free := newNamedPanel(t).logIn()
	free.elect("p", poll.Draft)
	free.want(free.post("/api/polls/p/open", decision("p")), http.StatusOK, "")

	p := newNamedPanel(t, func(c *server.Config) { c.RequirePasskey = true }).logIn()
	p.elect("p", poll.Draft)
	p.want(p.get("/api/overview"), http.StatusOK, "")
	for _, path := range dangerous {
		if path != "/api/passkeys" { // a first one
			p.want(p.post(path, decision("p")), http.StatusForbidden, "passkey-asked")
		}
	}
	k := newToken(t)
	p.want(p.enrol(k, "Anna", "Laptop"), http.StatusOK, "")
	p.want(p.prove(k, "/api/polls/p/open", decision("p")), http.StatusOK, "")

	if _, err := server.New(server.Config{PublicOrigin: "http://127.0.0.1:8081", RequirePasskey: true}, server.Deps{Admin: p.deps.Admin, Clock: p.deps.Clock, Log: p.deps.Log, Page: p.deps.Page}); err == nil || !strings.Contains(err.Error(), "public_origin") {
		t.Errorf("where there can be no passkeys: %v", err)
	}
}

// TestTheKeyOfACountIsNotKept: the body of a count holds the trustees' shares; the chain has its hash alone.
func TestTheKeyOfACountIsNotKept(t *testing.T) {
	p, k := withAnna(t)
	e := p.elect("p", poll.Closed)
	body := with(decision("p"), "shares", []string{e.text(t, 0), e.text(t, 1)})
	p.want(p.prove(k, "/api/polls/p/count", body), http.StatusOK, "")
	proved := p.box.noted(operators.ActProved)
	if len(proved) != 1 || proved[0].Reason != decision("p")["reason"] {
		t.Fatalf("the chain says %+v", proved)
	}
	var share map[string]any
	if err := json.Unmarshal([]byte(e.text(t, 0)), &share); err != nil {
		t.Fatal(err)
	}
	for name, value := range share {
		if s, ok := value.(string); ok && len(s) > 30 && strings.Contains(proved[0].Detail, s) {
			t.Errorf("it has the share's %s", name)
		}
	}
}
