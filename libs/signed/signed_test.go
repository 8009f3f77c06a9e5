package signed_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

func signer(t testing.TB, name string) *signed.Signer {
	t.Helper()
	s, err := signed.NewSigner(sha256.Sum256([]byte(name)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADocumentComesBack(t *testing.T) {
	s := signer(t, "ours")
	want := poll.Summary{ID: "lunch", Title: poll.Text{"en": "Lunch <&>", "zh-Hant-HK": "午餐"}, State: poll.Open}
	d, err := s.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	// Through JSON, as it travels: Plain may lose its spelling on the way, the payload cannot.
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var travelled signed.Document
	if err := json.Unmarshal(text, &travelled); err != nil {
		t.Fatal(err)
	}
	var got poll.Summary
	payload, err := travelled.Open(s.Key(), &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != want.ID || got.Title["zh-Hant-HK"] != "午餐" || got.Title["en"] != "Lunch <&>" || got.State != want.State {
		t.Errorf("%+v came back as %+v", want, got)
	}
	if string(payload) != string(d.Plain) {
		t.Errorf("what is signed is %s, what is shown %s", payload, d.Plain)
	}
}

func TestPlainIsNotTrusted(t *testing.T) {
	s := signer(t, "ours")
	d, err := s.Sign(poll.Summary{ID: "lunch"})
	if err != nil {
		t.Fatal(err)
	}
	d.Plain = json.RawMessage(`{"id":"dinner"}`)
	var got poll.Summary
	if _, err := d.Open(s.Key(), &got); err != nil || got.ID != "lunch" {
		t.Errorf("%q, %v; want what is signed", got.ID, err)
	}
}

func TestTheHeader(t *testing.T) {
	s := signer(t, "ours")
	jws, err := s.SignPayload([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"alg":"ES256","kid":"` + s.Key().Kid + `"}`; string(header) != want {
		t.Errorf("header %s, want %s", header, want)
	}
}

func TestWhatDoesNotVerify(t *testing.T) {
	s, other := signer(t, "ours"), signer(t, "another")
	jws, err := s.SignPayload([]byte(`{"id":"lunch"}`))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(jws, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	header := func(h string) string { return b64([]byte(h)) + "." + parts[1] + "." + parts[2] }
	theirs, err := other.SignPayload([]byte(`{"id":"lunch"}`))
	if err != nil {
		t.Fatal(err)
	}
	claimed := b64([]byte(`{"alg":"ES256","kid":"` + s.Key().Kid + `"}`))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	signature[10] ^= 1
	for name, text := range map[string]string{
		"empty":                        "",
		"no JWS":                       "a.b",
		"another key":                  theirs,
		"another key that claims ours": claimed + "." + strings.SplitN(theirs, ".", 2)[1],
		"another payload":              parts[0] + "." + b64([]byte(`{"id":"dinner"}`)) + "." + parts[2],
		"another signature":            parts[0] + "." + parts[1] + "." + b64(signature),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"a zero signature":             parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)),
		"no algorithm":                 header(`{"alg":"none","kid":"` + s.Key().Kid + `"}`),
		"an HMAC":                      header(`{"alg":"HS256","kid":"` + s.Key().Kid + `"}`),
		"no kid":                       header(`{"alg":"ES256"}`),
		"JSON serialization":           `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a detached payload":           parts[0] + ".." + parts[2],
	} {
		if payload, err := signed.Verify(text, s.Key()); !errors.Is(err, signed.ErrInvalid) || payload != nil {
			t.Errorf("%s: %q, %v; want ErrInvalid", name, payload, err)
		}
	}
	if payload, err := signed.Verify(jws, s.Key()); err != nil || string(payload) != `{"id":"lunch"}` {
		t.Errorf("and unchanged: %q, %v", payload, err)
	}
	bad := s.Key()
	bad.Kid = other.Key().Kid
	if _, err := signed.Verify(jws, bad); err == nil {
		t.Error("a key whose kid is not its thumbprint verifies")
	}
	var into poll.Summary
	notJSON, err := s.SignPayload([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (signed.Document{JWS: notJSON}).Open(s.Key(), &into); err == nil {
		t.Error("a payload that is not JSON opens")
	}
}

func TestBadScalars(t *testing.T) {
	var large [32]byte
	for i := range large {
		large[i] = 255
	}
	for _, scalar := range [][32]byte{{}, large} {
		if _, err := signed.NewSigner(scalar); err == nil {
			t.Errorf("%x signs", scalar)
		}
	}
}

func TestWhatHasNoJSONIsNotSigned(t *testing.T) {
	if _, err := signer(t, "ours").Sign(func() {}); err == nil {
		t.Error("a function is signed")
	}
}

func BenchmarkSign(b *testing.B) {
	s := signer(b, "ours")
	for b.Loop() {
		if _, err := s.Sign(poll.Summary{ID: "lunch"}); err != nil {
			b.Fatal(err)
		}
	}
}
