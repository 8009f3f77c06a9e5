//go:build unix

package drill

import (
	"strings"
	"testing"
	"time"
)

// The longest time without a vote counts if it began in the fault, also if it lasted longer, and if
// nothing came any more.
func TestGap(t *testing.T) {
	var acks []ack
	for _, s := range []int{1, 9, 10, 12, 20, 21, 40} { // the fault is from 10 to 20
		acks = append(acks, ack{at: time.Duration(s) * time.Second})
	}
	for name, test := range map[string]struct{ from, to, want int }{
		"in the fault":          {10, 20, 8},
		"before it":             {2, 10, 7},
		"begun in it":           {20, 30, 19},
		"nothing more":          {41, 50, 9},
		"whole":                 {0, 50, 19},
		"between two and after": {22, 30, 18},
	} {
		if got, _ := gap(acks, time.Duration(test.from)*time.Second, time.Duration(test.to)*time.Second); got != time.Duration(test.want)*time.Second {
			t.Errorf("%s: %s, want %d s", name, got, test.want)
		}
	}
}

// A gap that was too long, a vote that was lost, and work that nobody replaced are said.
func TestJudge(t *testing.T) {
	r := &runner{
		Drill:  Drill{Limit: 30 * time.Second, Works: true},
		load:   &voters{ledger: ledger{acks: []ack{{at: time.Second}, {at: 50 * time.Second}}}},
		report: &Report{FaultAt: 2, UndoAt: 55, End: 60, count: count{Lost: 3}},
	}
	r.judge()
	if all := strings.Join(r.report.Wrong, "; "); len(r.report.Wrong) != 4 || !strings.Contains(all, "3 acknowledged votes are lost") || !strings.Contains(all, "48.0 s") {
		t.Errorf("it says: %s", all)
	}
	if got := r.report.PerSecond; got[1] != 1 || got[50] != 1 || len(got) != 61 {
		t.Errorf("votes by second: %v", got)
	}
}

// Each hypothesis of a drill's own is judged, and only where it is one.
func TestJudgeOwn(t *testing.T) {
	for name, test := range map[string]struct {
		drill  Drill
		report Report
		want   string
	}{
		"another leads":       {Drill{Still: true}, Report{Moved: []string{"Nomad's leader"}}, "others lead: Nomad's leader"},
		"another may lead":    {Drill{}, Report{Moved: []string{"Nomad's leader"}}, ""},
		"never shown":         {Drill{says: "it shows"}, Report{}, "never so that it shows"},
		"shown":               {Drill{says: "it shows"}, Report{Shown: 3}, ""},
		"left out late":       {Drill{Works: true}, Report{Replaced: 50, Ejected: 7}, "edges still sent"},
		"left out in time":    {Drill{Works: true}, Report{Replaced: 50, Ejected: 5}, ""},
		"replaced late":       {Drill{Works: true}, Report{Replaced: 95, Ejected: 5}, "didn't replace"},
		"drained":             {Drill{Works: true, Gentle: true}, Report{Replaced: 50, Ejected: 20}, ""},
		"nobody verified":     {Drill{Walk: time.Second}, Report{WalkGap: 2}, "nobody's phone was verified for 2.0 s"},
		"logged out":          {Drill{}, Report{count: count{Refused: map[string]int{"token-invalid": 2}}}, "2 votes were refused for good: token-invalid"},
		"receipts contradict": {Drill{}, Report{count: count{Broken: []string{"two-receipts: x"}}}, "a promise is broken: two-receipts"},
	} {
		r := &runner{Drill: test.drill, load: &voters{}, report: &test.report}
		r.judge()
		if said := strings.Join(r.report.Wrong, "; "); !strings.Contains(said, test.want) || test.want == "" && said != "" {
			t.Errorf("%s: it says %q", name, said)
		}
	}
}

// What is written on the page is text, whatever it holds.
func TestPage(t *testing.T) {
	var page strings.Builder
	err := WritePage(&page, []*Report{{
		Name: "kill-leaders", End: 60, FaultAt: 10, UndoAt: 40, Gap: 12.5, GapAt: 11, PerSecond: []int{5, 0}, Walks: []int{1, 2},
		Events: []Event{{At: 3, What: "<b>none</b>"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "<svg") || !strings.Contains(page.String(), "&lt;b&gt;none") || strings.Contains(page.String(), "<b>none") {
		t.Errorf("the page is %s", page.String())
	}
	for _, want := range []string{`class="fault"`, `class="gap"`, `class="walks"`, "12.5 s without a vote"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
}
