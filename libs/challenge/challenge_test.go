package challenge_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/challenge"
)

var (
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	secret = [32]byte{1, 2, 3}
)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func issuer() *challenge.Issuer { return challenge.NewIssuer(secret, at(noon)) }

func solve(t testing.TB, c challenge.Challenge) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := challenge.Solve(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// document is a payload as loose JSON, for changing.
func document(t testing.TB, payload string) map[string]map[string]any {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]map[string]any
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func payload(t testing.TB, document any) string {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func TestASolvedChallengeIsGoodOnAnyServerUntilItExpires(t *testing.T) {
	c := issuer().Issue(10)
	solved := solve(t, c)
	other := challenge.NewIssuer(secret, at(noon.Add(challenge.TTL-time.Second)))
	id, expires, err := other.Verify(solved)
	if err != nil {
		t.Fatal(err)
	}
	if id != c.Parameters.Nonce || !expires.Equal(noon.Add(challenge.TTL)) {
		t.Errorf("id %q until %v, want %q until %v", id, expires, c.Parameters.Nonce, noon.Add(challenge.TTL))
	}
	late := challenge.NewIssuer(secret, at(noon.Add(challenge.TTL)))
	if _, _, err := late.Verify(solved); !errors.Is(err, challenge.ErrExpired) {
		t.Errorf("at the end: %v, want ErrExpired", err)
	}
}

func TestIdsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		c := issuer().Issue(0)
		id, _, err := issuer().Verify(solve(t, c))
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatal("an id twice")
		}
		seen[id] = true
	}
}

func TestCostZeroIsSolvedAtOnce(t *testing.T) {
	for _, cost := range []int{0, -1} {
		d := document(t, solve(t, issuer().Issue(cost)))
		if d["solution"]["counter"] != 0.0 || d["challenge"]["parameters"].(map[string]any)["cost"] != 1.0 {
			t.Errorf("cost %d: %v", cost, d)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	if got := issuer().Issue(1 << 40).Parameters.Cost; got != challenge.MaxCost {
		t.Errorf("cost %d, want %d", got, challenge.MaxCost)
	}
}

// TestMoreWorkIsNoDearerToCheck: more tries, each shorter; and a puzzle that is multiplied is that much work.
func TestMoreWorkIsNoDearerToCheck(t *testing.T) {
	for _, cost := range []int{0, 1, 100, challenge.DefaultCost, 2000, 10_000, challenge.MaxCost} {
		usual := challenge.Usual(cost)
		for _, n := range []int{1, 2, 4, 8, 16} {
			p := usual.Times(n)
			if p.Iterations > max(usual.Iterations, 3200) {
				t.Errorf("cost %d, %d times: a check takes %d iterations", cost, n, p.Iterations)
			}
			if n > 1 && p.Zeros > usual.Zeros && p.Iterations < 200 {
				t.Errorf("cost %d, %d times: a try is only %d iterations long", cost, n, p.Iterations)
			}
			want := n * usual.Work()
			if cost == 0 {
				want = 1 // no work is none, however often
			}
			if got := p.Work(); got != want {
				t.Errorf("cost %d, %d times: %+v is %d of work, want %d", cost, n, p, got, want)
			}
		}
	}
}

// TestAMultipliedPuzzleIsSolvedAndWorthItsWork.
func TestAMultipliedPuzzleIsSolvedAndWorthItsWork(t *testing.T) {
	for _, p := range []challenge.Puzzle{{Iterations: 3, Zeros: 3}, {Iterations: 20, Zeros: 1}, {Iterations: 1}} {
		c := issuer().Set(p, netip.Prefix{})
		solved, err := issuer().Read(solve(t, c))
		if err == nil {
			err = solved.Check()
		}
		if err != nil || solved.Work() != p.Work() || c.Parameters.KeyPrefix != strings.Repeat("0", p.Zeros) {
			t.Errorf("%+v: %+v is worth %d, want %d: %v", p, c.Parameters, solved.Work(), p.Work(), err)
		}
	}
}

// TestAChallengeKnowsWhoseItIs: on any server with the secret, and nobody reads it out of it.
func TestAChallengeKnowsWhoseItIs(t *testing.T) {
	home, neighbour := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.3.0/24")
	salts := map[string]bool{}
	for range 20 {
		c := issuer().Set(challenge.Usual(1), home)
		solved, err := issuer().Read(solve(t, c))
		if err != nil {
			t.Fatal(err)
		}
		if !solved.SetFor(home) || solved.SetFor(neighbour) || solved.SetFor(netip.Prefix{}) {
			t.Errorf("%+v is its network's %t, its neighbour's %t", c.Parameters, solved.SetFor(home), solved.SetFor(neighbour))
		}
		salts[c.Parameters.Salt[16:]] = true
	}
	if len(salts) != 20 {
		t.Error("two challenges of a network look alike")
	}
	for set, alone := range map[*challenge.Challenge]bool{new(issuer().Set(challenge.Usual(1), home)): false, new(issuer().SetAlone(challenge.Usual(1), home)): true} {
		solved, err := issuer().Read(solve(t, *set))
		if err != nil || !solved.SetFor(home) || solved.Alone(home) != alone || solved.Alone(neighbour) || solved.SetFor(neighbour) {
			t.Errorf("set to be enough alone %t: its network's %t, enough %t: %v", alone, solved.SetFor(home), solved.Alone(home), err)
		}
	}
	solved, err := issuer().Read(solve(t, issuer().Issue(1)))
	if err != nil || solved.SetFor(home) || solved.SetFor(netip.Prefix{}) {
		t.Errorf("one that was set for nobody is somebody's: %v", err)
	}
}

func TestWhatIsNoSolution(t *testing.T) {
	c := issuer().Issue(10)
	solved := solve(t, c)
	change := func(part, member string, value any) string {
		d := document(t, solved)
		d[part][member] = value
		return payload(t, d)
	}
	parameter := func(member string, value any) string {
		d := document(t, solved)
		d["challenge"]["parameters"].(map[string]any)[member] = value
		return payload(t, d)
	}
	derived := document(t, solved)["solution"]["derivedKey"].(string)
	wrongKey := "00" + strings.Repeat("ab", 31)
	for name, text := range map[string]string{
		"empty":                       "",
		"no base64":                   "{}",
		"no JSON":                     base64.StdEncoding.EncodeToString([]byte("x")),
		"null":                        base64.StdEncoding.EncodeToString([]byte("null")),
		"another JSON value":          base64.StdEncoding.EncodeToString([]byte("[1]")),
		"too long":                    solved + strings.Repeat(" ", 4096),
		"another counter":             change("solution", "counter", 1e9),
		"a negative counter":          change("solution", "counter", -1),
		"a counter beyond 32 bits":    change("solution", "counter", 1<<32),
		"another key":                 change("solution", "derivedKey", wrongKey),
		"a key without its prefix":    change("solution", "derivedKey", "01"+derived[2:]),
		"a short key":                 change("solution", "derivedKey", derived[:62]),
		"a key in upper case":         change("solution", "derivedKey", strings.ToUpper(derived[:2])+"AB"+derived[4:]),
		"no signature":                change("challenge", "signature", ""),
		"another signature":           change("challenge", "signature", strings.Repeat("0", 64)),
		"a lower cost":                parameter("cost", 1),
		"no prefix":                   parameter("keyPrefix", ""),
		"a later end":                 parameter("expiresAt", noon.Add(time.Hour).Unix()),
		"another salt":                parameter("salt", strings.Repeat("0", 32)),
		"another nonce":               parameter("nonce", strings.Repeat("0", 32)),
		"another algorithm":           parameter("algorithm", "SHA-256"),
		"a shorter key asked for":     parameter("keyLength", 1),
		"the challenge, not solved":   payload(t, map[string]any{"challenge": c}),
		"the challenge of a stranger": solve(t, challenge.NewIssuer([32]byte{9}, at(noon)).Issue(0)),
	} {
		if id, _, err := issuer().Verify(text); !errors.Is(err, challenge.ErrInvalid) || id != "" {
			t.Errorf("%s: %q, %v; want ErrInvalid", name, id, err)
		}
	}
}

// A counter that gives another key than one with the prefix is no work, even told honestly. (ALTCHA's
// own check takes it.)
func TestAnHonestKeyWithoutThePrefixIsNoWork(t *testing.T) {
	var d map[string]map[string]any
	for {
		c := issuer().Issue(1)
		easy := c
		easy.Parameters.KeyPrefix = ""
		d = document(t, solve(t, easy)) // counter 0, and its true key
		d["challenge"]["parameters"].(map[string]any)["keyPrefix"] = c.Parameters.KeyPrefix
		if !strings.HasPrefix(d["solution"]["derivedKey"].(string), c.Parameters.KeyPrefix) {
			break // one challenge in 256 is solved by counter 0
		}
	}
	if _, _, err := issuer().Verify(payload(t, d)); !errors.Is(err, challenge.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}

func TestMapIsTheSameJSON(t *testing.T) {
	p := issuer().Issue(7).Parameters
	one, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(p.Map())
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(other) {
		t.Errorf("%s, want %s", other, one)
	}
}

func TestSolvingStopsWithItsContext(t *testing.T) {
	c := issuer().Issue(1)
	c.Parameters.KeyPrefix = strings.Repeat("0", 64)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := challenge.Solve(ctx, text); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestSolvingWhatIsNoChallenge(t *testing.T) {
	for _, text := range []string{``, `x`, `{}`, `{"parameters":{"algorithm":"ARGON2ID","cost":1,"keyLength":32}}`, `{"parameters":{"algorithm":"PBKDF2/SHA-256","cost":1,"keyLength":32,"nonce":"xy"}}`} {
		if _, err := challenge.Solve(context.Background(), []byte(text)); err == nil {
			t.Errorf("%s: solved", text)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := issuer()
	f.Add(solve(f, i.Issue(0)))
	f.Add(payload(f, map[string]any{"challenge": i.Issue(1), "solution": map[string]any{"counter": 0, "derivedKey": strings.Repeat("0", 64)}}))
	f.Add("")
	f.Add("bnVsbA==")
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"challenge":{"parameters":{"cost":1e99}}}`)))
	f.Fuzz(func(t *testing.T, text string) {
		id, _, err := i.Verify(text)
		if err != nil && !errors.Is(err, challenge.ErrInvalid) && !errors.Is(err, challenge.ErrExpired) {
			t.Fatalf("another error: %v", err)
		}
		if nonce, bad := hex.DecodeString(id); err == nil && (bad != nil || len(nonce) != 16) {
			t.Fatalf("id %q", id)
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	i := issuer()
	b.ReportAllocs()
	for b.Loop() {
		i.Issue(challenge.DefaultCost)
	}
}

func BenchmarkVerify(b *testing.B) {
	usual := challenge.Usual(2000)
	for name, puzzle := range map[string]challenge.Puzzle{
		"no work": challenge.Usual(0), "times=1": usual, "times=2": usual.Times(2), "times=4": usual.Times(4), "times=8": usual.Times(8),
	} {
		b.Run(name, func(b *testing.B) {
			i := issuer()
			solved := solve(b, i.Set(puzzle, netip.Prefix{}))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := i.Verify(solved); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("junk", func(b *testing.B) {
		i := issuer()
		junk := solve(b, challenge.NewIssuer([32]byte{9}, at(noon)).Issue(0))
		for b.Loop() {
			if _, _, err := i.Verify(junk); err == nil {
				b.Fatal("junk is taken")
			}
		}
	})
}

func BenchmarkSolve(b *testing.B) {
	for b.Loop() {
		solve(b, issuer().Issue(challenge.DefaultCost))
	}
}
