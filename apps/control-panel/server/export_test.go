package server_test

import (
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

func (p *panel) rows(path string) [][]string {
	p.t.Helper()
	answer := p.get(path)
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/csv") {
		p.t.Fatalf("%s: %d %s", path, answer.StatusCode, text)
	}
	if !strings.Contains(answer.Header.Get("Content-Disposition"), "attachment") {
		p.t.Errorf("%s would open in the browser", path)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "\ufeff"))).ReadAll()
	if err != nil {
		p.t.Fatal(err)
	}
	return rows
}

func TestNoCellOfATableIsAFormula(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	for _, reason := range []string{`=HYPERLINK("http://evil")`, "+1", "-2", "@SUM(A1)", "\tx", "＝1+1"} {
		if err := p.box.Move(t.Context(), "p", poll.Published, ballotapi.Change{Actor: "=cmd", Reason: reason}); err == nil {
			t.Fatal("expected a refusal")
		}
	}
	for _, row := range p.rows("/api/polls/p/audit.csv")[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") || strings.HasPrefix(cell, "＝") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
	}
}

func TestAResultComesInEveryForm(t *testing.T) {
	p := newPanel(t).logIn()
	e := p.elect("p", poll.Closed)
	p.want(p.get("/api/polls/p/result"), http.StatusNotFound, "not-counted")
	p.want(p.get("/api/polls/p/result.json"), http.StatusNotFound, "not-counted")
	p.want(p.get("/api/polls/p/result.csv"), http.StatusNotFound, "not-counted")
	p.want(p.get("/api/polls/p/result.nist.json"), http.StatusNotFound, "not-counted")
	p.want(p.post("/api/polls/p/count", with(decision("p"), "shares", []string{e.text(t, 0), e.text(t, 1)})), http.StatusOK, "")

	view := p.want(p.get("/api/polls/p/result"), http.StatusOK, "")
	if view["published"] != false {
		t.Error("a counted result passes for a published one")
	}
	if signed := p.want(p.get("/api/polls/p/result.json"), http.StatusOK, ""); signed["jws"] == "" {
		t.Error("the result is not signed")
	}
	answer := p.get("/api/polls/p/result.nist.json")
	if report := p.want(answer, http.StatusOK, ""); report["@type"] != "ElectionResults.ElectionReport" || !strings.Contains(answer.Header.Get("Content-Disposition"), `"p-result.nist.json"`) {
		t.Errorf("the report is %v", report)
	}
	rows := p.rows("/api/polls/p/result.csv?lang=en")
	q := p.box.polls["p"].def.Questions[0]
	if got := rows[1]; got[1] != q.ID || got[2] != q.Title["en"] || got[3] != q.Options[0].ID || got[4] != q.Options[0].Label["en"] || got[6] != "7" {
		t.Errorf("the first row is %q", got)
	}
	if last := rows[len(rows)-1]; last[5] != "invalid" {
		t.Errorf("the last row is %q", last)
	}
}

func TestABundleIsWholeOrVisiblyNot(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Counted)
	answer := p.get("/api/polls/p/bundle.zip")
	if answer.Header.Get("Content-Disposition") != "" {
		t.Error("a problem would be saved as a file")
	}
	p.want(answer, http.StatusNotFound, "results-not-published")

	p.box.polls["p"].state = poll.Published
	p.box.bundle = func(w io.Writer) error { _, err := io.WriteString(w, "PK…whole"); return err }
	answer = p.get("/api/polls/p/bundle.zip")
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "PK…whole" || !strings.Contains(answer.Header.Get("Content-Disposition"), `"p-bundle.zip"`) {
		t.Errorf("got %q, %v", text, err)
	}
	p.box.bundle = func(w io.Writer) error {
		_, _ = io.WriteString(w, strings.Repeat("PK", 9<<10))
		return errors.New("the disk broke")
	}
	answer = p.get("/api/polls/p/bundle.zip")
	if _, err := io.ReadAll(answer.Body); err == nil {
		t.Error("half a bundle passed for a whole one")
	}
}

func TestTheCurveComesAsATable(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	p.box.vote("p", p.clock.Now(), 3)
	rows := p.rows("/api/polls/p/turnout.csv")
	if len(rows) != 2 || rows[0][1] != "web" || rows[1][0] != "2026-11-23T04:00:00Z" || rows[1][1] != "3" {
		t.Errorf("the table is %q", rows)
	}
}
