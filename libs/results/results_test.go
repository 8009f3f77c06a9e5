package results_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/results"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

var update = flag.Bool("update", false, "write testdata anew; then check it by the schema, as docs/results.md says")

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

// The file in testdata was checked by NIST's own schema when it was written; see docs/results.md.
func TestNISTIsAsChecked(t *testing.T) {
	m, r := counted(t)
	var out bytes.Buffer
	if err := results.WriteNIST(&out, m, r); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/lunch.nist.json"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the report is another than the one that was checked: run with -update, and check it:\n%s", &out)
	}
}

// What a schema cannot say: every reference leads somewhere, ids are there once, and the numbers add up.
func TestNISTHangsTogether(t *testing.T) {
	m, r := counted(t)
	var out bytes.Buffer
	if err := results.WriteNIST(&out, m, r); err != nil {
		t.Fatal(err)
	}
	var report any
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	ids, references := map[string]int{}, map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if v["@type"] == nil {
				t.Errorf("%v has no type", v)
			}
			for name, e := range v {
				switch name {
				case "@id":
					ids[e.(string)]++
				case "GpUnitId", "ElectionDistrictId", "ElectionScopeId":
					references[e.(string)] = true
				}
				walk(e)
			}
		}
	}
	walk(report)
	for id, n := range ids {
		if n != 1 {
			t.Errorf("the id %s is there %d times", id, n)
		}
	}
	for id := range references {
		if ids[id] == 0 {
			t.Errorf("nothing has the id %s", id)
		}
	}
	text := out.String()
	for _, want := range []string{
		`"StartDate": "2026-11-21"`, `"EndDate": "2026-11-23"`, // Hong Kong's days
		`"BallotsCast": 1000`, `"BallotsRejected": 3`, `"Count": 111`, `"IsTest": true`, `"TestType": "demo"`,
		// 997 ballots, 131 of which abstain; 101, 111 and 121 drinks.
		`"Undervotes": 533`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %s", want)
		}
	}
}
