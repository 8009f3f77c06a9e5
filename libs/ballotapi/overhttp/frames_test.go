package overhttp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
)

func TestRequestsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, 300)
		want := make([]ballotapi.Ballot, rapid.IntRange(1, 20).Draw(t, "ballots"))
		body := binary.AppendUvarint(nil, uint64(len(want)))
		for i := range want {
			want[i] = ballotapi.Ballot{
				Poll: string(text.Draw(t, "poll")), Sealed: text.Draw(t, "sealed"), Key: string(text.Draw(t, "key")),
				Channel: ballotapi.Channel(text.Draw(t, "channel")), Took: time.Duration(rapid.Int64Min(0).Draw(t, "took")),
			}
			copy(want[i].Voter[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "voter"))
			body = appendBallot(body, &want[i])
		}
		got, err := readBallots(body)
		if err != nil || len(got) != len(want) {
			t.Fatal(len(got), err)
		}
		for i := range want {
			same := got[i].Poll == want[i].Poll && got[i].Voter == want[i].Voter && bytes.Equal(got[i].Sealed, want[i].Sealed) &&
				got[i].Key == want[i].Key && got[i].Channel == want[i].Channel && got[i].Took == want[i].Took
			if !same {
				t.Fatalf("ballot %d came back as another", i)
			}
		}
		if _, err := readBallots(body[:rapid.IntRange(0, len(body)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("half a request was taken")
		}
	})
}

func TestOutcomesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := rapid.SliceOfN(rapid.Byte(), 32, 32)
		n := rapid.IntRange(1, 20).Draw(t, "outcomes")
		var w outcomeWriter
		want := make([]ballotapi.Outcome, n)
		for _, place := range rapid.Permutation(numbers(n)).Draw(t, "order") {
			if rapid.Bool().Draw(t, "receipt") {
				r := &ballotapi.Receipt{
					Code: rapid.String().Draw(t, "code"), Leaf: hash.Draw(t, "leaf"), Index: int64(rapid.IntRange(0, 2000).Draw(t, "index")),
					Path:  rapid.SliceOfN(hash, 0, 10).Draw(t, "path"),
					Batch: rapid.SampledFrom([]string{"a.b.c", "d.e.f", "g.h.i"}).Draw(t, "batch"),
				}
				want[place].Receipt = r
				w.receipt(place, r)
				continue
			}
			p := problem.New(rapid.SampledFrom(problem.Table).Draw(t, "problem").Code)
			p.Field, p.Detail, p.RetryAfter = rapid.String().Draw(t, "field"), rapid.String().Draw(t, "detail"), time.Duration(rapid.Int64Min(0).Draw(t, "after"))
			want[place].Err = p
			w.problem(place, p)
		}
		r := outcomeReader{r: bufio.NewReader(bytes.NewReader(w.buf))}
		for range n {
			place, o, err := r.next(n)
			if err != nil || !reflect.DeepEqual(o, want[place]) {
				t.Fatalf("%+v came back as %+v (%v)", want[place], o, err)
			}
		}
		cut := outcomeReader{r: bufio.NewReader(bytes.NewReader(w.buf[:rapid.IntRange(0, len(w.buf)-1).Draw(t, "cut")]))}
		var err error
		for range n {
			if _, _, err = cut.next(n); err != nil {
				break
			}
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("half an answer ends with %v", err)
		}
	})
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func FuzzReadBallots(f *testing.F) {
	b := vote(1)
	f.Add(appendBallot([]byte{1}, &b))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, body []byte) {
		ballots, err := readBallots(body)
		if err == nil && (len(ballots) == 0 || len(ballots) > maxBallots) {
			t.Errorf("%d ballots", len(ballots))
		}
	})
}

func FuzzReadOutcomes(f *testing.F) {
	var w outcomeWriter
	w.receipt(0, &ballotapi.Receipt{Leaf: make([]byte, 32), Path: [][]byte{make([]byte, 32)}, Batch: "x"})
	w.problem(1, problem.New(problem.AlreadyVoted))
	f.Add(w.buf)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := outcomeReader{r: bufio.NewReader(bytes.NewReader(body))}
		for range 3 {
			place, o, err := r.next(3)
			if err != nil {
				return
			}
			if place < 0 || place > 2 || (o.Receipt == nil) == (o.Err == nil) {
				t.Errorf("place %d, %+v", place, o)
			}
		}
	})
}

func TestTheBudgetIsATenth(t *testing.T) {
	b := newBudget()
	retries := 0
	for range 1000 {
		b.earn()
		for b.spend() {
			retries++
		}
	}
	if retries < 100 || retries > 111 {
		t.Errorf("%d retries of 1,000 requests", retries)
	}
}
