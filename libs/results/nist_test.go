package results_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/results"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

var update = flag.Bool("update", false, "write testdata anew")

// schema is NIST's own; see testdata/nist/README.md.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("testdata/nist/NIST_V2_election_results_reporting.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fits says what the schema has against a report.
func fits(t *testing.T, s *jsonschema.Schema, report []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func nistOf(t *testing.T, m *poll.Manifest, r *tally.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := results.WriteNIST(&out, m, r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestNISTFollowsTheSchema: polls of every kind, sealed, counted and written.
func TestNISTFollowsTheSchema(t *testing.T) {
	plain := func(kind poll.OptionKind, ids ...string) (options []poll.Option) {
		for _, id := range ids {
			options = append(options, poll.Option{ID: id, Kind: kind, Label: poll.Text{"en": "“" + id + "” & <more>"}})
		}
		return options
	}
	one := func(d *poll.Definition, options []poll.Option, least, most int) {
		english := func(t poll.Text) poll.Text { return poll.Text{"en": t["en"]} }
		d.Kind, d.Languages, d.Title, d.Summary, d.Organiser.Name = poll.Public, []string{"en"}, english(d.Title), nil, english(d.Organiser.Name)
		d.Notice = poll.Notice{Purpose: english(d.Notice.Purpose), Retention: english(d.Notice.Retention), Effect: english(d.Notice.Effect)}
		d.Questions = []poll.Question{{ID: "q", Title: poll.Text{"en": "Which?"}, Min: least, Max: most, Options: options}}
	}
	tests := []struct {
		name, sample string
		change       func(d *poll.Definition)
		ballots      []ballot.Answers
		invalid      int
		undervotes   []int64 // of each question
	}{
		{
			name: "two motions, with abstention", sample: "hk-2014-06",
			ballots:    []ballot.Answers{{{"atd"}, {"abstain"}}, {{"students"}, {}}, {{"abstain"}, {}}, {{}, {}}},
			undervotes: []int64{1, 3},
		},
		{
			name: "up to three, with a blank", sample: "lunch",
			ballots:    []ballot.Answers{{{"wonton-noodles", "vegetables"}, {"water"}}, {{"blank"}, {"abstain"}}},
			undervotes: []int64{1, 0},
		},
		{
			name: "one of two", sample: "lunch",
			change:     func(d *poll.Definition) { one(d, plain(poll.Choice, "yes", "no"), 1, 1) },
			ballots:    []ballot.Answers{{{"yes"}}, {{"no"}}, {{"yes"}}},
			undervotes: []int64{0},
		},
		{
			name: "abstention and blank, and a ballot that cannot be read", sample: "lunch",
			change: func(d *poll.Definition) {
				one(d, slices.Concat(plain(poll.Choice, "a", "b", "c"), plain(poll.Abstain, "abstain"), plain(poll.Blank, "blank")), 0, 2)
				d.Kind = poll.Rehearsal
			},
			ballots:    []ballot.Answers{{{"abstain"}}, {{"blank"}}, {{"a", "c"}}, {{"b"}}, {{}}},
			invalid:    1,
			undervotes: []int64{3},
		},
		{name: "no votes", sample: "hk-2014-06", undervotes: []int64{0, 0}},
	}
	s := schema(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, r := count(t, test.sample, test.change, test.ballots, test.invalid)
			report := nistOf(t, m, r)
			if err := fits(t, s, report); err != nil {
				t.Errorf("NIST's schema refuses it: %v\n%s", err, report)
			}
			var read struct {
				IsTest   bool
				Election []struct {
					BallotCounts []struct{ BallotsCast, BallotsRejected int }
					Contest      []struct{ OtherCounts []struct{ Undervotes int64 } }
				}
			}
			if err := json.Unmarshal(report, &read); err != nil {
				t.Fatal(err)
			}
			if want := m.Kind != poll.Public; read.IsTest != want {
				t.Errorf("a poll of the kind %s: test is %v", m.Kind, read.IsTest)
			}
			e := read.Election[0]
			if got := e.BallotCounts[0]; got.BallotsCast != len(test.ballots)+test.invalid || got.BallotsRejected != test.invalid {
				t.Errorf("the ballots are %+v", got)
			}
			for i, want := range test.undervotes {
				if got := e.Contest[i].OtherCounts[0].Undervotes; got != want {
					t.Errorf("question %d has %d undervotes, want %d", i+1, got, want)
				}
			}
		})
	}
}

// count seals ballots, and some bytes that are none, and counts them.
func count(t *testing.T, sample string, change func(*poll.Definition), ballots []ballot.Answers, invalid int) (*poll.Manifest, *tally.Result) {
	t.Helper()
	scalar, key, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	d, err := poll.Sample(sample)
	if err != nil {
		t.Fatal(err)
	}
	opens := time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)
	d = d.Seeded(key, opens, opens.Add(2*24*time.Hour))
	if change != nil {
		change(d)
	}
	d.SetDefaults()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	m := poll.NewManifest(d, poll.Published, 5, poll.JWK{}, "", ballot.Size(d))
	counted, err := tally.Count(t.Context(), &m, nil, scalar, func(yield func([]byte, error) bool) {
		for _, a := range ballots {
			if sealed, err := ballot.Seal(&m, a); !yield(sealed, err) {
				return
			}
		}
		for range invalid {
			if sealed, err := ballot.SealTo(&m, make([]byte, m.Ballot.Size)); !yield(sealed, err) {
				return
			}
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := counted.Result
	r.CountedAt = opens.Add(49 * time.Hour)
	return &m, &r
}

// TestTheSchemaIsStrict: the schema is one that finds mistakes.
func TestTheSchemaIsStrict(t *testing.T) {
	m, r := counted(t)
	s, report := schema(t), nistOf(t, m, r)
	for _, c := range []struct{ from, to string }{
		{`"Format": "summary-contest"`, `"Format": "summary"`},
		{`"Issuer"`, `"Publisher"`},
		{`"BallotsCast": 1000`, `"BallotsCast": "1000"`},
		{`"StartDate": "2026-11-21"`, `"StartDate": "2026-11-31"`},
		{`"@type": "ElectionResults.VoteCounts"`, `"@type": "ElectionResults.BallotCounts"`},
	} {
		changed := bytes.Replace(report, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(changed, report) {
			t.Fatalf("the report has no %s", c.from)
		}
		if err := fits(t, s, changed); err == nil {
			t.Errorf("a report with %s fits", c.to)
		}
	}
}

// TestNISTIsAsBefore: what others read does not change by itself. The file is an example, too.
func TestNISTIsAsBefore(t *testing.T) {
	m, r := counted(t)
	out := nistOf(t, m, r)
	const golden = "testdata/lunch.nist.json"
	if *update {
		if err := os.WriteFile(golden, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, want) {
		t.Errorf("the report is another than before; if it is meant to be, run with -update:\n%s", out)
	}
	if err := fits(t, schema(t), want); err != nil {
		t.Errorf("NIST's schema refuses it: %v", err)
	}
}

// TestNISTHangsTogether is what a schema cannot say: every reference leads somewhere, ids are there once, and the numbers add up.
func TestNISTHangsTogether(t *testing.T) {
	m, r := counted(t)
	out := nistOf(t, m, r)
	var report any
	if err := json.Unmarshal(out, &report); err != nil {
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
	for _, want := range []string{
		`"StartDate": "2026-11-21"`, `"EndDate": "2026-11-23"`, // Hong Kong's days
		`"BallotsCast": 1000`, `"BallotsRejected": 3`, `"Count": 111`, `"IsTest": true`, `"TestType": "demo"`,
		// 997 ballots, 131 of which abstain; 101, 111 and 121 drinks.
		`"Undervotes": 533`,
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("it does not say %s", want)
		}
	}
}
