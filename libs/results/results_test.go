package results_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/results"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// counted is a poll and a result of it in which every number is another.
func counted(t *testing.T) (*poll.Manifest, *tally.Result) {
	t.Helper()
	_, key, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := poll.Sample("lunch")
	if err != nil {
		t.Fatal(err)
	}
	// Evening in Hong Kong to early morning: other days than in UTC.
	opens := time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)
	d := sample.Seeded(key, opens, opens.Add(2*24*time.Hour))
	m := poll.NewManifest(d, poll.Published, 5, poll.JWK{}, "", ballot.Size(d))
	r := &tally.Result{Poll: m.ID, CountedAt: opens.Add(49 * time.Hour), Ballots: 1000, Invalid: 3}
	for i, q := range m.Questions {
		result := tally.QuestionResult{ID: q.ID, Unanswered: int64(7 * i)}
		for j, o := range q.Options {
			result.Options = append(result.Options, tally.OptionResult{ID: o.ID, Votes: int64(100*i + 10*j + 1)})
		}
		r.Questions = append(r.Questions, result)
	}
	return &m, r
}

func TestRowsSayEveryNumberOnce(t *testing.T) {
	m, r := counted(t)
	rows := results.Rows(m, r, "en")
	votes := map[string]string{}
	for _, row := range rows[1:] {
		votes[strings.Join([]string{row[1], row[3], row[5]}, "/")] = row[6]
	}
	dishes, drink := m.Questions[0], m.Questions[1]
	for _, c := range []struct{ key, want string }{
		{"dishes/" + dishes.Options[0].ID + "/choice", "1"},
		{"dishes//unanswered", "0"},
		{"drink//unanswered", "7"},
		{"drink/" + drink.Options[1].ID + "/choice", "111"},
		{"drink/abstain/abstain", "131"},
		{"//ballots", "1000"},
		{"//invalid", "3"},
	} {
		if got := votes[c.key]; got != c.want {
			t.Errorf("%s: %q, want %s", c.key, got, c.want)
		}
	}
	if got := rows[1]; got[2] != dishes.Title["en"] || got[4] != dishes.Options[0].Label["en"] {
		t.Errorf("in English: %q", got)
	}
	if got := results.Rows(m, r, "zh-Hans")[1]; got[2] != dishes.Title["zh-Hans"] {
		t.Errorf("in Chinese: %q", got)
	}
	if got := results.Rows(m, r, "none")[1]; got[2] != dishes.Title["zh-Hant-HK"] {
		t.Errorf("in no language: %q", got)
	}
}

func TestACSVIsNoProgram(t *testing.T) {
	var out bytes.Buffer
	in := [][]string{{"a,b", `"`, "=1+1", "＝1", "-2", "@x", "\tx"}}
	if err := results.WriteCSV(&out, in); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(out.String(), "\ufeff"))).ReadAll()
	if err != nil || strings.Join(rows[0], "|") != `a,b|"|'=1+1|'＝1|'-2|'@x|`+"'\tx" {
		t.Errorf("%q, %v", rows, err)
	}
	if in[0][2] != "=1+1" {
		t.Error("the caller's table was changed")
	}
}
