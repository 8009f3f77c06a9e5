package server

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/problem"
)

func noted(action string) ballotapi.Note {
	return ballotapi.Note{Change: me, Action: action, Detail: `{"n":1}`}
}

// TestOperatorsChain: entries follow each other, who writes after an entry that is no more the last one is told
// so, and the chain is the same after a restart and over the network.
func TestOperatorsChain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, newBox func(t testing.TB) *box) {
		b := newBox(t)
		first, err := b.NoteOperators(t.Context(), 0, noted("first"))
		b.ok(err)
		if first == nil || first.Seq != 1 || first.Actor != me.Actor || first.Poll != "" || !first.At.Equal(b.clock.Now()) {
			t.Fatalf("%+v", first)
		}
		if late, err := b.NoteOperators(t.Context(), 0, noted("late")); late != nil || err != nil {
			t.Errorf("who was late got %+v, %v", late, err)
		}
		if early, err := b.NoteOperators(t.Context(), 7, noted("early")); early != nil || err != nil {
			t.Errorf("who was early got %+v, %v", early, err)
		}
		far := b.remote(overhttp.ClientConfig{})
		second, err := far.NoteOperators(t.Context(), 1, noted("second"))
		b.ok(err)
		if late, err := far.NoteOperators(t.Context(), 1, noted("late")); late != nil || err != nil {
			t.Errorf("over the network who was late got %+v, %v", late, err)
		}
		b.reopen()
		chain, err := b.Operators(t.Context(), 0)
		b.ok(err)
		b.ok(ballotapi.VerifyOperators(0, nil, chain))
		if len(chain) != 2 || chain[1].Action != "second" {
			t.Fatalf("%+v", chain)
		}
		rest, err := b.Operators(t.Context(), 1)
		b.ok(err)
		b.ok(ballotapi.VerifyOperators(1, first.Hash, rest))
		if len(rest) != 1 || rest[0].Seq != second.Seq {
			t.Errorf("%+v", rest)
		}
		rest[0].Action = "another"
		if err := ballotapi.VerifyOperators(1, first.Hash, rest); err == nil {
			t.Error("a changed entry was taken")
		}
		chain[0].Reason = "another"
		if ballotapi.VerifyOperators(0, nil, chain) == nil || ballotapi.VerifyOperators(0, nil, chain[1:]) == nil {
			t.Error("a changed chain was taken")
		}
	})
}

// TestOfManyNotesAtOnceOneFollows: the same entry is followed once.
func TestOfManyNotesAtOnceOneFollows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, newBox func(t testing.TB) *box) {
		b := newBox(t)
		var added atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if e, err := b.NoteOperators(t.Context(), 0, noted("mine")); err != nil {
					t.Error(err)
				} else if e != nil {
					added.Add(1)
				}
			})
		}
		wg.Wait()
		if chain, err := b.Operators(t.Context(), 0); added.Load() != 1 || len(chain) != 1 || err != nil {
			t.Errorf("%d were added, %d are there, %v", added.Load(), len(chain), err)
		}
	})
}

func TestNotesAreTakenStrictly(t *testing.T) {
	b := newBox(t)
	for field, n := range map[string]ballotapi.Note{
		"/actor":  {Action: "x", Detail: "{}"},
		"/action": {Change: me, Detail: "{}"},
		"/detail": {Change: me, Action: "x", Detail: "{"},
	} {
		if _, err := b.NoteOperators(t.Context(), 0, n); problem.From(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	long := noted("x")
	long.Detail = `"` + strings.Repeat("x", ballotapi.MaxNoteDetail) + `"`
	if _, err := b.NoteOperators(t.Context(), 0, long); problem.From(err).Field != "/detail" {
		t.Error(err)
	}
}
