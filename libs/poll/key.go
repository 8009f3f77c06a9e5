package poll

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// IsZero tells a key that was never given.
func (k JWK) IsZero() bool { return k == JWK{} }

// Thumbprint is the key's RFC 7638 thumbprint (SHA-256, base64url): what Kid has to be.
func (k JWK) Thumbprint() string {
	// The members RFC 7638 §3.2 names for EC keys, in its order. Base64url needs no escaping.
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"%s","kty":"%s","x":"%s","y":"%s"}`, k.Crv, k.Kty, k.X, k.Y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Check reports what keeps k from being a P-256 public key under its right name.
func (k JWK) Check() error {
	_, err := k.Point()
	return err
}

// Point is the key's point, 65 bytes uncompressed (SEC 1 §2.3.3), or what Check reports.
func (k JWK) Point() ([]byte, error) {
	if k.Kty != "EC" || k.Crv != "P-256" {
		return nil, errors.New(`kty must be "EC" and crv "P-256"`)
	}
	point := make([]byte, 0, 65)
	point = append(point, 4)
	for _, c := range []struct{ name, value string }{{"x", k.X}, {"y", k.Y}} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(c.value)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("%s must be 32 bytes in base64url without padding", c.name)
		}
		point = append(point, b...)
	}
	if _, err := ecdh.P256().NewPublicKey(point); err != nil {
		return nil, errors.New("x and y are not a point of the curve P-256")
	}
	if want := k.Thumbprint(); k.Kid != want {
		return nil, fmt.Errorf("kid must be the key's thumbprint, %s", want)
	}
	return point, nil
}
