package votecheck

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/tally"
)

// Final is the end of a poll as the public sees it.
type Final struct {
	Manifest poll.Manifest
	// Sealed is every ballot of the box, in the log's order.
	Sealed [][]byte
	Result tally.Result
	// Readings are the same end as other sources tell it.
	Readings []Reading
}

// Rule names a promise that was broken.
type Rule string

// The rules, each with the promise of the design (§9) that it checks.
const (
	Lost          Rule = "lost"            // acknowledged, but not in the box (R1)
	Phantom       Rule = "phantom"         // in the box, but nobody sent it (R2)
	Undead        Rule = "undead"          // in the box, though every answer promised that it was not recorded (R2)
	Double        Rule = "double"          // two ballots of one voter, or one ballot twice (R3)
	TwoReceipts   Rule = "two-receipts"    // one Idempotency-Key or one voter was given two ballots' receipts (R4)
	BadReceipt    Rule = "bad-receipt"     // a receipt that does not verify with the published key
	AckAfterClose Rule = "ack-after-close" // first acknowledged though sent after the close (R5)
	WrongTally    Rule = "wrong-tally"     // the published sums are not those of the ballots
	Disorder      Rule = "disorder"        // in no order could one voter's casts have been answered so (R3, R4)
	Disagree      Rule = "disagree"        // two sources tell the end of the poll differently
	Rewritten     Rule = "rewritten"       // the log shrank, or does not continue an earlier checkpoint
	BadHistory    Rule = "bad-history"     // the history contradicts itself: the test is at fault
)

// Violation is one broken promise.
type Violation struct {
	Rule   Rule   `json:"rule"`
	Voter  string `json:"voter,omitempty"`
	Detail string `json:"detail"`
}

func (v Violation) String() string {
	if v.Voter == "" {
		return fmt.Sprintf("%s: %s", v.Rule, v.Detail)
	}
	return fmt.Sprintf("%s: voter %s: %s", v.Rule, v.Voter, v.Detail)
}

// Report is what the checker found.
type Report struct {
	Casts        int `json:"casts"`
	Acknowledged int `json:"acknowledged"`
	Refused      int `json:"refused"`
	Unknown      int `json:"unknown"`
	// Voters is the distinct voters with an acknowledged ballot; Recovered the ballots in the box whose
	// voters were never told.
	Voters    int `json:"voters"`
	Recovered int `json:"recovered"`
	Box       int `json:"box"`
	// Snapshots is the checkpoints that were read on the way.
	Snapshots  int         `json:"snapshots"`
	Violations []Violation `json:"violations"`
}

// OK is whether every promise was kept.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

func (r *Report) add(rule Rule, voter, format string, args ...any) {
	r.Violations = append(r.Violations, Violation{Rule: rule, Voter: voter, Detail: fmt.Sprintf(format, args...)})
}

type leaf = [32]byte

// sent is everything the history says about one sealed ballot.
type sent struct {
	voter   string
	answers ballot.Answers
	// acknowledged and unknown count completions; an invocation without one is unknown.
	acknowledged, unknown int
	// beforeClose is whether it was first sent before the close: then it may be acknowledged after it.
	beforeClose bool
}

// history is the events by what they are about.
type history struct {
	ballots map[leaf]*sent
	// receipts is the first receipt by Idempotency-Key.
	receipts map[string]*ballotapi.Receipt
}

// Check compares a history with the end of its poll.
func Check(events []Event, f Final) *Report {
	r := &Report{Violations: []Violation{}, Box: len(f.Sealed)}
	h := r.replay(events, f.Manifest)
	r.checkBox(h, f)
	r.checkVoters(events, h, f)
	r.checkReadings(f)
	r.checkSnapshots(events, f)
	return r
}

// replay goes through the events in order and checks what can be seen without the box.
func (r *Report) replay(events []Event, m poll.Manifest) history {
	h := history{ballots: map[leaf]*sent{}, receipts: map[string]*ballotapi.Receipt{}}
	type open struct {
		Event
		leaf leaf
	}
	pending := map[int64]open{}
	busy := map[int64]bool{} // processes that do not know an outcome
	closed := false
	for _, e := range events {
		switch e.Type {
		case Closed:
			closed = true
		case Snapshot: // see checkSnapshots
		case Invoke:
			if busy[e.Process] {
				r.add(BadHistory, e.Voter, "process %d asked again without having learned an outcome", e.Process)
			}
			busy[e.Process] = true
			l := ballot.Leaf(m.ID, e.Sealed)
			s := h.ballots[l]
			if s == nil {
				s = &sent{voter: e.Voter, answers: e.Answers, beforeClose: !closed}
				h.ballots[l] = s
			} else if s.voter != e.Voter {
				r.add(BadHistory, e.Voter, "sent the sealed ballot of voter %s", s.voter)
			}
			r.Casts++
			pending[e.Op] = open{Event: e, leaf: l}
		case OK, Fail, Unknown:
			o, found := pending[e.Op]
			if !found {
				r.add(BadHistory, "", "operation %d ends without a beginning, or twice", e.Op)
				continue
			}
			delete(pending, e.Op)
			s := h.ballots[o.leaf]
			busy[o.Process] = e.Type == Unknown
			switch e.Type {
			case Fail:
				r.Refused++
				if effect := problem.Lookup(problem.Code(e.Code)).Effect; effect != problem.NotApplied {
					r.add(BadHistory, o.Voter, "operation %d is called failed, and %q leaves it %s", e.Op, e.Code, effect)
				}
				// Once somebody was told that the poll is closed, it stays closed for everybody.
				closed = closed || e.Code == string(problem.PollClosed)
			case Unknown:
				r.Unknown++
				s.unknown++
			default:
				r.Acknowledged++
				if !s.beforeClose {
					r.add(AckAfterClose, o.Voter, "operation %d was sent after the close and acknowledged", e.Op)
				}
				s.acknowledged++
				r.checkReceipt(h, m, o.Event, e.Receipt)
			}
		default:
			r.add(BadHistory, "", "an event of the unknown type %q", e.Type)
		}
	}
	for _, o := range pending {
		r.Unknown++
		h.ballots[o.leaf].unknown++
	}
	return h
}

func (r *Report) checkReceipt(h history, m poll.Manifest, asked Event, got *ballotapi.Receipt) {
	if got == nil {
		r.add(BadReceipt, asked.Voter, "operation %d was acknowledged without a receipt", asked.Op)
		return
	}
	if got.Poll != m.ID {
		r.add(BadReceipt, asked.Voter, "the receipt is of poll %q", got.Poll)
	}
	if err := receipt.VerifyBallot(*got, asked.Sealed, m.SigningKey); err != nil {
		r.add(BadReceipt, asked.Voter, "operation %d: %v", asked.Op, err)
	}
	first := h.receipts[asked.Key]
	if first == nil {
		h.receipts[asked.Key] = got
		return
	}
	if !bytes.Equal(first.Leaf, got.Leaf) || first.Code != got.Code || first.Batch != got.Batch || first.Index != got.Index {
		r.add(TwoReceipts, asked.Voter, "one Idempotency-Key, two receipts: %s and %s", first.Code, got.Code)
	}
}

// checkBox compares what was said with what is there.
func (r *Report) checkBox(h history, f Final) {
	inBox := map[leaf]bool{}
	ballotOf := map[string]leaf{}
	sum := newCount(f.Manifest)
	for _, sealed := range f.Sealed {
		l := ballot.Leaf(f.Manifest.ID, sealed)
		code := ballot.Code(l)
		if inBox[l] {
			r.add(Double, "", "ballot %s is in the box twice", code)
			continue
		}
		inBox[l] = true
		s := h.ballots[l]
		if s == nil {
			r.add(Phantom, "", "ballot %s is in the box, and nobody sent it", code)
			continue
		}
		if other, voted := ballotOf[s.voter]; voted {
			r.add(Double, s.voter, "ballots %s and %s are both in the box", ballot.Code(other), code)
		}
		ballotOf[s.voter] = l
		switch {
		case s.acknowledged > 0:
		case s.unknown > 0:
			r.Recovered++
		default:
			r.add(Undead, s.voter, "ballot %s is in the box, though every answer said not_applied", code)
		}
		sum.add(s.answers)
	}
	r.checkAcknowledged(h, inBox)
	r.checkTally(sum, f)
}

func (r *Report) checkAcknowledged(h history, inBox map[leaf]bool) {
	acknowledged := map[string]leaf{}
	for l, s := range h.ballots {
		if s.acknowledged == 0 {
			continue
		}
		if !inBox[l] {
			r.add(Lost, s.voter, "ballot %s was acknowledged and is not in the box", ballot.Code(l))
		}
		if other, twice := acknowledged[s.voter]; twice {
			r.add(TwoReceipts, s.voter, "ballots %s and %s were both acknowledged", ballot.Code(other), ballot.Code(l))
		}
		acknowledged[s.voter] = l
	}
	r.Voters = len(acknowledged)
}

func (r *Report) checkTally(sum count, f Final) {
	if got, want := f.Result.Ballots, int64(len(f.Sealed)); got != want {
		r.add(WrongTally, "", "the result names %d ballots, the box holds %d", got, want)
	}
	if f.Result.Invalid != 0 {
		r.add(WrongTally, "", "%d ballots were counted as invalid, and none was sent so", f.Result.Invalid)
	}
	published := map[string]map[string]int64{}
	for _, q := range f.Result.Questions {
		published[q.ID] = map[string]int64{unanswered: q.Unanswered}
		for _, o := range q.Options {
			published[q.ID][o.ID] = o.Votes
		}
	}
	for _, id := range sum.ids {
		if !maps.Equal(published[id], sum.votes[id]) {
			r.add(WrongTally, "", "question %s: published %v, the ballots say %v", id, published[id], sum.votes[id])
		}
	}
}

// unanswered stands among the option ids, none of which is empty.
const unanswered = ""

// count is votes by option, question by question in the manifest's order.
type count struct {
	ids   []string
	votes map[string]map[string]int64
}

func newCount(m poll.Manifest) count {
	c := count{votes: map[string]map[string]int64{}}
	for _, q := range m.Questions {
		c.ids = append(c.ids, q.ID)
		c.votes[q.ID] = map[string]int64{unanswered: 0}
		for _, o := range q.Options {
			c.votes[q.ID][o.ID] = 0
		}
	}
	return c
}

// add counts one ballot; answers are option ids per question.
func (c count) add(answers ballot.Answers) {
	for i, id := range c.ids {
		if i >= len(answers) || len(answers[i]) == 0 {
			c.votes[id][unanswered]++
			continue
		}
		for _, option := range answers[i] {
			c.votes[id][option]++
		}
	}
}
