package votecheck_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

// run is a small poll in which everything went right: voters 0 to 3 were acknowledged, voter 4 was cut
// off but recorded, voter 5 was cut off and not recorded, voter 6 was refused.
type run struct {
	events []votecheck.Event
	final  votecheck.Final
	signer *signed.Signer
	notes  string // signs checkpoints
}

const recorded = 5

func sealedOf(voter int) []byte { return fmt.Appendf(nil, "the sealed ballot of %d", voter) }
func keyOf(voter int) string    { return fmt.Sprintf("the-key-of-voter-%d", voter) }

// answersOf: even voters choose a, odd ones b, and every third leaves the second question open.
func answersOf(voter int) [][]string {
	answers := [][]string{{"a"}, {"yes"}}
	if voter%2 == 1 {
		answers[0] = []string{"b"}
	}
	if voter%3 == 0 {
		answers[1] = []string{}
	}
	return answers
}

func goodRun(t *testing.T) *run {
	t.Helper()
	signer, err := signed.NewSigner(sha256.Sum256([]byte("a test's key")))
	if err != nil {
		t.Fatal(err)
	}
	r := &run{signer: signer}
	r.final.Manifest = poll.Manifest{ID: "test", SigningKey: signer.Key(), Questions: []poll.Question{
		{ID: "one", Options: []poll.Option{{ID: "a"}, {ID: "b"}}},
		{ID: "two", Options: []poll.Option{{ID: "yes"}, {ID: "no"}}},
	}}
	r.final.Result = tally.Result{Ballots: recorded, Questions: []tally.QuestionResult{
		{ID: "one", Options: []tally.OptionResult{{ID: "a", Votes: 3}, {ID: "b", Votes: 2}}},
		{ID: "two", Unanswered: 2, Options: []tally.OptionResult{{ID: "yes", Votes: 3}, {ID: "no"}}},
	}}
	for v := range recorded {
		r.final.Sealed = append(r.final.Sealed, sealedOf(v))
	}
	r.publishLog(t)
	receipts := r.issue(t, 0, 1, 2, 3)
	for v := range 7 {
		r.invoke(int64(v+1), v)
	}
	for v := range 4 {
		r.end(int64(v+1), votecheck.Event{Type: votecheck.OK, Status: 201, Receipt: &receipts[v]})
	}
	r.end(6, votecheck.Event{Type: votecheck.Unknown})
	r.end(7, votecheck.Event{Type: votecheck.Fail, Status: 503, Code: "overloaded"})
	// Voter 0 asks again with the same key, and is told the same.
	r.invoke(8, 0)
	r.end(8, votecheck.Event{Type: votecheck.OK, Status: 201, Receipt: &receipts[0]})
	return r
}

// publishLog signs checkpoints of the box at each size, one of which is read at the beginning and one at
// the end, and has every source tell the same.
func (r *run) publishLog(t *testing.T) {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, "popvote/test")
	if err != nil {
		t.Fatal(err)
	}
	r.final.Manifest.LogKey, r.notes = public, secret
	var leaves [][32]byte
	for _, sealed := range r.final.Sealed {
		leaves = append(leaves, ballot.Leaf("test", sealed))
	}
	result := r.final.Result
	r.final.Readings = []votecheck.Reading{
		{Source: "the published result", Ballots: recorded, Result: &result},
		{Source: "the turnout", Ballots: recorded},
		{Source: "the public log", Ballots: recorded, Leaves: leaves},
	}
	r.snapshot(t, leaves[:2])
	r.snapshot(t, leaves)
}

// snapshot has somebody read a checkpoint over the leaves.
func (r *run) snapshot(t *testing.T, leaves [][32]byte) {
	t.Helper()
	root := receipt.Tree(leaves).Root()
	signer, err := note.NewSigner(r.notes)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("popvote/test\n%d\n%s\n", len(leaves), base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	r.events = append(r.events, votecheck.Event{Type: votecheck.Snapshot, Checkpoint: string(signed)})
}

func (r *run) issue(t *testing.T, voters ...int) []ballotapi.Receipt {
	t.Helper()
	var leaves [][32]byte
	for _, v := range voters {
		leaves = append(leaves, ballot.Leaf("test", sealedOf(v)))
	}
	receipts, err := receipt.Issue(r.signer, "test", leaves)
	if err != nil {
		t.Fatal(err)
	}
	return receipts
}

func (r *run) invoke(op int64, voter int) {
	r.events = append(r.events, votecheck.Event{
		Type: votecheck.Invoke, Op: op, Process: op, Voter: fmt.Sprint(voter), Key: keyOf(voter), Sealed: sealedOf(voter), Answers: answersOf(voter),
	})
}

// of is the invocation of an operation.
func (r *run) of(op int64) *votecheck.Event {
	return &r.events[slices.IndexFunc(r.events, func(e votecheck.Event) bool { return e.Op == op })]
}

func (r *run) end(op int64, e votecheck.Event) {
	e.Op = op
	r.events = append(r.events, e)
}

func TestWhatIsRightPasses(t *testing.T) {
	r := goodRun(t)
	report := votecheck.Check(r.events, r.final)
	if !report.OK() {
		t.Fatalf("a poll that kept its promises: %v", report.Violations)
	}
	if report.Voters != 4 || report.Recovered != 1 || report.Refused != 1 || report.Unknown != 2 || report.Casts != 8 || report.Snapshots != 2 {
		t.Errorf("wrong numbers: %+v", report)
	}
}

// A checker that cannot fail proves nothing: each broken promise must be named.
func TestEveryBrokenPromiseIsNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		rule votecheck.Rule
		harm func(t *testing.T, r *run)
	}{
		{"an acknowledged ballot is missing", votecheck.Lost, func(_ *testing.T, r *run) {
			r.final.Sealed = r.final.Sealed[1:]
		}},
		{"a ballot nobody sent", votecheck.Phantom, func(_ *testing.T, r *run) {
			r.final.Sealed = append(r.final.Sealed, []byte("stuffed"))
		}},
		{"a refused ballot was recorded all the same", votecheck.Undead, func(_ *testing.T, r *run) {
			r.final.Sealed = append(r.final.Sealed, sealedOf(6))
		}},
		{"a ballot twice", votecheck.Double, func(_ *testing.T, r *run) {
			r.final.Sealed = append(r.final.Sealed, sealedOf(2))
		}},
		{"two ballots of one voter", votecheck.Double, func(_ *testing.T, r *run) {
			r.invoke(9, 5)
			r.events[len(r.events)-1].Voter = "1"
			r.events[len(r.events)-1].Sealed = []byte("a second thought")
			r.final.Sealed = append(r.final.Sealed, []byte("a second thought"))
		}},
		{"another receipt for the same key", votecheck.TwoReceipts, func(t *testing.T, r *run) {
			again := r.issue(t, 0)
			r.invoke(9, 0)
			r.end(9, votecheck.Event{Type: votecheck.OK, Receipt: &again[0]})
		}},
		{"two acknowledged ballots of one voter", votecheck.TwoReceipts, func(t *testing.T, r *run) {
			second := r.issue(t, 4)
			r.of(5).Voter = "0"
			r.end(5, votecheck.Event{Type: votecheck.OK, Receipt: &second[0]})
		}},
		{"a receipt signed by somebody else", votecheck.BadReceipt, func(t *testing.T, r *run) {
			other, err := signed.NewSigner(sha256.Sum256([]byte("another key")))
			if err != nil {
				t.Fatal(err)
			}
			r.final.Manifest.SigningKey = other.Key()
		}},
		{"a receipt for another ballot", votecheck.BadReceipt, func(_ *testing.T, r *run) {
			r.of(1).Sealed, r.of(2).Sealed = r.of(2).Sealed, r.of(1).Sealed
		}},
		{"no receipt", votecheck.BadReceipt, func(_ *testing.T, r *run) {
			i := slices.IndexFunc(r.events, func(e votecheck.Event) bool { return e.Type == votecheck.OK })
			r.events[i].Receipt = nil
		}},
		{"acknowledged after the close", votecheck.AckAfterClose, func(_ *testing.T, r *run) {
			r.events = append([]votecheck.Event{{Type: votecheck.Closed}}, r.events...)
		}},
		{"a vote moved to another option", votecheck.WrongTally, func(_ *testing.T, r *run) {
			r.final.Result.Questions[0].Options[0].Votes--
			r.final.Result.Questions[0].Options[1].Votes++
		}},
		{"a ballot left out of the sum", votecheck.WrongTally, func(_ *testing.T, r *run) {
			r.final.Result.Ballots--
		}},
		{"a good ballot counted as invalid", votecheck.WrongTally, func(_ *testing.T, r *run) {
			r.final.Result.Invalid++
		}},
		{"acknowledged after somebody was told that the poll is closed", votecheck.AckAfterClose, func(_ *testing.T, r *run) {
			i := slices.IndexFunc(r.events, func(e votecheck.Event) bool { return e.Code == "overloaded" })
			refused := append([]votecheck.Event{*r.of(7)}, r.events[i])
			refused[1].Code = "poll-closed"
			r.events = append(refused, slices.DeleteFunc(r.events, func(e votecheck.Event) bool { return e.Op == 7 })...)
		}},
		{"already voted, said to somebody who had not", votecheck.Disorder, func(_ *testing.T, r *run) {
			r.invoke(9, 6)
			r.end(9, votecheck.Event{Type: votecheck.Fail, Code: "already-voted"})
		}},
		{"a key reused, said to somebody who had not", votecheck.Disorder, func(_ *testing.T, r *run) {
			r.invoke(9, 0)
			r.end(9, votecheck.Event{Type: votecheck.Fail, Code: "idempotency-key-reused"})
		}},
		{"the poll is closed, said to somebody who is in the box", votecheck.Disorder, func(_ *testing.T, r *run) {
			r.invoke(9, 0)
			r.end(9, votecheck.Event{Type: votecheck.Fail, Code: "poll-closed"})
		}},
		{"the turnout is another", votecheck.Disagree, func(_ *testing.T, r *run) { r.final.Readings[1].Ballots++ }},
		{"the log lists another ballot", votecheck.Disagree, func(_ *testing.T, r *run) { r.final.Readings[2].Leaves[1][0]++ }},
		{"the page shows another result", votecheck.Disagree, func(_ *testing.T, r *run) { r.final.Readings[0].Result.Invalid++ }},
		{"the log shrank", votecheck.Rewritten, func(t *testing.T, r *run) {
			r.snapshot(t, [][32]byte{ballot.Leaf("test", sealedOf(0))})
		}},
		{"the log was rewritten", votecheck.Rewritten, func(_ *testing.T, r *run) {
			r.final.Sealed[0], r.final.Sealed[2] = r.final.Sealed[2], r.final.Sealed[0]
		}},
		{"a checkpoint signed by somebody else", votecheck.Rewritten, func(t *testing.T, r *run) {
			var err error
			if r.notes, _, err = note.GenerateKey(nil, "popvote/test"); err != nil {
				t.Fatal(err)
			}
			r.snapshot(t, [][32]byte{ballot.Leaf("test", sealedOf(0)), ballot.Leaf("test", sealedOf(1))})
		}},
		{"a refusal that promises nothing, taken for one that does", votecheck.BadHistory, func(_ *testing.T, r *run) {
			i := slices.IndexFunc(r.events, func(e votecheck.Event) bool { return e.Code == "overloaded" })
			r.events[i].Code = "outcome-unknown"
		}},
		{"a process that goes on without knowing", votecheck.BadHistory, func(_ *testing.T, r *run) {
			r.invoke(9, 5)
			r.of(9).Process = 6 // which was cut off
		}},
		{"an end without a beginning", votecheck.BadHistory, func(_ *testing.T, r *run) {
			r.end(99, votecheck.Event{Type: votecheck.OK})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := goodRun(t)
			c.harm(t, r)
			report := votecheck.Check(r.events, r.final)
			for _, v := range report.Violations {
				if v.Rule == c.rule {
					return
				}
			}
			t.Errorf("wanted %s, got %v", c.rule, report.Violations)
		})
	}
}

// A retry after the close of what was sent before it may be answered with the receipt.
func TestRetryAfterTheCloseIsAllowed(t *testing.T) {
	r := goodRun(t)
	receipts := r.issue(t, 4)
	r.events = append(r.events, votecheck.Event{Type: votecheck.Closed})
	r.invoke(9, 4)
	r.end(9, votecheck.Event{Type: votecheck.OK, Receipt: &receipts[0]})
	if report := votecheck.Check(r.events, r.final); !report.OK() {
		t.Error(report.Violations)
	}
}

func TestHistorySurvivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	now := time.Unix(0, 0)
	rec, err := votecheck.Create(path, func() time.Time { now = now.Add(time.Millisecond); return now })
	if err != nil {
		t.Fatal(err)
	}
	op, err := rec.Invoke(rec.Process(), "v1", "key", []byte{1, 2}, [][]string{{"a"}, {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Complete(op, votecheck.Event{Type: votecheck.Fail, Status: 409, Code: "already-voted"}); err != nil {
		t.Fatal(err)
	}
	if err := rec.Closed(); err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The recorder was killed in the middle of a line.
	events, err := votecheck.Read(strings.NewReader(string(content) + `{"type":"inv`))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 3 || events[0].Voter != "v1" || events[1].Code != "already-voted" || events[2].Type != votecheck.Closed {
		t.Errorf("read back %+v", events)
	}
	if _, err := votecheck.Read(strings.NewReader("{\n" + string(content))); err == nil {
		t.Error("a broken line in the middle was read over")
	}
}
