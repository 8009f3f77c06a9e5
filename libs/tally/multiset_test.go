package tally_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/tally"
)

// Two multisets are equal exactly if, sorted, they are the same list.
func TestAMultisetIsItsSortedList(t *testing.T) {
	list := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "ab"}), 0, 6)
	rapid.Check(t, func(t *rapid.T) {
		key := tally.NewMultisetKey()
		a, b := list.Draw(t, "a"), list.Draw(t, "b")
		if rapid.Bool().Draw(t, "the same") {
			b = slices.Clone(a)
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			r.Shuffle(len(b), func(x, y int) { b[x], b[y] = b[y], b[x] })
		}
		of := func(list []string) *tally.Multiset {
			// In two parts, as two workers would.
			cut := rapid.IntRange(0, len(list)).Draw(t, "cut")
			one, two := tally.NewMultiset(key), tally.NewMultiset(key)
			for i, s := range list {
				if i < cut {
					one.Add([]byte(s))
				} else {
					two.Add([]byte(s))
				}
			}
			one.Merge(two)
			return one
		}
		setA, setB := of(a), of(b)
		slices.Sort(a)
		slices.Sort(b)
		if got, want := setA.Equal(setB), slices.Equal(a, b); got != want {
			t.Fatalf("%q and %q: equal %t", a, b, got)
		}
		if setA.Len() != int64(len(a)) {
			t.Fatalf("%d things, want %d", setA.Len(), len(a))
		}
		if setA.Equal(tally.NewMultiset(tally.NewMultisetKey())) {
			t.Fatal("sums under two keys were compared")
		}
	})
}
