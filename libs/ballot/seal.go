package ballot

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/popvote/popvote/libs/jwk"
	"github.com/popvote/popvote/libs/poll"
)

// Suite is how ballots are sealed: HPKE (RFC 9180) in base mode, without associated data; the
// encapsulated key comes first, then the ciphertext.
const Suite = "DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM"

// ErrSealed is a sealed ballot that the key does not open: sealed to another key or for another poll,
// or changed since.
var ErrSealed = errors.New("not a ballot sealed to this key")

const (
	encapsulated = 65 // an uncompressed P-256 point
	overhead     = encapsulated + 16
)

// SealedSize is the bytes of a sealed ballot whose plain one has size bytes.
func SealedSize(size int) int { return size + overhead }

// info binds a sealed ballot to its poll: copied into another poll with the same key, it does not open.
func info(pollID string) []byte { return []byte("popvote ballot v1\x00" + pollID) }

// Seal encodes answers and seals them to the manifest's tally key. No two sealings are alike.
func Seal(m *poll.Manifest, a Answers) ([]byte, error) {
	text, err := Encode(m, a)
	if err != nil {
		return nil, err
	}
	return SealTo(m, text)
}

// SealTo seals any bytes to the manifest's tally key, valid ballot or not.
func SealTo(m *poll.Manifest, plain []byte) ([]byte, error) {
	public, err := jwk.PublicKey(m.Ballot.TallyKey)
	if err != nil {
		return nil, fmt.Errorf("couldn't use the tally key: %w", err)
	}
	point, err := public.ECDH()
	if err != nil {
		return nil, fmt.Errorf("couldn't use the tally key: %w", err)
	}
	to, err := hpke.NewDHKEMPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("couldn't use the tally key: %w", err)
	}
	sealed, err := hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES128GCM(), info(m.ID), plain)
	if err != nil {
		return nil, fmt.Errorf("couldn't seal a ballot: %w", err)
	}
	return sealed, nil
}

// Opener opens the sealed ballots of one poll. Safe for concurrent use.
type Opener struct {
	key     poll.JWK
	private hpke.PrivateKey
	info    []byte
}

// NewOpener returns an opener for the tally key's private scalar (32 bytes, big-endian).
func NewOpener(pollID string, scalar []byte) (*Opener, error) {
	private, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		return nil, fmt.Errorf("couldn't use a tally key: %w", err)
	}
	opening, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("couldn't use a tally key: %w", err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), private.PublicKey().Bytes())
	if err != nil {
		return nil, fmt.Errorf("couldn't use a tally key: %w", err)
	}
	return &Opener{key: jwk.FromECDSA(public), private: opening, info: info(pollID)}, nil
}

// Key is the public key whose ballots it opens.
func (o *Opener) Key() poll.JWK { return o.key }

// Open returns the plain bytes of a sealed ballot, or ErrSealed.
func (o *Opener) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, ErrSealed
	}
	plain, err := hpke.Open(o.private, hpke.HKDFSHA256(), hpke.AES128GCM(), o.info, sealed)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// Leaf is the sealed ballot's leaf hash in the ballot log: SHA-256(0x00 ‖ poll id ‖ 0x00 ‖ sealed).
func Leaf(pollID string, sealed []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write([]byte(pollID))
	h.Write([]byte{0})
	h.Write(sealed)
	return [32]byte(h.Sum(nil))
}

// crockford has no I, L, O and U, which people misread.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// CodeSize is the bytes of a leaf that its code says.
const CodeSize = 10

// Code is the short code of a receipt, for people to read and compare: the first 80 bits of the leaf
// in Crockford's base 32, four groups of four.
func Code(leaf [32]byte) string {
	c := crockford.EncodeToString(leaf[:CodeSize])
	return c[0:4] + " " + c[4:8] + " " + c[8:12] + " " + c[12:16]
}

// misread is what people make of a code, and of the letters that Crockford's base 32 leaves out.
var misread = strings.NewReplacer(" ", "", "-", "", "O", "0", "I", "1", "L", "1")

// ParseCode reads a code as people type it: in either case, grouped or not. It returns the beginning of
// the leaf.
func ParseCode(text string) (begin [CodeSize]byte, ok bool) {
	c := misread.Replace(strings.ToUpper(text))
	data, err := crockford.DecodeString(c)
	if err != nil || len(c) != 16 || len(data) != CodeSize {
		return begin, false
	}
	return [CodeSize]byte(data), true
}
