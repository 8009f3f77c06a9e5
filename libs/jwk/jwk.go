// Package jwk turns P-256 public keys into the JSON Web Keys that polls publish, and back.
package jwk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
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
	k.Kid = k.Thumbprint()
	return k
}

// PublicKey returns the key of a JWK: the point is on the curve, and the kid is its thumbprint.
func PublicKey(k poll.JWK) (*ecdsa.PublicKey, error) {
	point, err := k.Point()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return pub, nil
}
