package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

const lunchFile = `id: lunch-2
kind: rehearsal
languages: [en]
title: {en: What is for lunch}
organiser: {name: {en: The canteen}}
notice: {purpose: {en: One each}, retention: {en: A day}, effect: {en: Lunch}}
opens_at: 2026-11-23T12:00:00+08:00
closes_at: 2026-11-23T14:00:00+08:00
identity: {type: hkid}
verification: {mode: voter_sends}
questions:
  - id: dish
    title: {en: Which dish}
    min: 0
    max: 1
    options:
      - {id: rice, label: {en: Rice}}
      - {id: noodles, label: {en: Noodles}}
`

func TestADraftComesFromAFile(t *testing.T) {
	p := newPanel(t).logIn()
	_, key, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]any{"name": "lunch.yaml", "text": lunchFile}

	// Without a key nobody could count; the fault says so, and a key beside the file mends it.
	body := p.want(p.post("/api/drafts/check", map[string]any{"file": file}), http.StatusUnprocessableEntity, "poll-file-invalid")
	if fault := body["faults"].([]any)[0].(map[string]any); fault["path"] != "tally_key" {
		t.Errorf("the fault is %v", fault)
	}
	draft := map[string]any{"file": file, "tally_key": key}
	body = p.want(p.post("/api/drafts/check", draft), http.StatusOK, "")
	if body["existing"] != nil || len(p.box.polls) != 0 {
		t.Error("a check stored something")
	}

	p.want(p.post("/api/drafts", draft), http.StatusUnprocessableEntity, "reason-missing")
	draft["reason"] = "lunch is near"
	body = p.want(p.post("/api/drafts", draft), http.StatusOK, "")
	if entry := body["entry"].(map[string]any); entry["action"] != "apply" || entry["reason"] != "lunch is near" || !strings.HasPrefix(entry["actor"].(string), "operator-") {
		t.Errorf("the audit entry is %v", entry)
	}
	if got := p.box.polls["lunch-2"].def; got.TallyKey != key || got.Verification.Seconds != 180 || got.Questions[0].Order != "fixed" {
		t.Errorf("stored %+v", got)
	}

	// Replacing has to be meant, and is for drafts only.
	p.want(p.post("/api/drafts", draft), http.StatusConflict, "poll-exists")
	draft["replace"] = true
	p.want(p.post("/api/drafts", draft), http.StatusOK, "")
	p.box.polls["lunch-2"].state = poll.Open
	body = p.want(p.post("/api/drafts", draft), http.StatusConflict, "refused")
	if body["state"] != "open" {
		t.Errorf("the refusal says %v", body)
	}
}

func TestAMistakeInAFileHasItsLineAndColumn(t *testing.T) {
	p := newPanel(t).logIn()
	for name, c := range map[string]struct {
		text         string
		line, column float64
		says         string
	}{
		"a wrong kind":   {strings.Replace(lunchFile, "kind: rehearsal", "kind: serious", 1), 2, 1, "serious"},
		"an unknown key": {strings.Replace(lunchFile, "identity:", "identitiy:", 1), 9, 1, "identitiy"},
		"not YAML":       {"id: [lunch\n", 1, 0, ""},
		"nothing":        {"", 1, 1, "empty"},
	} {
		body := p.want(p.post("/api/drafts/check", map[string]any{"file": map[string]any{"name": "x.yaml", "text": c.text}}), http.StatusUnprocessableEntity, "poll-file-invalid")
		found := false
		for _, f := range body["faults"].([]any) {
			fault := f.(map[string]any)
			says := strings.Contains(fault["message"].(string), c.says) || fault["path"] == c.says
			found = found || says && fault["line"] == c.line && (c.column == 0 || fault["column"] == c.column)
		}
		if !found || body["line"] == nil {
			t.Errorf("%s: %v", name, body["faults"])
		}
	}
}

func TestADraftComesFromTheForm(t *testing.T) {
	p := newPanel(t).logIn()
	e := p.elect("model", poll.Draft)
	d := p.box.polls[e.id].def
	d.ID = "from-form"
	d.Questions[0].Title = poll.Text{"en": "Only English"}
	body := p.want(p.post("/api/drafts/check", map[string]any{"definition": d}), http.StatusUnprocessableEntity, "draft-invalid")
	fault := body["faults"].([]any)[0].(map[string]any)
	if fault["path"] != "questions[0].title" {
		t.Errorf("the fault is at %v", fault["path"])
	}
	p.want(p.post("/api/drafts/check", map[string]any{}), http.StatusBadRequest, "invalid-field")
	p.want(p.post("/api/drafts/check", map[string]any{"definition": d, "file": map[string]any{"name": "x", "text": "y"}}), http.StatusBadRequest, "invalid-field")

	d.Questions[0].Title = p.box.polls[e.id].def.Title
	p.want(p.post("/api/drafts", map[string]any{"definition": d, "reason": "made by hand"}), http.StatusOK, "")

	// What was saved comes back for editing as it was.
	view := p.want(p.get("/api/polls/from-form"), http.StatusOK, "")
	text, _ := json.Marshal(view["definition"])
	var again poll.Definition
	if err := json.Unmarshal(text, &again); err != nil || again.ID != "from-form" || again.TallyKey != d.TallyKey || again.Validate() != nil {
		t.Errorf("came back as %s", text)
	}
}

func TestALifeFromDraftToPublished(t *testing.T) {
	p := newPanel(t).logIn()
	e := p.elect("p", poll.Draft)
	p.box.bundle = nil
	step := func(verb string, want poll.State) {
		t.Helper()
		body := p.want(p.post("/api/polls/p/"+verb, decision("p")), http.StatusOK, "")
		if got := body["poll"].(map[string]any)["state"]; got != string(want) {
			t.Fatalf("after %s the poll is %v", verb, got)
		}
		if body["entry"].(map[string]any)["reason"] != "because the test says so" {
			t.Errorf("after %s the audit entry is %v", verb, body["entry"])
		}
	}
	p.want(p.post("/api/polls/p/close", decision("p")), http.StatusConflict, "refused")
	step("open", poll.Open)
	step("pause", poll.Paused)
	step("resume", poll.Open)
	p.want(p.post("/api/polls/p/extend", with(decision("p"), "closes_at", p.clock.Now())), http.StatusConflict, "refused")
	p.want(p.post("/api/polls/p/extend", decision("p")), http.StatusBadRequest, "invalid-field")
	p.want(p.post("/api/polls/p/extend", with(decision("p"), "closes_at", p.clock.Now().Add(2*time.Hour))), http.StatusOK, "")
	step("close", poll.Closed)
	p.want(p.post("/api/polls/p/open", decision("p")), http.StatusConflict, "refused")
	p.want(p.post("/api/polls/p/publish", decision("p")), http.StatusConflict, "refused")
	p.want(p.post("/api/polls/p/count", with(decision("p"), "shares", []string{e.text(t, 0), e.text(t, 2)})), http.StatusOK, "")
	step("publish", poll.Published)

	audit := p.want(p.get("/api/polls/p/audit"), http.StatusOK, "")
	if audit["broken"] != 0.0 || len(audit["entries"].([]any)) < 8 {
		t.Errorf("the audit trail is %v", audit)
	}
	p.box.polls["p"].chain[3].Reason = "something kinder"
	if audit = p.want(p.get("/api/polls/p/audit"), http.StatusOK, ""); audit["broken"] != 4.0 {
		t.Errorf("a changed entry 4 is found at %v", audit["broken"])
	}
	p.want(p.post("/api/polls/nowhere/open", decision("nowhere")), http.StatusNotFound, "poll-not-found")
}

func TestWhatWentWrongInsideStaysInside(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	p.box.setDown(true)
	body := p.want(p.post("/api/polls/p/close", decision("p")), http.StatusInternalServerError, "internal")
	if body["effect"] != "unknown" {
		t.Errorf("the effect is %v", body["effect"])
	}
	if text, _ := json.Marshal(body); strings.Contains(string(text), "10.0.0.7") {
		t.Errorf("internal text got out: %s", text)
	}
	if !strings.Contains(p.log.String(), "10.0.0.7") {
		t.Error("the log does not say what went wrong")
	}
}

func TestAPartThatDoesNotAnswerIsDown(t *testing.T) {
	p := newPanel(t).logIn()
	body := p.want(p.get("/api/overview"), http.StatusOK, "")
	if part := body["parts"].([]any)[0].(map[string]any); part["name"] != "ballot-server" || part["state"] != "ok" {
		t.Errorf("the part is %v", part)
	}
	if polls, ok := body["polls"].([]any); !ok || len(polls) != 0 {
		t.Errorf("no polls are %v", body["polls"])
	}
}
