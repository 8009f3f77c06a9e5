package token_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

// ring is a key ring in memory: version to key byte.
type ring struct {
	sealing int
	keys    map[int]byte
}

func (r ring) Sealing() (int, cipher.AEAD, error) { return r.sealing, aead(r.keys[r.sealing]), nil }

func (r ring) Opening(version int) (cipher.AEAD, error) {
	b, ok := r.keys[version]
	if !ok {
		return nil, keyring.ErrUnknownVersion
	}
	return aead(b), nil
}

func aead(b byte) cipher.AEAD {
	block, err := aes.NewCipher([]byte(strings.Repeat(string(rune(b)), 32)))
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

var (
	noon    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	keys    = ring{sealing: 2, keys: map[int]byte{1: 'a', 2: 'b'}}
	session = token.Session{
		ID:      "q83vEjRWeJCrze8SNFZ4kA",
		Poll:    "hk-2014-06",
		Step:    token.Identified,
		Voter:   identity.VoterTag{1, 2, 3},
		Phone:   identity.PhoneTag{4, 5, 6},
		Channel: "web",
		Lang:    "zh-Hant-HK",
		Started: noon,
		Expires: noon.Add(3 * time.Minute),
		Await:   verification.Key{7, 8, 9},
	}
)

func seal(t testing.TB, c *token.Codec, s token.Session) string {
	t.Helper()
	text, err := c.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEverySessionComesBack(t *testing.T) {
	c := token.NewCodec(keys)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, 40)
		array := rapid.SliceOfN(rapid.Byte(), 32, 32)
		s := token.Session{
			ID:          text.Draw(t, "id"),
			Poll:        rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,39}`).Draw(t, "poll"),
			Step:        rapid.SampledFrom([]token.Step{token.Identified, token.Verified}).Draw(t, "step"),
			Voter:       identity.VoterTag(array.Draw(t, "voter")),
			Phone:       identity.PhoneTag(array.Draw(t, "phone")),
			Channel:     text.Draw(t, "channel"),
			Lang:        text.Draw(t, "lang"),
			Started:     noon.Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "started"))),
			Expires:     noon.Add(time.Hour),
			Await:       verification.Key(array.Draw(t, "await")),
			SealedPhone: text.Draw(t, "sealed phone"),
		}
		sealed, err := c.Seal(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Open(sealed, noon)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("%q, %+v, %v … came back as another: %q, %+v, %v", s.ID, s.Await, s.Started, got.ID, got.Await, got.Started)
		}
	})
}

func TestTheLongestTokenFitsTheAPI(t *testing.T) {
	s := session
	s.Poll = strings.Repeat("p", 40)
	s.SealedPhone = "+" + strings.Repeat("9", 15)
	s.Channel = "station"
	s.Started = time.Date(2026, 11, 22, 20, 0, 0, 123456789, time.FixedZone("", 8*3600))
	s.Expires = s.Started.Add(2 * time.Hour)
	c := token.NewCodec(ring{sealing: 999_999_999, keys: map[int]byte{999_999_999: 'z'}})
	text := seal(t, c, s)
	if len(text) > 1024 {
		t.Errorf("the longest token has %d bytes", len(text))
	}
	if _, err := c.Open(text, noon); err != nil {
		t.Error(err)
	}
}

func TestATokenOpensUntilItExpires(t *testing.T) {
	c := token.NewCodec(keys)
	text := seal(t, c, session)
	if _, err := c.Open(text, session.Expires.Add(-time.Nanosecond)); err != nil {
		t.Errorf("just before: %v", err)
	}
	if _, err := c.Open(text, session.Expires); !errors.Is(err, token.ErrExpired) {
		t.Errorf("at the instant: %v, want ErrExpired", err)
	}
}

func TestAnOldVersionOpensAndAnUnknownOneDoesNot(t *testing.T) {
	old := seal(t, token.NewCodec(ring{sealing: 1, keys: keys.keys}), session)
	if _, err := token.NewCodec(keys).Open(old, noon); err != nil {
		t.Errorf("version 1: %v", err)
	}
	_, err := token.NewCodec(ring{sealing: 2, keys: map[int]byte{2: 'b'}}).Open(old, noon)
	if !errors.Is(err, token.ErrInvalid) || !errors.Is(err, keyring.ErrUnknownVersion) {
		t.Errorf("a version the ring has not: %v, want ErrInvalid and ErrUnknownVersion", err)
	}
}

func TestChangedTokensDoNotOpen(t *testing.T) {
	c := token.NewCodec(ring{sealing: 2, keys: map[int]byte{1: 'b', 2: 'b', 3: 'c'}})
	text := seal(t, c, session)
	body := strings.TrimPrefix(text, "hk-2014-06.vault:v2:")
	if body == text {
		t.Fatalf("not Vault's form: %s", text)
	}
	for name, changed := range map[string]string{
		"another poll":               "hk-2014-07.vault:v2:" + body,
		"no poll":                    "vault:v2:" + body,
		"an empty poll":              ".vault:v2:" + body,
		"another version, same key":  "hk-2014-06.vault:v1:" + body,
		"another version, other key": "hk-2014-06.vault:v3:" + body,
		"version zero":               "hk-2014-06.vault:v0:" + body,
		"a leading zero":             "hk-2014-06.vault:v02:" + body,
		"a sign":                     "hk-2014-06.vault:v+2:" + body,
		"a huge version":             "hk-2014-06.vault:v18446744073709551618:" + body,
		"no version":                 "hk-2014-06.vault:v:" + body,
		"another prefix":             "hk-2014-06.Vault:v2:" + body,
		"no body":                    "hk-2014-06.vault:v2:",
		"a short body":               "hk-2014-06.vault:v2:" + body[:16],
		"cut":                        text[:len(text)-4],
		"a line break":               text[:60] + "\n" + text[60:],
		"something after it":         text + "A",
		"too long":                   text + strings.Repeat("A", 2048),
		"empty":                      "",
	} {
		if s, err := c.Open(changed, noon); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v, %v; want ErrInvalid", name, s, err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		changed := "hk-2014-06.vault:v2:" + base64.StdEncoding.EncodeToString(raw)
		raw[i] ^= 1
		if _, err := c.Open(changed, noon); !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("byte %d changed: %v, want ErrInvalid", i, err)
		}
	}
}

// What a ring's keys seal for another purpose, or what Vault sealed without one, is no access token.
func TestOnlyTokensAreTokens(t *testing.T) {
	c := token.NewCodec(keys)
	written := func(poll string) string {
		tag := strings.Repeat("t", 32)
		nanoseconds := "\x1a\x46\xe8\x33\x35\xd5\x00\x00" // 2030
		return "\x00\x02id" + "\x00" + string(rune(len(poll))) + poll + "\x00\x08verified" + "\x00\x03web" + "\x00\x02en" + "\x00\x00" +
			tag + tag + tag + nanoseconds + nanoseconds
	}
	plain := written("hk-2014-06")
	for _, associated := range []string{"", "hk-2014-06", "popvote access token", "popvote access token\x00v1\x00hk-2014-06"} {
		text, err := c.SealBytes([]byte(plain), []byte(associated))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Open("hk-2014-06."+text, noon); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("associated data %q: %v, want ErrInvalid", associated, err)
		}
	}
	// And the form is the one that is written down: this one is made by the letter of it.
	text, err := c.SealBytes([]byte(plain), []byte("popvote access token\x00v2\x00hk-2014-06"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open("hk-2014-06."+text, noon); err != nil {
		t.Error(err)
	}
	for name, plain := range map[string]string{
		"nothing": "", "no session": "x", "of another poll": written("lunch"), "with something behind it": plain + "\x00",
		"with too little": plain[:len(plain)-1], "with a text beyond its end": "\xff\xff" + plain[2:],
	} {
		text, err := c.SealBytes([]byte(plain), []byte("popvote access token\x00v2\x00hk-2014-06"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Open("hk-2014-06."+text, noon); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestBytesComeBack(t *testing.T) {
	c := token.NewCodec(keys)
	text, err := c.SealBytes([]byte("plain"), []byte("associated"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.OpenBytes(text, []byte("associated")); err != nil || string(got) != "plain" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.OpenBytes(text, []byte("other")); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("other associated data: %v, want ErrInvalid", err)
	}
}

// A session's printed form is what would reach a log by mistake.
func TestASessionPrintsNoTag(t *testing.T) {
	s := session
	s.SealedPhone = "+85291234567"
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); strings.Contains(got, "91234567") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

func FuzzOpen(f *testing.F) {
	c := token.NewCodec(keys)
	f.Add(seal(f, c, session))
	f.Add("hk-2014-06.vault:v2:" + strings.Repeat("A", 64))
	f.Add("hk-2014-06.vault:v2:")
	f.Add("a.vault:v999999999:AAAA")
	f.Add("....")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := c.Open(text, noon)
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) && !errors.Is(err, token.ErrExpired) {
				t.Errorf("another error: %v", err)
			}
			return
		}
		if !strings.HasPrefix(text, s.Poll+".") {
			t.Errorf("opened %q for poll %q", text, s.Poll)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	c := token.NewCodec(cached())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Seal(session); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	c := token.NewCodec(cached())
	text := seal(b, c, session)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(text, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// fixed holds its cipher ready, as the real rings do.
type fixed struct{ aead cipher.AEAD }

func cached() keyring.Tokens                       { return fixed{aead('b')} }
func (f fixed) Sealing() (int, cipher.AEAD, error) { return 2, f.aead, nil }
func (f fixed) Opening(int) (cipher.AEAD, error)   { return f.aead, nil }
