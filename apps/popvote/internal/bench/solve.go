package bench

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/popvote/popvote/libs/challenge"
)

// solve solves a challenge. The work is a voter's device's, not the server's, so at cost 1, which the
// benchmark's own instance asks, it is done as cheaply as it can be: one iteration of PBKDF2 is one
// HMAC (RFC 8018 §5.2), and that is two hashes over buffers on the stack.
func solve(issued []byte) (string, error) {
	var c challenge.Challenge
	if err := json.Unmarshal(issued, &c); err != nil {
		return "", err
	}
	nonce, err1 := hex.DecodeString(c.Parameters.Nonce)
	salt, err2 := hex.DecodeString(c.Parameters.Salt)
	if c.Parameters.Cost != 1 || c.Parameters.KeyPrefix != "00" || err1 != nil || err2 != nil || len(nonce) > 32 || len(salt) > 32 {
		return challenge.Solve(context.Background(), issued)
	}
	for counter := range uint32(1 << 24) {
		key := oneHMAC(nonce, salt, counter)
		if key[0] != 0 {
			continue
		}
		var b strings.Builder
		b.WriteString(`{"challenge":`)
		b.Write(issued)
		b.WriteString(`,"solution":`)
		solution, err := json.Marshal(map[string]any{"counter": counter, "derivedKey": hex.EncodeToString(key[:])})
		if err != nil {
			return "", err
		}
		b.Write(solution)
		b.WriteString("}")
		return base64.StdEncoding.EncodeToString([]byte(b.String())), nil
	}
	return challenge.Solve(context.Background(), issued)
}

// oneHMAC is PBKDF2 with one iteration and 32 bytes: HMAC-SHA-256 keyed by nonce and counter, over the
// salt and the block number 1.
func oneHMAC(nonce, salt []byte, counter uint32) [32]byte {
	var inner, outer [64 + 64]byte
	n := copy(inner[:64], nonce)
	binary.BigEndian.PutUint32(inner[n:], counter)
	for i := range 64 {
		outer[i] = inner[i] ^ 0x5c
		inner[i] ^= 0x36
	}
	m := 64 + copy(inner[64:], salt)
	binary.BigEndian.PutUint32(inner[m:], 1)
	digest := sha256.Sum256(inner[:m+4])
	copy(outer[64:], digest[:])
	return sha256.Sum256(outer[:96])
}
