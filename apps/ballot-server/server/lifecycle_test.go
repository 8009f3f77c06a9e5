package server

import (
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// TestMoves tries every move from every state: those of the life cycle work, each other is refused,
// changes nothing, and is in the audit chain as refused.
func TestMoves(t *testing.T) {
	way := map[poll.State][]poll.State{
		poll.Draft: {}, poll.Open: {poll.Open}, poll.Paused: {poll.Open, poll.Paused}, poll.Closed: {poll.Open, poll.Closed},
	}
	for from, steps := range way {
		for _, to := range poll.States {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				b := newBox(t)
				for _, step := range steps {
					b.move(step)
				}
				before := b.manifest()
				err := b.Move(t.Context(), "lunch", to, me)
				after := b.manifest()
				chain, auditErr := b.Audit(t.Context(), "lunch")
				b.ok(auditErr)
				last := chain[len(chain)-1]
				if last.Actor != me.Actor || last.Reason != me.Reason {
					t.Errorf("the audit entry is %+v", last)
				}
				if poll.CanMove(from, to) && to != poll.Counted {
					b.ok(err)
					if after.State != to || after.Sequence != before.Sequence+1 {
						t.Errorf("it is %s with sequence %d, after %d", after.State, after.Sequence, before.Sequence)
					}
					return
				}
				if !isRefused(err) {
					t.Fatalf("the move gave %v", err)
				}
				if after.State != from || after.Sequence != before.Sequence {
					t.Errorf("it is %s with sequence %d, after %d", after.State, after.Sequence, before.Sequence)
				}
				if !strings.Contains(last.Detail, "refused") {
					t.Errorf("the refusal left %+v", last)
				}
			})
		}
	}
}

// TestCastMeetsTheState: what a new ballot and a retry of a recorded one meet in each state.
func TestCastMeetsTheState(t *testing.T) {
	b := newBox(t)
	mine := cast(1, "k", b.junk())
	b.expect(b.cast(mine)[0], problem.PollNotOpen) // a draft
	b.move(poll.Open)
	b.expect(b.cast(mine)[0], "")
	for _, step := range []struct {
		name string
		do   func()
		want problem.Code
	}{
		{"paused", func() { b.move(poll.Paused) }, problem.PollPaused},
		{"open again", func() { b.move(poll.Open) }, ""},
		{"before opens_at", func() { b.clock.set(b.poll.OpensAt.Add(-time.Millisecond)) }, problem.PollNotOpen},
		{"at opens_at", func() { b.clock.set(b.poll.OpensAt) }, ""},
		{"just before closes_at", func() { b.clock.set(b.poll.ClosesAt.Add(-time.Millisecond)) }, ""},
		{"at closes_at, before any tick", func() { b.clock.set(b.poll.ClosesAt) }, problem.PollClosed},
		{"after the tick", func() { b.ok(b.Tick(t.Context())) }, problem.PollClosed},
		{"counted", func() { b.ok(b.Count(t.Context(), "lunch", b.scalar, me)) }, problem.PollClosed},
		{"published", func() { b.move(poll.Published) }, problem.PollClosed},
	} {
		step.do()
		if got := code(b.cast(cast(int(time.Now().UnixNano()), "k", b.junk()))[0]); got != step.want {
			t.Errorf("%s: a new ballot gets %q, want %q", step.name, got, step.want)
		}
		if got := code(b.cast(mine)[0]); got != "" {
			t.Errorf("%s: the retry gets %q, want its receipt", step.name, got)
		}
	}
}

// TestClockCloses: the manifest says closed from the first instant, with a new sequence, and the audit
// chain names the clock, once.
func TestClockCloses(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	sealed := b.junk() // sealed before the close, cast after it
	before := b.manifest()
	b.clock.set(b.poll.ClosesAt)
	b.expect(b.cast(cast(1, "k", sealed))[0], problem.PollClosed)
	after := b.manifest()
	if after.State != poll.Closed || after.Sequence != before.Sequence+1 {
		t.Fatalf("it is %s with sequence %d", after.State, after.Sequence)
	}
	b.ok(b.Tick(t.Context()))
	chain, err := b.Audit(t.Context(), "lunch")
	b.ok(err)
	if last := chain[len(chain)-1]; len(chain) != 3 || last.Actor != "clock" || last.Action != "closed" {
		t.Errorf("the chain is %+v", chain)
	}
	if err := b.Extend(t.Context(), "lunch", b.poll.ClosesAt.Add(time.Hour), me); !isRefused(err) {
		t.Errorf("extending after the close gave %v", err)
	}
}

func TestExtendOnlyLater(t *testing.T) {
	b := newBox(t)
	later := b.poll.ClosesAt.Add(time.Hour)
	if err := b.Extend(t.Context(), "lunch", later, me); !isRefused(err) {
		t.Errorf("extending a draft gave %v", err)
	}
	b.move(poll.Open)
	for _, to := range []time.Time{b.poll.ClosesAt, b.poll.ClosesAt.Add(-time.Minute)} {
		if err := b.Extend(t.Context(), "lunch", to, me); !isRefused(err) {
			t.Errorf("extending to %v gave %v", to, err)
		}
	}
	if err := b.Extend(t.Context(), "lunch", later, ballotapi.Change{Actor: "tester"}); problem.From(err).Code != problem.InvalidField {
		t.Errorf("extending without a reason gave %v", err)
	}
	b.ok(b.Extend(t.Context(), "lunch", later, me))
	b.clock.set(b.poll.ClosesAt)
	b.expect(b.cast(cast(1, "k", b.junk()))[0], "")
	if m := b.manifest(); !m.ClosesAt.Equal(later) || m.State != poll.Open {
		t.Errorf("the manifest closes at %v and is %s", m.ClosesAt, m.State)
	}
}

// TestApply: a draft can be replaced, also by one of another size; what is open cannot, and applying
// the same again is no change at all.
func TestApply(t *testing.T) {
	b := newBox(t)
	b.poll.Questions[0].Options = append(b.poll.Questions[0].Options, poll.Option{ID: strings.Repeat("long-", 7), Label: poll.Text{"en": "Long"}})
	b.ok(b.Apply(t.Context(), b.poll, me))
	sequence := b.manifest().Sequence
	b.ok(b.Apply(t.Context(), b.poll, me))
	if got := b.manifest().Sequence; got != sequence || sequence != 2 {
		t.Errorf("the sequence is %d, then %d", sequence, got)
	}
	b.move(poll.Open)
	b.ok(b.Apply(t.Context(), b.poll, me))
	b.expect(b.cast(cast(1, "k", b.junk()))[0], "")
	b.expect(b.cast(cast(2, "k", b.junk()[1:]))[0], problem.BallotWrongSize)
	changed := b.poll
	changed.Title = poll.Text{"en": "Dinner"}
	if err := b.Apply(t.Context(), changed, me); !isRefused(err) {
		t.Errorf("replacing an open poll gave %v", err)
	}
	changed.ID = "Not An Id"
	if err := b.Apply(t.Context(), changed, me); err == nil {
		t.Error("an invalid poll was applied")
	}
	changed.ID = "dinner"
	b.ok(b.Apply(t.Context(), changed, me))
	public, err := b.Polls(t.Context())
	b.ok(err)
	all, err := b.AllPolls(t.Context())
	b.ok(err)
	if len(public) != 1 || public[0].ID != "lunch" || len(all) != 2 || all[0].ID != "dinner" {
		t.Errorf("public: %+v, all: %+v", public, all)
	}
}

// TestUnknownPoll: every call about a poll that is not there says so, and leaves nothing.
func TestUnknownPoll(t *testing.T) {
	b := newBox(t)
	ctx := t.Context()
	calls := map[string]func() error{
		"manifest":   func() error { _, err := b.Manifest(ctx, "none"); return err },
		"turnout":    func() error { _, err := b.Turnout(ctx, "none"); return err },
		"result":     func() error { _, err := b.Result(ctx, "none"); return err },
		"checkpoint": func() error { _, err := b.Checkpoint(ctx, "none"); return err },
		"tile":       func() error { _, err := b.Tile(ctx, "none", "0/000"); return err },
		"bundle":     func() error { return b.Bundle(ctx, "none", nil) },
		"stats":      func() error { _, err := b.Stats(ctx, "none"); return err },
		"audit":      func() error { _, err := b.Audit(ctx, "none"); return err },
		"move":       func() error { return b.Move(ctx, "none", poll.Open, me) },
		"extend":     func() error { return b.Extend(ctx, "none", noon, me) },
		"count":      func() error { return b.Count(ctx, "none", b.scalar, me) },
		"cast": func() error {
			ballot := cast(1, "k", b.junk())
			ballot.Poll = "none"
			return b.cast(ballot)[0].Err
		},
	}
	for name, call := range calls {
		if err := call(); problem.From(err).Code != problem.PollNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := b.AllPolls(ctx)
	b.ok(err)
	if len(all) != 1 {
		t.Errorf("there are %d polls", len(all))
	}
}

// TestCastForm: what is wrong with a ballot whatever the poll.
func TestCastForm(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	for name, c := range map[string]struct {
		change func(*ballotapi.Ballot)
		want   problem.Code
	}{
		"short key":       {func(x *ballotapi.Ballot) { x.Key = "short" }, problem.IdempotencyKeyInvalid},
		"key with a zero": {func(x *ballotapi.Ballot) { x.Key = strings.Repeat("k\x00", 16) }, problem.IdempotencyKeyInvalid},
		"channel":         {func(x *ballotapi.Ballot) { x.Channel = "pigeon" }, problem.InvalidField},
		"nothing sealed":  {func(x *ballotapi.Ballot) { x.Sealed = nil }, problem.BallotInvalid},
	} {
		ballot := cast(1, "k", b.junk())
		c.change(&ballot)
		if got := code(b.cast(ballot)[0]); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
