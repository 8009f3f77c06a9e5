package trustee

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"github.com/popvote/popvote/libs/poll"
)

const shareType = "popvote-share"

// maxShareBytes is more than a share of MaxShares takes.
const maxShareBytes = 64 << 10

// Share is one trustee's part of a tally key: a JSON file. It must be kept as secret as the key itself.
type Share struct {
	Type string `json:"typ"`
	// KeyID is the thumbprint of the public key.
	KeyID string `json:"key_id"`
	// K shares of N are enough; Index is this one's number, from 1.
	K     int `json:"k"`
	N     int `json:"n"`
	Index int `json:"index"`
	// Value is the secret: the polynomial at Index (32 bytes).
	Value Secret `json:"value"`
	// Check are the commitments to the polynomial's coefficients (compressed points, base64). The first
	// is the public key itself. They are the same in every share and no secret.
	Check [][]byte `json:"check"`
}

// Secret is bytes that are written to files, but never to logs or messages.
type Secret []byte

// String and GoString hide the value.
func (Secret) String() string { return "(secret)" }

// GoString hides the value from %#v.
func (Secret) GoString() string { return "(secret)" }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// LogValue says which share it is, and no more.
func (s Share) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("share %d of %d of key %s", s.Index, s.N, s.KeyID))
}

func (s Share) String() string { return s.LogValue().String() }

func (s Share) wrong(format string, args ...any) error {
	return &WrongShareError{Index: s.Index, Reason: fmt.Sprintf(format, args...)}
}

// Verify checks the share by itself: whole, and a part of the key it names. The error is *WrongShareError.
func (s Share) Verify() error {
	if s.Type != shareType {
		return s.wrong("its typ is %q, not %q", s.Type, shareType)
	}
	if s.K < 1 || s.N < s.K || s.N > MaxShares || s.Index < 1 || s.Index > s.N {
		return s.wrong("its numbers do not fit together: index %d, %d of %d", s.Index, s.K, s.N)
	}
	if len(s.Check) != s.K {
		return s.wrong("it has %d check values instead of %d", len(s.Check), s.K)
	}
	commitments := make(secretsharing.SecretCommitment, len(s.Check))
	for i, c := range s.Check {
		point := curve.NewElement()
		if err := point.UnmarshalBinary(c); err != nil || len(c) != 33 {
			return s.wrong("check value %d is damaged", i+1)
		}
		commitments[i] = point
	}
	kid, err := keyID(commitments[0])
	if err != nil {
		return s.wrong("its check values are damaged: %v", err)
	}
	if kid != s.KeyID {
		return s.wrong("its check values belong to the key %s, not %s", kid, s.KeyID)
	}
	part, err := s.part()
	if err != nil {
		return err
	}
	if !secretsharing.Verify(uint(s.K-1), part, commitments) {
		return s.wrong("its value is not part of the key %s", s.KeyID)
	}
	return nil
}

// dealing is the same for all shares that were handed out together.
func (s Share) dealing() string {
	return fmt.Sprintf("%d/%d/%x", s.K, s.N, bytes.Join(s.Check, nil))
}

func (s Share) part() (secretsharing.Share, error) {
	id, value := curve.NewScalar().SetUint64(uint64(s.Index)), curve.NewScalar()
	if len(s.Value) != 32 {
		return secretsharing.Share{}, s.wrong("its value has %d bytes instead of 32", len(s.Value))
	}
	if err := value.UnmarshalBinary(s.Value); err != nil {
		return secretsharing.Share{}, s.wrong("its value is damaged")
	}
	return secretsharing.Share{ID: id, Value: value}, nil
}

// keyID returns the thumbprint of a public key given as a point.
func keyID(point group.Element) (string, error) {
	b, err := point.MarshalBinary()
	if err != nil {
		return "", err
	}
	if len(b) != 65 {
		return "", errors.New("the first is no public key")
	}
	k := poll.JWK{
		Kty: "EC", Crv: "P-256",
		X: base64.RawURLEncoding.EncodeToString(b[1:33]),
		Y: base64.RawURLEncoding.EncodeToString(b[33:]),
	}
	return k.Thumbprint(), nil
}

// ReadShare reads a share's file. It does not verify it.
func ReadShare(r io.Reader) (Share, error) {
	var s Share
	data, err := io.ReadAll(io.LimitReader(r, maxShareBytes+1))
	if err != nil {
		return s, fmt.Errorf("couldn't read the share: %w", err)
	}
	if len(data) > maxShareBytes {
		return s, errors.New("couldn't read the share: the file is too long")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, errors.New("couldn't read the share: the file is damaged, or is not a share") // the cause could quote the secret
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("couldn't read the share: something follows after its end")
	}
	return s, nil
}

// WriteFile writes the share to a new file that only its owner can read. It never overwrites one.
func (s Share) WriteFile(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("couldn't write share %d: %w", s.Index, err)
	}
	return WriteSecret(path, append(data, '\n'))
}

// WriteSecret writes a new file of mode 0600, durably. It never overwrites one.
func WriteSecret(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("couldn't create the file: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path) // half a secret is of no use
		return fmt.Errorf("couldn't write %s: %w", path, err)
	}
	return nil
}
