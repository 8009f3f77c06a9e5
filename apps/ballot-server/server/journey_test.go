package server

import (
	"bytes"
	"errors"
	"testing"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// TestAVoteFromDraftToVerifiedBundle is a poll's whole life.
func TestAVoteFromDraftToVerifiedBundle(t *testing.T) {
	eachDatabase(t, aVoteFromDraftToVerifiedBundle)
}

func aVoteFromDraftToVerifiedBundle(t *testing.T, newBox func(t testing.TB) *box) {
	b := newBox(t)
	b.move(poll.Open)
	dishes := []string{"rice", "noodles", "rice", "abstain"}
	for i := range 150 {
		sealed := b.seal(dishes[i%len(dishes)])
		o := b.cast(cast(i, "k", sealed))[0]
		b.expect(o, "")
		b.ok(receipt.VerifyBallot(*o.Receipt, sealed, b.manifest().SigningKey))
	}
	b.expect(b.cast(cast(1000, "k", b.junk()))[0], "") // opens with no key: invalid

	if err := b.Count(t.Context(), "lunch", b.scalar, me); !isRefused(err) {
		t.Fatalf("counting an open poll gave %v", err)
	}
	b.move(poll.Closed)
	other, _, err := trustee.NewKey()
	b.ok(err)
	if err := b.Count(t.Context(), "lunch", other, me); !isRefused(err) {
		t.Fatalf("counting with another poll's key gave %v", err)
	}
	if _, err := b.CountedResult(t.Context(), "lunch"); problem.From(err).Code != problem.ResultsNotPublished {
		t.Fatalf("a result before the count: %v", err)
	}
	b.ok(b.Count(t.Context(), "lunch", b.scalar, me))
	if _, err := b.Result(t.Context(), "lunch"); problem.From(err).Code != problem.ResultsNotPublished {
		t.Fatalf("a result before publication: %v", err)
	}
	if err := b.Bundle(t.Context(), "lunch", &bytes.Buffer{}); problem.From(err).Code != problem.ResultsNotPublished {
		t.Fatalf("a bundle before publication: %v", err)
	}
	b.reopen()
	b.move(poll.Published)

	d, err := b.Result(t.Context(), "lunch")
	b.ok(err)
	var r tally.Result
	_, err = d.Open(b.manifest().SigningKey, &r)
	b.ok(err)
	if r.Ballots != 151 || r.Invalid != 1 || r.Log.Size != 151 {
		t.Fatalf("the result is of %d ballots, %d invalid, a log of %d", r.Ballots, r.Invalid, r.Log.Size)
	}
	for i, want := range []int64{75, 38, 37} {
		if o := r.Questions[0].Options[i]; o.Votes != want {
			t.Errorf("%s has %d votes, want %d", o.ID, o.Votes, want)
		}
	}

	var zip bytes.Buffer
	b.ok(b.Bundle(t.Context(), "lunch", &zip))
	report, err := bundle.Verify(t.Context(), bytes.NewReader(zip.Bytes()), int64(zip.Len()), nil, bundle.PinKey(b.manifest().SigningKey.Kid))
	b.ok(err)
	if !report.OK() {
		t.Fatalf("the bundle does not verify: %+v", report)
	}
	stats, err := b.Stats(t.Context(), "lunch")
	b.ok(err)
	if stats.Total != 151 || stats.Count == nil || stats.Count.Done != 151 || stats.PeakSecond != 151 || !stats.PeakAt.Equal(noon) {
		t.Errorf("the stats are %+v", stats)
	}
}

func isRefused(err error) bool {
	_, ok := errors.AsType[*ballotapi.Refused](err)
	return ok
}
