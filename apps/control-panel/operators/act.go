package operators

import (
	"crypto/sha256"
	"encoding/base64"
)

// Act is what an operator's passkey has signed before it was done.
type Act struct {
	// Path is what was posted to, BodyHash the SHA-256 of what was posted.
	Path     string `json:"path"`
	BodyHash []byte `json:"body_hash"`
	// Nonce is random, 16 bytes.
	Nonce []byte `json:"nonce"`
	// Answer is the authenticator's. Whoever has the passkey's public key, which is in the entry that added it, can
	// check the signature, and that its challenge is this act's.
	Answer Answer `json:"answer"`
}

// Answer is an assertion (WebAuthn Level 3 §5.2.2).
type Answer struct {
	ClientData        []byte `json:"client_data"`
	AuthenticatorData []byte `json:"authenticator_data"`
	Signature         []byte `json:"signature"`
}

// Challenge is what the authenticator signs for an act: the SHA-256 of a name, the nonce, the path and the body's
// hash, in base64url, a line each.
func (a *Act) Challenge() []byte {
	text := "popvote act\n" + base64.RawURLEncoding.EncodeToString(a.Nonce) + "\n" + a.Path + "\n" + base64.RawURLEncoding.EncodeToString(a.BodyHash)
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
