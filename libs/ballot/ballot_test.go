package ballot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// polls draws small polls of every shape, as a poll file may hold them.
var polls = rapid.Custom(func(t *rapid.T) *poll.Manifest {
	// Few letters make ids that contain one another; "é" is no id, so nothing here needs escaping.
	id := rapid.StringMatching(`[ab0][ab0-]{0,39}`)
	m := &poll.Manifest{ID: id.Draw(t, "poll")}
	for q := range rapid.IntRange(1, 4).Draw(t, "questions") {
		question := poll.Question{ID: fmt.Sprint("q", q)}
		choices := 0
		for _, o := range rapid.SliceOfNDistinct(id, 2, 6, rapid.ID[string]).Draw(t, "options") {
			kind := rapid.SampledFrom([]poll.OptionKind{poll.Choice, poll.Choice, poll.Choice, poll.Abstain, poll.Blank}).Draw(t, "kind")
			if kind == poll.Choice {
				choices++
			}
			question.Options = append(question.Options, poll.Option{ID: o, Kind: kind})
		}
		question.Max = rapid.IntRange(1, max(1, choices)).Draw(t, "max")
		question.Min = rapid.IntRange(0, min(question.Max, choices)).Draw(t, "min")
		m.Questions = append(m.Questions, question)
	}
	m.Ballot.Size = ballot.Size(&poll.Definition{ID: m.ID, Questions: m.Questions})
	return m
})

// valid draws answers that the poll allows, in any order.
func valid(t *rapid.T, m *poll.Manifest) ballot.Answers {
	var a ballot.Answers
	for _, q := range m.Questions {
		var choices, alone []string
		for _, o := range q.Options {
			if o.Kind == poll.Choice {
				choices = append(choices, o.ID)
			} else {
				alone = append(alone, o.ID)
			}
		}
		if len(alone) > 0 && rapid.Bool().Draw(t, "alone") {
			a = append(a, []string{rapid.SampledFrom(alone).Draw(t, "option")})
			continue
		}
		n := rapid.IntRange(q.Min, min(q.Max, len(choices))).Draw(t, "picks")
		if n == 0 {
			a = append(a, []string{})
			continue
		}
		a = append(a, slices.Clone(rapid.Permutation(choices).Draw(t, "choices")[:n]))
	}
	return a
}

func TestEveryValidBallotComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := polls.Draw(t, "poll")
		a := valid(t, m)
		plain, err := ballot.Encode(m, a)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) != m.Ballot.Size || len(plain)%64 != 0 {
			t.Fatalf("%d bytes, want %d", len(plain), m.Ballot.Size)
		}
		got, err := ballot.Decode(m, plain)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a {
			slices.Sort(a[i])
			slices.Sort(got[i])
			if !slices.Equal(a[i], got[i]) {
				t.Fatalf("%v came back as %v", a, got)
			}
		}
	})
}

// The size holds every valid ballot, and is the least that does: this tries all of them.
func TestSizeIsTheLeastThatHoldsTheLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := polls.Draw(t, "poll")
		roomy := *m
		roomy.Ballot.Size = 1 << 14
		longest := make([]int, len(m.Questions))
		for i := range m.Questions {
			one := roomy
			one.Questions = m.Questions[i : i+1]
			options := one.Questions[0].Options
			longest[i] = -1
			for set := range 1 << len(options) {
				picks := []string{}
				for o := range options {
					if set&(1<<o) != 0 {
						picks = append(picks, options[o].ID)
					}
				}
				if ballot.Validate(&one, ballot.Answers{picks}) == nil {
					text, err := json.Marshal(picks)
					if err != nil {
						t.Fatal(err)
					}
					longest[i] = max(longest[i], len(text))
				}
			}
			if longest[i] < 0 {
				t.Fatalf("no answer to %+v is valid", one.Questions[0])
			}
		}
		text := len(`{"v":1,"poll":"","answers":[]}`) + len(m.ID) + len(m.Questions) - 1
		for _, n := range longest {
			text += n
		}
		if want := (text + 1 + 63) / 64 * 64; m.Ballot.Size != want {
			t.Fatalf("size %d, want %d: the longest ballot has %d bytes", m.Ballot.Size, want, text)
		}
	})
}

func TestABallotThatDoesNotFitIsRefused(t *testing.T) {
	m := testManifest(t)
	m.Ballot.Size = 64
	if _, err := ballot.Encode(m, ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}}); err == nil || errors.Is(err, ballot.ErrInvalid) {
		t.Errorf("%v: the manifest is at fault, not the ballot", err)
	}
}

func TestSealedBallots(t *testing.T) {
	m := testManifest(t)
	a := ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}}
	opener, err := ballot.NewOpener(m.ID, scalar("tally"))
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		sealed, err := ballot.Seal(m, a)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != ballot.SealedSize(m.Ballot.Size) {
			t.Errorf("%d bytes, want %d", len(sealed), ballot.SealedSize(m.Ballot.Size))
		}
		if bytes.Equal(sealed, first) {
			t.Error("two sealings are alike")
		}
		first = sealed
		plain, err := opener.Open(sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ballot.Decode(m, plain); err != nil || fmt.Sprint(got) != fmt.Sprint(a) {
			t.Errorf("%v came back as %v, %v", a, got, err)
		}
		for i := range sealed {
			sealed[i] ^= 0x10
			if _, err := opener.Open(sealed); !errors.Is(err, ballot.ErrSealed) {
				t.Fatalf("byte %d changed: %v, want ErrSealed", i, err)
			}
			sealed[i] ^= 0x10
		}
	}
	for name, o := range map[string]struct {
		poll string
		key  []byte
	}{"another poll": {"lunch", scalar("tally")}, "another key": {m.ID, scalar("other")}} {
		opener, err := ballot.NewOpener(o.poll, o.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := opener.Open(first); !errors.Is(err, ballot.ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
}

func TestBadKeys(t *testing.T) {
	for name, key := range map[string][]byte{
		"empty": nil, "short": make([]byte, 31), "zero": make([]byte, 32), "beyond the group's order": bytes.Repeat([]byte{255}, 32),
	} {
		if _, err := ballot.NewOpener("lunch", key); err == nil {
			t.Errorf("%s: taken for a private key", name)
		}
	}
	m := testManifest(t)
	m.Ballot.TallyKey.Kid = "another"
	if _, err := ballot.SealTo(m, []byte("x")); err == nil {
		t.Error("sealed to a key whose kid is not its thumbprint")
	}
}

func TestLeavesAndCodes(t *testing.T) {
	// printf '\0lunch\0sealed' | sha256sum
	leaf := ballot.Leaf("lunch", []byte("sealed"))
	if got := fmt.Sprintf("%x", leaf); got != leafVector {
		t.Errorf("leaf %s, want %s", got, leafVector)
	}
	// The poll's id ends where it ends.
	if ballot.Leaf("lunc", []byte("hsealed")) == leaf || ballot.Leaf("lunch-2", []byte("sealed")) == leaf {
		t.Error("two polls, one leaf")
	}
	for bits, want := range map[[32]byte]string{
		{}:                                "0000 0000 0000 0000",
		{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}:    "0000 0000 0000 0001",
		{0xf8}:                            "Z000 0000 0000 0000",
		{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}: "0000 0000 0000 0000",
		// 0x00443214c74254b635cf is the numbers 0 to 15 in five bits each.
		{0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf}: "0123 4567 89AB CDEF",
		// And this is 16 to 31: no I, L, O or U.
		{0x84, 0x65, 0x3a, 0x56, 0xd7, 0xc6, 0x75, 0xbe, 0x77, 0xdf}: "GHJK MNPQ RSTV WXYZ",
	} {
		if got := ballot.Code(bits); got != want {
			t.Errorf("%x: %s, want %s", bits[:11], got, want)
		}
	}
}

func TestCodesAreReadAsPeopleTypeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaf := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "leaf"))
		code := ballot.Code(leaf)
		for _, typed := range []string{
			code, strings.ToLower(code), strings.ReplaceAll(code, " ", ""), strings.ReplaceAll(code, " ", "-"), "  " + code + " ",
			strings.ReplaceAll(code, "0", "o"), strings.ReplaceAll(code, "1", "I"), strings.ReplaceAll(code, "1", "l"),
		} {
			begin, ok := ballot.ParseCode(typed)
			if !ok || begin != [ballot.CodeSize]byte(leaf[:]) {
				t.Fatalf("%q is read as %x, %v; want the beginning of %x", typed, begin, ok, leaf)
			}
		}
		for _, typed := range []string{"", code[:18], code + "0", code[:18] + "U", code[:18] + "=", code + "\n", code[:18] + "\n", "é" + code[1:]} {
			if _, ok := ballot.ParseCode(typed); ok {
				t.Fatalf("%q is read as a code", typed)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	m := testManifest(f)
	plain, err := ballot.Encode(m, ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(bytes.Repeat([]byte{0x80}, len(plain)))
	f.Add(make([]byte, len(plain)))
	f.Add([]byte{})
	f.Add(append([]byte(`{"v":1,"poll":"vectors-2026","answers":null}`+"\x80"), make([]byte, len(plain)-45)...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		a, err := ballot.Decode(m, plain)
		if err != nil {
			if !errors.Is(err, ballot.ErrInvalid) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if again, err := ballot.Encode(m, a); err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("%v has two spellings", a)
		}
	})
}

func FuzzOpenSealed(f *testing.F) {
	m := testManifest(f)
	opener, err := ballot.NewOpener(m.ID, scalar("tally"))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := ballot.Seal(m, ballot.Answers{{"abstain"}, {"abstain"}, {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:65])
	f.Add(bytes.Repeat([]byte{4}, len(sealed)))
	f.Add([]byte(strings.Repeat("\x00", 81)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := opener.Open(b); err != nil && (plain != nil || !errors.Is(err, ballot.ErrSealed)) {
			t.Fatalf("%x, %v", plain, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	m := testManifest(b)
	a := ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ballot.Seal(m, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	m := testManifest(b)
	opener, err := ballot.NewOpener(m.ID, scalar("tally"))
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := ballot.Seal(m, ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		plain, err := opener.Open(sealed)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ballot.Decode(m, plain); err != nil {
			b.Fatal(err)
		}
	}
}

const leafVector = "668b8ecfda989d5a1f228d70ccb2e566d5bf7afb23dcb58b45340b386562395a"
