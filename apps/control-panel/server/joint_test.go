package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/poll"
)

// two is a panel that needs two operators, who both have a passkey; Anna is signed in.
type two struct {
	*panel

	anna, ben   *authenticator
	annas, bens *http.Cookie
}

func withTwo(t *testing.T) *two {
	t.Helper()
	p := &two{panel: newNamedPanel(t, func(c *server.Config) { c.OperatorsNeeded = 2 }).logIn(), anna: newToken(t), ben: newToken(t)}
	p.want(p.enrol(p.anna, "Anna", "Laptop"), http.StatusOK, "")
	p.annas = p.cookie
	made := p.want(p.prove(p.anna, "/api/links", struct{}{}), http.StatusOK, "")
	p.cookie = p.post("/api/login", map[string]string{"token": secretOf(made["link"])}).Cookies()[0]
	p.want(p.enrol(p.ben, "Ben", "Phone"), http.StatusOK, "")
	p.bens, p.cookie = p.cookie, p.annas
	p.elect("p", poll.Draft)
	return p
}

func (p *two) asAnna() { p.cookie = p.annas }
func (p *two) asBen()  { p.cookie = p.bens }

// proposed is what Anna proposed.
func (p *two) proposed(path string, body any) string {
	p.t.Helper()
	p.asAnna()
	return p.want(p.prove(p.anna, path, body), http.StatusAccepted, "")["proposal"].(map[string]any)["id"].(string)
}

func second(id string) map[string]any { return with(decision("p"), "proposal", id) }

func (p *two) waiting() int {
	p.t.Helper()
	return len(p.want(p.get("/api/proposals"), http.StatusOK, "")["proposals"].([]any))
}

func TestASecondOperatorConfirms(t *testing.T) {
	p := withTwo(t)
	id := p.proposed("/api/polls/p/open", with(decision("p"), "reason", "the time has come"))
	if p.box.polls["p"].state != poll.Draft || p.waiting() != 1 {
		t.Fatal("one was enough, or nothing waits")
	}
	p.want(p.post("/api/proposals/confirm", second(id)), http.StatusForbidden, "proof-needed")
	p.want(p.prove(p.anna, "/api/proposals/confirm", second(id)), http.StatusForbidden, "second-needed")
	p.asBen()
	p.want(p.prove(p.ben, "/api/proposals/confirm", with(second(id), "confirm", "q")), http.StatusUnprocessableEntity, "confirmation-wrong")
	p.want(p.prove(p.ben, "/api/proposals/confirm", with(second(id), "reason", "")), http.StatusUnprocessableEntity, "reason-missing")
	done := p.want(p.prove(p.ben, "/api/proposals/confirm", second(id)), http.StatusOK, "")
	entry := done["entry"].(map[string]any)
	if p.box.polls["p"].state != poll.Open || entry["actor"] != "Anna + Ben" || entry["reason"] != "the time has come" {
		t.Errorf("it is %v", done)
	}
	p.want(p.prove(p.ben, "/api/proposals/confirm", second(id)), http.StatusNotFound, "proposal-gone")
	if p.waiting() != 0 {
		t.Error("it still waits")
	}
	for action, want := range map[string]int{operators.Proposed: 1, operators.ProposalConfirmed: 1} {
		if n := len(p.box.noted(action)); n != want {
			t.Errorf("the chain has %d of %s", n, action)
		}
	}
}

// TestWhatTakesTwo: these do, and nothing else; a pause does not wait for anybody.
func TestWhatTakesTwo(t *testing.T) {
	p := withTwo(t)
	later := p.clock.Now().Add(3 * time.Hour)
	for verb, body := range map[string]map[string]any{
		"open": decision("p"), "close": decision("p"), "publish": decision("p"), "destroy-key": decision("p"), "extend": with(decision("p"), "closes_at", later),
	} {
		p.proposed("/api/polls/p/"+verb, body)
	}
	if len(p.box.polls["p"].chain) != 0 || p.waiting() != 5 {
		t.Error("something was done")
	}
	p.box.polls["p"].state = poll.Open
	p.want(p.prove(p.anna, "/api/polls/p/pause", decision("p")), http.StatusOK, "")
	p.want(p.prove(p.anna, "/api/polls/p/resume", decision("p")), http.StatusOK, "")
	for _, one := range p.want(p.get("/api/proposals"), http.StatusOK, "")["proposals"].([]any) {
		proposal := one.(map[string]any)
		if proposal["by"] != "Anna" || proposal["mine"] != true || (proposal["closes_at"] != nil) != (proposal["verb"] == "extend") {
			t.Errorf("it is listed as %v", proposal)
		}
		if proposal["verb"] == "extend" {
			p.asBen()
			p.want(p.prove(p.ben, "/api/proposals/confirm", second(proposal["id"].(string))), http.StatusOK, "")
			p.asAnna()
		}
	}
	if !p.box.polls["p"].def.ClosesAt.Equal(later) {
		t.Errorf("it closes at %s", p.box.polls["p"].def.ClosesAt)
	}
	p.want(p.prove(p.anna, "/api/polls/p/open", decision("q")), http.StatusUnprocessableEntity, "confirmation-wrong")
	p.want(p.prove(p.anna, "/api/polls/p/extend", decision("p")), http.StatusBadRequest, "invalid-field")
	p.want(p.prove(p.anna, "/api/polls/p/open", with(decision("p"), "force", true)), http.StatusBadRequest, "unknown-field")
}

func TestAProposalEnds(t *testing.T) {
	p := withTwo(t)
	id := p.proposed("/api/polls/p/open", decision("p"))
	p.clock.advance(time.Hour + time.Second)
	if p.waiting() != 0 {
		t.Error("it still waits")
	}
	p.asBen()
	p.want(p.prove(p.ben, "/api/proposals/confirm", second(id)), http.StatusNotFound, "proposal-gone")
	id = p.proposed("/api/polls/p/open", decision("p"))
	p.want(p.post("/api/proposals/withdraw", second(id)), http.StatusNoContent, "") // to do nothing needs no proof
	p.asBen()
	p.want(p.prove(p.ben, "/api/proposals/confirm", second(id)), http.StatusNotFound, "proposal-gone")
	if p.box.polls["p"].state != poll.Draft || len(p.box.noted(operators.ProposalWithdrawn)) != 1 {
		t.Error("it was done, or the chain does not tell of it")
	}
}

// TestALinkIsNotOneOfTwo: who is logged in by one has no account.
func TestALinkIsNotOneOfTwo(t *testing.T) {
	p := newNamedPanel(t, func(c *server.Config) { c.OperatorsNeeded = 2 }).logIn()
	p.elect("p", poll.Draft)
	p.want(p.post("/api/polls/p/open", decision("p")), http.StatusForbidden, "passkey-asked")
	for _, wrong := range []server.Config{{PublicOrigin: "http://127.0.0.1:8081", OperatorsNeeded: 2}, {PublicOrigin: named, OperatorsNeeded: 3}, {PublicOrigin: named, OperatorsNeeded: -1}} {
		if _, err := server.New(wrong, server.Deps{Admin: p.deps.Admin, Clock: p.deps.Clock, Log: p.deps.Log, Page: p.deps.Page}); err == nil || !strings.Contains(err.Error(), "operators") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
