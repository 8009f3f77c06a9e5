package tally_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// newPoll is a sample with a fresh tally key.
func newPoll(tb testing.TB, id string) (*poll.Manifest, []byte) {
	tb.Helper()
	scalar, public, err := trustee.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	d, err := poll.Sample(id)
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d = d.Seeded(public, now, now.Add(time.Hour))
	m := poll.NewManifest(d, poll.Closed, 7, poll.JWK{}, "", ballot.Size(d))
	return &m, scalar
}

// answers draws a valid ballot.
func answers(r *rand.Rand, m *poll.Manifest) ballot.Answers {
	a := make(ballot.Answers, len(m.Questions))
	for i, q := range m.Questions {
		var choices, others []string
		for _, o := range q.Options {
			if o.Kind == poll.Choice {
				choices = append(choices, o.ID)
			} else {
				others = append(others, o.ID)
			}
		}
		if len(others) > 0 && r.IntN(4) == 0 {
			a[i] = others[:1]
			continue
		}
		r.Shuffle(len(choices), func(x, y int) { choices[x], choices[y] = choices[y], choices[x] })
		a[i] = choices[:q.Min+r.IntN(q.Max-q.Min+1)]
	}
	return a
}

func each(sealed [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, s := range sealed {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// The count is what adding up by hand gives, whatever else is in the box.
func TestCountIsNaiveCount(t *testing.T) {
	for _, id := range poll.SampleIDs() {
		t.Run(id, func(t *testing.T) {
			m, scalar := newPoll(t, id)
			rapid.Check(t, func(t *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
				var sealed [][]byte
				var invalid, valid int64
				votes := make(map[string]int64)
				unanswered := make(map[string]int64)
				var plain [][]byte
				for range rapid.IntRange(0, 40).Draw(t, "ballots") {
					if bad := broken(t, m); bad != nil {
						sealed = append(sealed, bad)
						invalid++
						continue
					}
					a := answers(r, m)
					s, err := ballot.Seal(m, a)
					if err != nil {
						t.Fatal(err)
					}
					sealed, valid = append(sealed, s), valid+1
					for i, q := range m.Questions {
						for _, o := range a[i] {
							votes[q.ID+"/"+o]++
						}
						if len(a[i]) == 0 {
							unanswered[q.ID]++
						}
					}
					p, err := ballot.Encode(m, a)
					if err != nil {
						t.Fatal(err)
					}
					plain = append(plain, bytes.TrimSuffix(bytes.TrimRight(p, "\x00"), []byte{0x80}))
				}
				var last int64 = -1
				c, err := tally.Count(t.Context(), m, []byte("manifest"), scalar, each(sealed), func(done int64) {
					if done < last {
						t.Fatalf("progress went back from %d to %d", last, done)
					}
					last = done
				})
				if err != nil {
					t.Fatal(err)
				}
				if c.Result.Ballots != valid+invalid || c.Result.Invalid != invalid || last != valid+invalid {
					t.Fatalf("%d ballots, %d invalid, progress %d; want %d, %d", c.Result.Ballots, c.Result.Invalid, last, valid+invalid, invalid)
				}
				for _, q := range c.Result.Questions {
					if q.Unanswered != unanswered[q.ID] {
						t.Fatalf("%s: %d unanswered, want %d", q.ID, q.Unanswered, unanswered[q.ID])
					}
					for _, o := range q.Options {
						if o.Votes != votes[q.ID+"/"+o.ID] {
							t.Fatalf("%s: %d votes for %s, want %d", q.ID, o.Votes, o.ID, votes[q.ID+"/"+o.ID])
						}
					}
				}
				slices.SortFunc(plain, bytes.Compare)
				var opened [][]byte
				for p := range c.Opened() {
					opened = append(opened, p)
				}
				if len(plain) != len(opened) || !slices.EqualFunc(plain, opened, bytes.Equal) {
					t.Fatal("the opened ballots are not the plain ones, sorted")
				}
				// In any order.
				r.Shuffle(len(opened), func(x, y int) { opened[x], opened[y] = opened[y], opened[x] })
				again, n, err := tally.Recount(t.Context(), m, each(opened))
				if err != nil || n != valid || !reflect.DeepEqual(again, c.Result.Questions) {
					t.Fatalf("the recount of %d differs: %v", n, err)
				}
				key := tally.NewMultisetKey()
				set := tally.NewMultiset(key)
				for _, p := range opened {
					set.Add(p)
				}
				re, err := tally.Reopen(t.Context(), m, scalar, each(sealed), key, nil)
				if err != nil || re.Ballots != valid+invalid || re.Invalid != invalid || !reflect.DeepEqual(re.Questions, again) || !re.Valid.Equal(set) {
					t.Fatalf("opened again, the ballots are others: %+v, %v", re, err)
				}
			})
		})
	}
}

// broken draws a ballot that must be counted as invalid; nil is none.
func broken(t *rapid.T, m *poll.Manifest) []byte {
	seal := func(plain []byte) []byte {
		s, err := ballot.SealTo(m, plain)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	switch rapid.SampledFrom([]string{"", "", "", "", "noise", "empty", "short", "zeros", "choice"}).Draw(t, "broken") {
	case "noise":
		return rapid.SliceOfN(rapid.Byte(), 1, ballot.SealedSize(m.Ballot.Size)).Draw(t, "noise")
	case "empty":
		return []byte{}
	case "short":
		return make([]byte, 65)
	case "zeros":
		return seal(make([]byte, m.Ballot.Size))
	case "choice":
		plain := make([]byte, m.Ballot.Size)
		n := copy(plain, fmt.Sprintf(`{"v":1,"poll":%q,"answers":[["nobody"],[]]}`, m.ID))
		plain[n] = 0x80
		return seal(plain)
	}
	return nil
}

func TestCountWrongKey(t *testing.T) {
	m, _ := newPoll(t, "hk-2014-06")
	_, other := newPoll(t, "hk-2014-06")
	for _, scalar := range [][]byte{other, nil, make([]byte, 32), bytes.Repeat([]byte{255}, 32)} {
		if _, err := tally.Count(t.Context(), m, nil, scalar, each(nil), nil); !errors.Is(err, tally.ErrWrongKey) {
			t.Errorf("with %d bytes: %v", len(scalar), err)
		}
	}
}

func TestCountStops(t *testing.T) {
	m, scalar := newPoll(t, "hk-2014-06")
	lost := errors.New("disk gone")
	_, err := tally.Count(t.Context(), m, nil, scalar, func(yield func([]byte, error) bool) {
		_ = yield([]byte("x"), nil) && yield(nil, lost)
	}, nil)
	if !errors.Is(err, lost) {
		t.Errorf("reading failed, but: %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err = tally.Count(ctx, m, nil, scalar, func(yield func([]byte, error) bool) {
		for i := 0; yield([]byte("x"), nil); i++ {
			if i == 5000 {
				cancel(enough)
			}
			if i > 10_000_000 {
				t.Error("the count went on")
				return
			}
		}
	}, nil)
	if !errors.Is(err, enough) {
		t.Errorf("stopped, but: %v", err)
	}
}

func TestRecountRefuses(t *testing.T) {
	m, _ := newPoll(t, "hk-2014-06")
	good := []byte(`{"v":1,"poll":"hk-2014-06","answers":[["atd"],[]]}`)
	for _, bad := range []string{
		"", "{}", `{"v":1,"poll":"lunch","answers":[["atd"],[]]}`, `{"v":1,"poll":"hk-2014-06","answers":[["atd"]]}`,
		` {"v":1,"poll":"hk-2014-06","answers":[["atd"],[]]}`, `{"v":1,"poll":"hk-2014-06","answers":[["atd","students"],[]]}`,
		string(good) + "\x80", string(good) + "\x00", string(bytes.Repeat([]byte("x"), 5000)),
	} {
		_, _, err := tally.Recount(t.Context(), m, each([][]byte{good, []byte(bad)}))
		if invalid, ok := errors.AsType[*tally.InvalidBallotError](err); !ok || invalid.Number != 2 {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
}

// The fastest a count goes: ballots/s on all processors.
func BenchmarkCount(b *testing.B) {
	m, scalar := newPoll(b, "hk-2014-06")
	r := rand.New(rand.NewPCG(1, 2))
	sealed := make([][]byte, 2000)
	for i := range sealed {
		s, err := ballot.Seal(m, answers(r, m))
		if err != nil {
			b.Fatal(err)
		}
		sealed[i] = s
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := tally.Count(b.Context(), m, nil, scalar, each(sealed), nil); err != nil {
			b.Fatal(err)
		}
		n += len(sealed)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ballots/s")
}
