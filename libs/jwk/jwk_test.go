package jwk_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/popvote/popvote/libs/jwk"
	"github.com/popvote/popvote/libs/poll"
)

// The public key of RFC 7515, appendix A.3; its thumbprint is go-jose's.
var rfc7515 = poll.JWK{
	Kty: "EC", Crv: "P-256",
	X:   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
	Y:   "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	Kid: "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
}

func TestAKnownKey(t *testing.T) {
	public, err := jwk.PublicKey(rfc7515)
	if err != nil {
		t.Fatal(err)
	}
	if got := jwk.FromECDSA(public); got != rfc7515 {
		t.Errorf("%+v, want %+v", got, rfc7515)
	}
}

func TestEveryKeyComesBack(t *testing.T) {
	for range 300 { // one coordinate in 256 begins with a zero byte, which must stay
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k := jwk.FromECDSA(&private.PublicKey)
		if len(k.X) != 43 || len(k.Y) != 43 {
			t.Fatalf("%+v: coordinates are 43 characters", k)
		}
		public, err := jwk.PublicKey(k)
		if err != nil || !public.Equal(&private.PublicKey) {
			t.Fatalf("%+v: another key, %v", k, err)
		}
	}
}

func TestThumbprintsAreThoseOfRFC7638(t *testing.T) {
	public, err := jwk.PublicKey(rfc7515)
	if err != nil {
		t.Fatal(err)
	}
	theirs := jose.JSONWebKey{Key: public}
	thumbprint, err := theirs.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if got := base64.RawURLEncoding.EncodeToString(thumbprint); got != rfc7515.Kid || rfc7515.Thumbprint() != got {
		t.Errorf("thumbprint %s, go-jose's is %s", rfc7515.Thumbprint(), got)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	for name, change := range map[string]func(*poll.JWK){
		"another type":          func(k *poll.JWK) { k.Kty = "OKP" },
		"another curve":         func(k *poll.JWK) { k.Crv = "P-384" },
		"no x":                  func(k *poll.JWK) { k.X = "" },
		"a short x":             func(k *poll.JWK) { k.X = k.X[:42] },
		"a long y":              func(k *poll.JWK) { k.Y += "AA" },
		"padding":               func(k *poll.JWK) { k.X += "=" },
		"stray bits at the end": func(k *poll.JWK) { k.X = k.X[:42] + "V" },
		"plain base64":          func(k *poll.JWK) { k.Y = strings.ReplaceAll(k.Y, "_", "/") },
		"off the curve":         func(k *poll.JWK) { k.X, k.Y = k.Y, k.X },
		"the point at infinity": func(k *poll.JWK) { k.X, k.Y = strings.Repeat("A", 43), strings.Repeat("A", 43) },
		"no kid":                func(k *poll.JWK) { k.Kid = "" },
		"another kid":           func(k *poll.JWK) { k.Kid = "A" + k.Kid[1:] },
	} {
		k := rfc7515
		change(&k)
		if public, err := jwk.PublicKey(k); !errors.Is(err, jwk.ErrInvalid) || public != nil {
			t.Errorf("%s: %v, %v; want ErrInvalid", name, public, err)
		}
	}
}

func TestAKeyOnAnotherCurveIsAMistakeOfTheProgram(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a P-384 key became a P-256 JWK")
		}
	}()
	jwk.FromECDSA(&private.PublicKey)
}
