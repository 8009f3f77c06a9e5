// Package jwk turns P-256 public keys into the JSON Web Keys that polls publish, and back.
package jwk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/popvote/popvote/libs/poll"
)

// ErrInvalid is a key that is not a P-256 public key, or whose kid is not its thumbprint.
var ErrInvalid = errors.New("not a valid P-256 key")

// coordinate is the bytes of x and of y (RFC 7518, section 6.2.1.2: never shorter).
const coordinate = 32

// FromECDSA returns the JWK of a P-256 public key. A key on another curve, or off it, is a mistake
// of the program: it panics.
func FromECDSA(pub *ecdsa.PublicKey) poll.JWK {
	point, err := pub.Bytes()
	if err != nil || pub.Curve != elliptic.P256() {
		panic("jwk: not a P-256 public key")
	}
	k := poll.JWK{
		Kty: "EC",
		Crv: "P-256",
		X:   base64.RawURLEncoding.EncodeToString(point[1 : 1+coordinate]),
		Y:   base64.RawURLEncoding.EncodeToString(point[1+coordinate:]),
	}
	k.Kid = Thumbprint(k)
	return k
}

// PublicKey returns the key of a JWK: the point is on the curve, and the kid is its thumbprint.
func PublicKey(k poll.JWK) (*ecdsa.PublicKey, error) {
	if k.Kty != "EC" || k.Crv != "P-256" {
		return nil, fmt.Errorf("%w: kty %q, crv %q", ErrInvalid, k.Kty, k.Crv)
	}
	point := make([]byte, 1, 1+2*coordinate)
	point[0] = 4 // uncompressed (SEC 1, section 2.3.3)
	for _, c := range []struct{ name, text string }{{"x", k.X}, {"y", k.Y}} {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(c.text)
		if err != nil || len(raw) != coordinate {
			return nil, fmt.Errorf("%w: %s is not 32 bytes of base64url", ErrInvalid, c.name)
		}
		point = append(point, raw...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w: the point is not on the curve", ErrInvalid)
	}
	if want := Thumbprint(k); k.Kid != want {
		return nil, fmt.Errorf("%w: kid is %q, its thumbprint %q", ErrInvalid, k.Kid, want)
	}
	return pub, nil
}

// Thumbprint is the key's RFC 7638 thumbprint: SHA-256 over its required members, base64url.
func Thumbprint(k poll.JWK) string {
	sum := sha256.Sum256([]byte(`{"crv":"` + k.Crv + `","kty":"` + k.Kty + `","x":"` + k.X + `","y":"` + k.Y + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
