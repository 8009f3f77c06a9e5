package ballot_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
)

// The vectors hold this package and the voter's page to one encoding. To make them anew:
//
//	go test ./ballot -run TestVectors -update
var update = flag.Bool("update", false, "write testdata/vectors.json")

const vectorsFile = "testdata/vectors.json"

type vectors struct {
	About string `json:"about"`
	Suite string `json:"suite"`
	// TallyPrivate is the tally key's private scalar, hex; its public half is in the manifest.
	TallyPrivate string       `json:"tally_private"`
	Manifest     manifestPart `json:"manifest"`
	// SealedSize is the bytes of every sealed ballot.
	SealedSize int `json:"sealed_size"`
	// Valid are answers and their plain form, hex.
	Valid []validVector `json:"valid"`
	// InvalidAnswers break a rule of the poll: encoding them is refused.
	InvalidAnswers []invalidAnswers `json:"invalid_answers"`
	// InvalidPlain are bytes (hex) that no correct client makes: decoding them is refused.
	InvalidPlain []invalidPlain `json:"invalid_plain"`
	Sealed       []sealedVector `json:"sealed"`
	// InvalidSealed (base64url) do not open.
	InvalidSealed []invalidSealed `json:"invalid_sealed"`
}

// manifestPart is what sealing needs of a manifest.
type manifestPart struct {
	ID        string           `json:"id"`
	Questions []poll.Question  `json:"questions"`
	Ballot    poll.BallotRules `json:"ballot"`
}

type validVector struct {
	Answers ballot.Answers `json:"answers"`
	Text    string         `json:"text"`
	Plain   string         `json:"plain"`
}

type invalidAnswers struct {
	Why     string         `json:"why"`
	Answers ballot.Answers `json:"answers"`
}

type invalidPlain struct {
	Why   string `json:"why"`
	Plain string `json:"plain"`
}

type sealedVector struct {
	// EphemeralPrivate is the sender's one-time scalar, hex: sealing Plain with it gives Sealed.
	EphemeralPrivate string `json:"ephemeral_private"`
	Plain            string `json:"plain"`
	Sealed           string `json:"sealed"`
	Leaf             string `json:"leaf"`
	Code             string `json:"code"`
}

type invalidSealed struct {
	Why    string `json:"why"`
	Sealed string `json:"sealed"`
}

func TestVectors(t *testing.T) {
	if *update {
		text, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	m := &poll.Manifest{ID: v.Manifest.ID, Questions: v.Manifest.Questions, Ballot: v.Manifest.Ballot}

	if v.Suite != ballot.Suite || m.Ballot.Suite != ballot.Suite {
		t.Errorf("suite %q, want %q", v.Suite, ballot.Suite)
	}
	if got := ballot.Size(&poll.Definition{ID: m.ID, Questions: m.Questions}); got != m.Ballot.Size {
		t.Errorf("size %d, want %d", got, m.Ballot.Size)
	}
	if got := ballot.SealedSize(m.Ballot.Size); got != v.SealedSize {
		t.Errorf("sealed size %d, want %d", got, v.SealedSize)
	}
	for _, c := range v.Valid {
		plain, err := ballot.Encode(m, c.Answers)
		if err != nil {
			t.Errorf("%v: %v", c.Answers, err)
			continue
		}
		if got := hex.EncodeToString(plain); got != c.Plain {
			t.Errorf("%v: encoded as %s, want %s", c.Answers, got, c.Plain)
		}
		if !strings.HasPrefix(string(plain), c.Text+"\x80") {
			t.Errorf("%v: encoded as %q, want %q", c.Answers, plain, c.Text)
		}
		decoded, err := ballot.Decode(m, plain)
		if err != nil {
			t.Errorf("%v: %v", c.Answers, err)
		}
		if again, err := ballot.Encode(m, decoded); err != nil || !bytes.Equal(again, plain) {
			t.Errorf("%v: decoded as %v", c.Answers, decoded)
		}
	}
	for _, c := range v.InvalidAnswers {
		if _, err := ballot.Encode(m, c.Answers); err == nil {
			t.Errorf("%s: encoded", c.Why)
		}
	}
	for _, c := range v.InvalidPlain {
		if a, err := ballot.Decode(m, unhex(t, c.Plain)); err == nil {
			t.Errorf("%s: decoded as %v", c.Why, a)
		}
	}

	opener, err := ballot.NewOpener(m.ID, unhex(t, v.TallyPrivate))
	if err != nil {
		t.Fatal(err)
	}
	if opener.Key() != m.Ballot.TallyKey {
		t.Errorf("the private key's public half is %v, want %v", opener.Key(), m.Ballot.TallyKey)
	}
	for _, c := range v.Sealed {
		sealed, err := base64.RawURLEncoding.DecodeString(c.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := opener.Open(sealed)
		if err != nil || hex.EncodeToString(plain) != c.Plain {
			t.Errorf("opened as %x, %v; want %s", plain, err, c.Plain)
		}
		again := sealWith(t, m, unhex(t, c.EphemeralPrivate), unhex(t, c.Plain))
		if !bytes.Equal(again, sealed) {
			t.Errorf("RFC 9180 step by step gives %x, want %x", again, sealed)
		}
		leaf := ballot.Leaf(m.ID, sealed)
		if hex.EncodeToString(leaf[:]) != c.Leaf || ballot.Code(leaf) != c.Code {
			t.Errorf("leaf %x, code %s; want %s, %s", leaf, ballot.Code(leaf), c.Leaf, c.Code)
		}
	}
	for _, c := range v.InvalidSealed {
		sealed, err := base64.RawURLEncoding.DecodeString(c.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := opener.Open(sealed); err == nil {
			t.Errorf("%s: opened as %x", c.Why, plain)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// scalar is a fixed private key for a name; nothing outside the tests uses it.
func scalar(name string) []byte {
	sum := sha256.Sum256([]byte("popvote test vectors: " + name))
	return sum[:]
}

// testManifest has every kind of question: pick one, pick several, and one that may go unanswered.
func testManifest(t testing.TB) *poll.Manifest {
	t.Helper()
	option := func(id string, kind poll.OptionKind) poll.Option {
		return poll.Option{ID: id, Label: poll.Text{"en": strings.ToUpper(id)}, Kind: kind}
	}
	question := func(id string, fewest, most int, options ...poll.Option) poll.Question {
		return poll.Question{ID: id, Title: poll.Text{"en": id}, Min: fewest, Max: most, Order: "fixed", Options: options}
	}
	m := &poll.Manifest{
		ID: "vectors-2026",
		Questions: []poll.Question{
			question(
				"motion-1", 1, 1,
				option("alliance", poll.Choice), option("peoplepower", poll.Choice), option("students", poll.Choice), option("abstain", poll.Abstain),
			),
			question(
				"dishes", 2, 3,
				option("rice", poll.Choice), option("noodles", poll.Choice), option("congee", poll.Choice),
				option("toast", poll.Choice), option("none-of-these", poll.Blank), option("abstain", poll.Abstain),
			),
			question(
				"veto", 0, 1,
				option("yes", poll.Choice), option("no", poll.Choice), option("an-abstention-with-a-long-name", poll.Abstain),
			),
		},
	}
	opener, err := ballot.NewOpener(m.ID, scalar("tally"))
	if err != nil {
		t.Fatal(err)
	}
	m.Ballot = poll.BallotRules{
		Suite:    ballot.Suite,
		Size:     ballot.Size(&poll.Definition{ID: m.ID, Questions: m.Questions}),
		TallyKey: opener.Key(),
	}
	return m
}

func makeVectors(t *testing.T) vectors {
	m := testManifest(t)
	v := vectors{
		About:        "Made by libs/ballot (go test ./ballot -run TestVectors -update); run by its tests and by the voter's page's.",
		Suite:        ballot.Suite,
		TallyPrivate: hex.EncodeToString(scalar("tally")),
		Manifest:     manifestPart{ID: m.ID, Questions: m.Questions, Ballot: m.Ballot},
		SealedSize:   ballot.SealedSize(m.Ballot.Size),
	}
	text := func(plain []byte) []byte { return bytes.TrimSuffix(bytes.TrimRight(plain, "\x00"), []byte{0x80}) }
	for _, a := range []ballot.Answers{
		{{"alliance"}, {"rice", "congee"}, {"yes"}},
		{{"peoplepower"}, {"toast", "rice", "noodles"}, {"no"}}, // not in the manifest's order
		{{"students"}, {"congee", "toast"}, {}},
		{{"abstain"}, {"abstain"}, {"an-abstention-with-a-long-name"}},
		{{"peoplepower"}, {"none-of-these"}, {}},
		{{"peoplepower"}, {"noodles", "congee", "toast"}, {"an-abstention-with-a-long-name"}}, // the longest there is
	} {
		plain, err := ballot.Encode(m, a)
		if err != nil {
			t.Fatal(err)
		}
		v.Valid = append(v.Valid, validVector{Answers: a, Text: string(text(plain)), Plain: hex.EncodeToString(plain)})
	}
	v.InvalidAnswers = []invalidAnswers{
		{"one answer too few", ballot.Answers{{"alliance"}, {"rice", "congee"}}},
		{"one answer too many", ballot.Answers{{"alliance"}, {"rice", "congee"}, {"yes"}, {}}},
		{"no answers at all", ballot.Answers{}},
		{"a question that must be answered is not", ballot.Answers{{}, {"rice", "congee"}, {"yes"}}},
		{"fewer options than the minimum", ballot.Answers{{"alliance"}, {"rice"}, {"yes"}}},
		{"more options than the maximum", ballot.Answers{{"alliance"}, {"rice", "noodles", "congee", "toast"}, {"yes"}}},
		{"two options where one is allowed", ballot.Answers{{"alliance", "students"}, {"rice", "congee"}, {"yes"}}},
		{"an unknown option", ballot.Answers{{"nobody"}, {"rice", "congee"}, {"yes"}}},
		{"an option of another question", ballot.Answers{{"rice"}, {"rice", "congee"}, {"yes"}}},
		{"an option twice", ballot.Answers{{"alliance"}, {"rice", "rice"}, {"yes"}}},
		{"abstain with a choice", ballot.Answers{{"alliance"}, {"rice", "congee", "abstain"}, {"yes"}}},
		{"abstain with blank", ballot.Answers{{"alliance"}, {"none-of-these", "abstain"}, {"yes"}}},
	}
	pad := func(s string) []byte {
		b := make([]byte, m.Ballot.Size)
		b[copy(b, s)] = 0x80
		return b
	}
	good := v.Valid[0].Text
	valid := unhex(t, v.Valid[0].Plain)
	stray := bytes.Clone(valid)
	stray[len(stray)-1] = 1
	wrongMark := bytes.Clone(valid)
	wrongMark[len(good)] = 0x81
	for _, c := range []struct {
		why   string
		plain []byte
	}{
		{"empty", []byte{}},
		{"all zeros", make([]byte, m.Ballot.Size)},
		{"shorter than the poll's size", valid[:len(valid)-1]},
		{"longer than the poll's size", append(bytes.Clone(valid), 0)},
		{"something in the padding", stray},
		{"the end is marked by another byte", wrongMark},
		{"the end is not marked", append([]byte(good), make([]byte, m.Ballot.Size-len(good))...)},
		{"the end is marked twice", pad(good + "\x80")},
		{"not JSON", pad("A")},
		{"a JSON value of another kind", pad("null")},
		{"for another poll", pad(strings.Replace(good, "vectors-2026", "vectors-2027", 1))},
		{"another version", pad(strings.Replace(good, `"v":1`, `"v":2`, 1))},
		{"the version is text", pad(strings.Replace(good, `"v":1`, `"v":"1"`, 1))},
		{"white space", pad(strings.Replace(good, `"v":1`, `"v": 1`, 1))},
		{"members in another order", pad(`{"poll":"vectors-2026","v":1,"answers":[["alliance"],["rice","congee"],["yes"]]}`)},
		{"an unknown member", pad(strings.Replace(good, `"v":1,`, `"v":1,"x":1,`, 1))},
		{"a member twice", pad(strings.Replace(good, `"v":1,`, `"v":1,"v":1,`, 1))},
		{"a member in upper case", pad(strings.Replace(good, `"poll"`, `"POLL"`, 1))},
		{"an escape for a letter", pad(strings.Replace(good, "rice", `\u0072ice`, 1))},
		{"options out of the manifest's order", pad(strings.Replace(good, `"rice","congee"`, `"congee","rice"`, 1))},
		{"null for an empty answer", pad(strings.Replace(good, `["yes"]`, `null`, 1))},
		{"something after the object", pad(good + " ")},
		{"abstain with a choice", pad(strings.Replace(good, `"congee"`, `"congee","abstain"`, 1))},
		{"fewer options than the minimum", pad(strings.Replace(good, `,"congee"`, ``, 1))},
	} {
		v.InvalidPlain = append(v.InvalidPlain, invalidPlain{c.why, hex.EncodeToString(c.plain)})
	}

	seal := func(i int, name string) []byte {
		return sealWith(t, m, scalar(name), unhex(t, v.Valid[i].Plain))
	}
	for i, name := range []string{"ephemeral 1", "ephemeral 2"} {
		sealed := seal(i, name)
		leaf := ballot.Leaf(m.ID, sealed)
		v.Sealed = append(v.Sealed, sealedVector{
			EphemeralPrivate: hex.EncodeToString(scalar(name)),
			Plain:            v.Valid[i].Plain,
			Sealed:           base64.RawURLEncoding.EncodeToString(sealed),
			Leaf:             hex.EncodeToString(leaf[:]),
			Code:             ballot.Code(leaf),
		})
	}
	sealed := seal(0, "ephemeral 1")
	changed := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		return b
	}
	otherPoll := *m
	otherPoll.ID = "vectors-2027"
	for _, c := range []struct {
		why    string
		sealed []byte
	}{
		{"empty", nil},
		{"cut short", sealed[:len(sealed)-1]},
		{"the first byte of the point changed", changed(0)},
		{"the point is not on the curve", changed(64)},
		{"the ciphertext changed", changed(65)},
		{"the tag changed", changed(len(sealed) - 1)},
		{"sealed for another poll", sealWith(t, &otherPoll, scalar("ephemeral 1"), valid)},
	} {
		v.InvalidSealed = append(v.InvalidSealed, invalidSealed{c.why, base64.RawURLEncoding.EncodeToString(c.sealed)})
	}
	return v
}

// sealWith seals with a known one-time key, by RFC 9180 step by step (sections 4.1, 5.1 and 5.2): the
// standard library draws its own, so it could make no vector, and this is a second opinion on it.
func sealWith(t testing.TB, m *poll.Manifest, ephemeral, plain []byte) []byte {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	kem := "KEM\x00\x10"                    // DHKEM(P-256, HKDF-SHA256)
	suite := "HPKE\x00\x10\x00\x01\x00\x01" // with HKDF-SHA256 and AES-128-GCM
	extract := func(suite string, salt []byte, label string, ikm []byte) []byte {
		return must(hkdf.Extract(sha256.New, append([]byte("HPKE-v1"+suite+label), ikm...), salt))
	}
	expand := func(suite string, key []byte, label string, info []byte, n int) []byte {
		l := binary.BigEndian.AppendUint16(nil, uint16(n))
		return must(hkdf.Expand(sha256.New, key, string(l)+"HPKE-v1"+suite+label+string(info), n))
	}

	private, err := ecdh.P256().NewPrivateKey(ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	x := must(base64.RawURLEncoding.DecodeString(m.Ballot.TallyKey.X))
	y := must(base64.RawURLEncoding.DecodeString(m.Ballot.TallyKey.Y))
	recipient, err := ecdh.P256().NewPublicKey(append(append([]byte{4}, x...), y...))
	if err != nil {
		t.Fatal(err)
	}
	enc := private.PublicKey().Bytes()
	dh := must(private.ECDH(recipient))
	eae := extract(kem, nil, "eae_prk", dh)
	shared := expand(kem, eae, "shared_secret", append(bytes.Clone(enc), recipient.Bytes()...), 32)

	context := []byte{0} // mode_base
	context = append(context, extract(suite, nil, "psk_id_hash", nil)...)
	context = append(context, extract(suite, nil, "info_hash", []byte("popvote ballot v1\x00"+m.ID))...)
	secret := extract(suite, shared, "secret", nil)
	key := expand(suite, secret, "key", context, 16)
	nonce := expand(suite, secret, "base_nonce", context, 12)

	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead.Seal(enc, nonce, plain, nil)
}

func TestVectorsAreCurrent(t *testing.T) {
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var got vectors
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if want := makeVectors(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%s is not what makeVectors makes; run: go test ./ballot -run TestVectors -update", vectorsFile)
	}
}
