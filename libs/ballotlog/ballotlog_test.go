package ballotlog_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/ballotlog/logtest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func verifier(t testing.TB, l *logtest.Log) ballotlog.Verifier {
	t.Helper()
	trust := ballotlog.Trust{Poll: logtest.Poll, LogKey: l.Key}
	v, err := trust.Verifier()
	return must(t, v, err)
}

func site(t testing.TB, l *logtest.Log) *ballotlog.Site {
	t.Helper()
	s, err := ballotlog.API(l.URL, logtest.Poll, http.DefaultClient)
	return must(t, s, err)
}

// TestEveryLeafIsProved: whatever the size and the leaf, the proof leads to the root; a leaf that is not
// there has none.
func TestEveryLeafIsProved(t *testing.T) {
	l := logtest.New(t)
	src := site(t, l)
	chance := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int64{1, 2, 255, 256, 257, 700, 66_000} {
		l.Grow("true", size)
		tree := l.Tree()
		for _, index := range []int64{0, size / 2, size - 1, chance.Int64N(size)} {
			path, leaf, err := ballotlog.Prove(t.Context(), src, tree, index)
			if err != nil {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
			if leaf != logtest.Leaf("true", index) {
				t.Errorf("leaf %d of %d is another", index, size)
			}
			if err := tlog.CheckRecord(path, size, tree.Hash, index, leaf); err != nil {
				t.Errorf("leaf %d of %d: %v", index, size, err)
			}
		}
		for _, index := range []int64{-1, size} {
			if _, _, err := ballotlog.Prove(t.Context(), src, tree, index); err == nil {
				t.Errorf("leaf %d of %d was proved", index, size)
			}
		}
	}
}

// TestCosignaturesAreThoseOfC2SP takes a cosignature apart by the specification's own words.
func TestCosignaturesAreThoseOfC2SP(t *testing.T) {
	l := logtest.New(t)
	l.Grow("true", 300)
	c, err := ballotlog.NewCosigner("witness.example/1", func() time.Time { return noon })
	must(t, c, err)
	checkpoint, err := ballotlog.Open(l.Checkpoint(), verifier(t, l))
	must(t, checkpoint, err)
	signed, err := c.Cosign(checkpoint)
	must(t, signed, err)

	text, lines, _ := strings.Cut(string(signed), "\n\n")
	var line string
	for each := range strings.Lines(lines) {
		if rest, ok := strings.CutPrefix(each, "— witness.example/1 "); ok {
			line = rest
		}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || len(raw) != 4+8+64 {
		t.Fatalf("the signature line is %q", line)
	}
	vkey := strings.SplitN(c.VerifierKey(), "+", 3)
	public, err := base64.StdEncoding.DecodeString(vkey[2])
	if err != nil || len(public) != 33 || public[0] != 4 {
		t.Fatalf("the verifier key is %q", c.VerifierKey())
	}
	id := sha256.Sum256(append([]byte("witness.example/1\n\x04"), public[1:]...))
	if string(raw[:4]) != string(id[:4]) || vkey[1] != fmt.Sprintf("%x", id[:4]) {
		t.Error("the key id is another")
	}
	if at := binary.BigEndian.Uint64(raw[4:]); at != uint64(noon.Unix()) {
		t.Errorf("the time is %d", at)
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s\n", noon.Unix(), text)
	if !ed25519.Verify(public[1:], []byte(message), raw[12:]) {
		t.Error("the signature does not hold")
	}
	if !strings.Contains(lines, "— popvote/lunch ") {
		t.Error("the log's own signature is gone")
	}

	// Cosigned again, it has one cosignature, the newer.
	again, err := ballotlog.Open(signed, verifier(t, l))
	must(t, again, err)
	noon := noon.Add(time.Hour)
	later, err := ballotlog.ParseCosigner(c.PrivateKey()+"\n", func() time.Time { return noon })
	must(t, later, err)
	signed, err = later.Cosign(again)
	must(t, signed, err)
	if strings.Count(string(signed), "— ") != 2 {
		t.Errorf("cosigned twice:\n%s", signed)
	}
	public2, err := ballotlog.NewCosignatureVerifier(c.VerifierKey())
	must(t, public2, err)
	last, err := ballotlog.Open(signed, verifier(t, l), public2)
	must(t, last, err)
	if at, err := public2.Time(last); err != nil || !at.Equal(noon) {
		t.Errorf("the newer cosignature is of %s: %v", at, err)
	}
}

func TestAMissingOrForgedCosignatureIsSeen(t *testing.T) {
	l := logtest.New(t)
	l.Grow("true", 3)
	honest, err := ballotlog.NewCosigner("w/1", func() time.Time { return noon })
	must(t, honest, err)
	// Of the same name, with another key.
	forger, err := ballotlog.NewCosigner("w/1", func() time.Time { return noon })
	must(t, forger, err)
	checkpoint, err := ballotlog.Open(l.Checkpoint(), verifier(t, l))
	must(t, checkpoint, err)
	forged, err := forger.Cosign(checkpoint)
	must(t, forged, err)
	good, err := honest.Cosign(checkpoint)
	must(t, good, err)
	for name, signed := range map[string][]byte{
		"no cosignature":  l.Checkpoint(),
		"another's":       forged,
		"a changed one":   []byte(strings.Replace(string(good), "— w/1 "+lineOf(good, "w/1")[:8], "— w/1 AAAA"+lineOf(good, "w/1")[4:8], 1)),
		"without the log": []byte(strings.Replace(string(good), "— popvote/lunch", "— popvote/dinner", 1)),
	} {
		if _, err := ballotlog.Open(signed, verifier(t, l), honest.Verifier()); !errors.Is(err, ballotlog.ErrNotGenuine) {
			t.Errorf("%s: %v", name, err)
		}
	}
	opened, err := ballotlog.Open(good, verifier(t, l), honest.Verifier())
	must(t, opened, err)
}

func lineOf(signed []byte, name string) string {
	_, rest, _ := strings.Cut(string(signed), "— "+name+" ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func TestKeysThatAreNone(t *testing.T) {
	c, err := ballotlog.NewCosigner("w/1", time.Now)
	must(t, c, err)
	for _, name := range []string{"", "a b", "a+b", "a\nb"} {
		if _, err := ballotlog.NewCosigner(name, time.Now); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
	private, public := c.PrivateKey(), c.VerifierKey()
	for _, text := range []string{"", "x", public, private[:len(private)-4], strings.Replace(private, "w/1", "w/2", 1), strings.Replace(private, "+B", "+C", 1)} {
		if _, err := ballotlog.ParseCosigner(text, time.Now); err == nil {
			t.Error("a broken private key was taken")
		}
	}
	for _, text := range []string{"", "x", private, public[:len(public)-4], strings.Replace(public, "w/1", "w/2", 1)} {
		if _, err := ballotlog.NewCosignatureVerifier(text); err == nil {
			t.Errorf("%q was taken for a verifier key", text)
		}
	}
}

func TestManifests(t *testing.T) {
	l := logtest.New(t)
	good, err := site(t, l).Manifest(t.Context())
	must(t, good, err)
	for _, pin := range []string{"", l.SigningKey.Kid} {
		trust, err := ballotlog.ReadManifest(good, logtest.Poll, pin)
		if err != nil || trust.LogKey != l.Key || trust.SigningKey != l.SigningKey {
			t.Errorf("pinned to %q: %v %v", pin, trust, err)
		}
	}
	other := logtest.New(t)
	for name, read := range map[string]func() (*ballotlog.Trust, error){
		"another poll's": func() (*ballotlog.Trust, error) { return ballotlog.ReadManifest(good, "dinner", "") },
		"another key's": func() (*ballotlog.Trust, error) {
			return ballotlog.ReadManifest(good, logtest.Poll, other.SigningKey.Kid)
		},
		"a changed one": func() (*ballotlog.Trust, error) {
			return ballotlog.ReadManifest([]byte(strings.Replace(string(good), `"jws":"ey`, `"jws":"eY`, 1)), logtest.Poll, "")
		},
		"nothing": func() (*ballotlog.Trust, error) { return ballotlog.ReadManifest(nil, logtest.Poll, "") },
		"a page":  func() (*ballotlog.Trust, error) { return ballotlog.ReadManifest([]byte("<html>"), logtest.Poll, "") },
	} {
		if _, err := read(); !errors.Is(err, ballotlog.ErrNotGenuine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestABusyServerIsAskedAgain, and a static log that dropped a partial tile is asked for the whole one.
func TestABusyServerIsAskedAgain(t *testing.T) {
	l := logtest.New(t)
	l.Grow("true", 300)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case asked == 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case r.URL.Path == "/tile/0/000":
			_, _ = w.Write(l.Tile("0/000"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	static, err := ballotlog.Static(server.URL, http.DefaultClient)
	must(t, static, err)
	data, err := static.Tile(t.Context(), "0/000")
	if err != nil || len(data) != 256*32 || asked != 2 {
		t.Fatalf("%d bytes after %d requests: %v", len(data), asked, err)
	}
	if _, err := static.Tile(t.Context(), "0/001"); !errors.Is(err, ballotlog.ErrNoTile) {
		t.Errorf("a tile that is not there: %v", err)
	}
	// A tree of 100 of the 300: its partial tile is gone, the whole one is there.
	small := logtest.New(t)
	small.Grow("true", 100)
	if err := ballotlog.Edge(t.Context(), static, small.Tree()); err != nil {
		t.Errorf("a dropped partial tile: %v", err)
	}
	if err := ballotlog.Edge(t.Context(), static, l.Tree()); !errors.Is(err, ballotlog.ErrNoTile) || errors.Is(err, ballotlog.ErrTampered) {
		t.Errorf("missing tiles: %v", err)
	}
}

// TestConsistency: any honest pair of sizes is consistent, any pair of which one was rewritten is not.
func TestConsistency(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := logtest.New(t)
		src := site(t, l)
		small := rapid.Int64Range(0, 600).Draw(rt, "small")
		large := small + rapid.Int64Range(0, 600).Draw(rt, "more")
		l.Grow("true", small)
		before := l.Tree()
		l.Grow("true", large)
		if err := ballotlog.Consistent(t.Context(), src, before, l.Tree()); err != nil {
			rt.Fatalf("from %d to %d: %v", small, large, err)
		}
		if small == 0 {
			return
		}
		keep := rapid.Int64Range(0, small-1).Draw(rt, "keep")
		l.Rewrite("false", keep, large)
		if err := ballotlog.Consistent(t.Context(), src, before, l.Tree()); !errors.Is(err, ballotlog.ErrFork) {
			rt.Fatalf("from %d to %d, rewritten from %d on: %v", small, large, keep, err)
		}
	})
}
