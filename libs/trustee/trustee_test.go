package trustee_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/trustee"
)

// Any k of n shares, in any order, give the key back; k-1 never do.
func TestAnyKofN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		scalar, public, err := trustee.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		shares, err := trustee.Split(scalar, k, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shares {
			if s.KeyID != public.Kid {
				t.Fatalf("share %d names key %s, not %s", s.Index, s.KeyID, public.Kid)
			}
		}
		some := rapid.Permutation(shares).Draw(t, "order")
		m := rapid.IntRange(k, n).Draw(t, "given")
		got, err := trustee.Combine(some[:m])
		if err != nil || !bytes.Equal(got, scalar) {
			t.Fatalf("%d of %d shares (k=%d): %v", m, n, k, err)
		}
		if k == 1 {
			return
		}
		_, err = trustee.Combine(append(some[:k-1:k-1], some[0])) // one twice is still one
		few, ok := errors.AsType[*trustee.TooFewError](err)
		if !ok || few.Have != k-1 || few.Need != k {
			t.Fatalf("%d shares, k=%d: %v", k-1, k, err)
		}
	})
}

// Whatever is changed in a share, it is that share that is named.
func TestWrongShareIsNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 7).Draw(t, "n")
		k := rapid.IntRange(2, n-1).Draw(t, "k")
		scalar, _, err := trustee.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		shares, err := trustee.Split(scalar, k, n)
		if err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, n-1).Draw(t, "which")
		s := &shares[i]
		switch rapid.SampledFrom([]string{"value", "check", "k", "short"}).Draw(t, "what") {
		case "value":
			s.Value = bytes.Clone(s.Value)
			s.Value[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "check":
			s.Check = slices.Clone(s.Check)
			j := rapid.IntRange(0, k-1).Draw(t, "commitment")
			s.Check[j] = bytes.Clone(s.Check[j])
			s.Check[j][rapid.IntRange(0, 32).Draw(t, "byte")] ^= 1
		case "k":
			s.K--
		case "short":
			s.Value = s.Value[:31]
		}
		_, err = trustee.Combine(shares)
		wrong, ok := errors.AsType[*trustee.WrongShareError](err)
		if !ok || wrong.Index != i+1 {
			t.Fatalf("changed share %d, but: %v", i+1, err)
		}
		if _, err := trustee.Combine(append(shares[:i:i], shares[i+1:]...)); err != nil {
			t.Fatalf("without it: %v", err)
		}
	})
}

func TestSharesOfTwoSplits(t *testing.T) {
	scalar, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, errA := trustee.Split(scalar, 2, 3)
	b, errB := trustee.Split(scalar, 2, 3)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	_, err = trustee.Combine([]trustee.Share{a[0], b[1], a[2]})
	if wrong, ok := errors.AsType[*trustee.WrongShareError](err); !ok || wrong.Index != 2 {
		t.Errorf("two against one: %v", err)
	}
	if _, err = trustee.Combine([]trustee.Share{a[0], b[1]}); err == nil || !strings.Contains(err.Error(), "not handed out together") {
		t.Errorf("one against one: %v", err)
	}
	other, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := trustee.Split(other, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trustee.Combine([]trustee.Share{a[0], c[1]}); !errors.Is(err, trustee.ErrDifferentKeys) {
		t.Errorf("two keys: %v", err)
	}
}

func TestSplitBounds(t *testing.T) {
	scalar, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, kn := range [][2]int{{0, 1}, {2, 1}, {1, 0}, {-1, 3}, {2, trustee.MaxShares + 1}} {
		if _, err := trustee.Split(scalar, kn[0], kn[1]); err == nil {
			t.Errorf("split into %d of %d", kn[0], kn[1])
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 32), scalar[:31], bytes.Repeat([]byte{255}, 32)} {
		if _, err := trustee.Split(bad, 1, 1); err == nil {
			t.Errorf("split %x", bad)
		}
	}
	if _, err := trustee.Combine(nil); err == nil {
		t.Error("combined nothing")
	}
}

func TestShareFile(t *testing.T) {
	scalar, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	shares, err := trustee.Split(scalar, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "share-1.json")
	if err := shares[0].WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := shares[1].WriteFile(path); err == nil {
		t.Error("overwrote a share")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	back, err := trustee.ReadShare(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := trustee.Combine([]trustee.Share{back, shares[1]}); err != nil || !bytes.Equal(got, scalar) {
		t.Error("couldn't combine what was read back:", err)
	}
	for _, bad := range []string{"", "{}x", string(data[:len(data)/2]), string(data) + "{}", strings.Replace(string(data), `"k"`, `"kk"`, 1), strings.Repeat(" ", 1<<17)} {
		if s, err := trustee.ReadShare(strings.NewReader(bad)); err == nil {
			t.Errorf("read %+v from %.40q", s, bad)
		}
	}
}

// A share that lands in a message or a log says which it is, never what it holds.
func TestShareHidesItsValue(t *testing.T) {
	scalar, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	shares, err := trustee.Split(scalar, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := json.Marshal(shares[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"%v", "%+v", "%s", "%#v"} {
		out := fmt.Sprintf(f, shares[0]) + fmt.Sprintf(f, shares[0].Value)
		if strings.Contains(out, strings.Trim(string(secret), `"`)) || strings.Contains(out, fmt.Sprint([]byte(shares[0].Value))) {
			t.Errorf("%s: %s", f, out)
		}
	}
}

func TestKeyFile(t *testing.T) {
	scalar, public, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := trustee.MarshalKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	back, same, err := trustee.ReadKey(bytes.NewReader(data))
	if err != nil || !bytes.Equal(back, scalar) || same != public {
		t.Errorf("read back %v: %v", same, err)
	}
	_, other, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "null", string(data) + "x",
		strings.Replace(string(data), public.X, other.X, 1),
		strings.Replace(string(data), public.Kid, other.Kid, 1),
		strings.Replace(string(data), `"d": "`, `"d": "AA`, 1),
	} {
		_, _, err := trustee.ReadKey(strings.NewReader(bad))
		if err == nil {
			t.Errorf("read a key from %q", bad)
		} else if d := strings.Split(string(data), `"d": "`)[1]; strings.Contains(err.Error(), d[:40]) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}
