package trustee

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/popvote/popvote/libs/poll"
)

// privateJWK is a private tally key in a file (RFC 7518 §6.2.2).
type privateJWK struct {
	poll.JWK
	D string `json:"d"`
}

// MarshalKey writes a private scalar (32 bytes) as a private JWK: the form of a key file, and of a
// bundle's tally-key.json.
func MarshalKey(scalar []byte) ([]byte, error) {
	public, err := PublicKey(scalar)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(privateJWK{JWK: public, D: base64.RawURLEncoding.EncodeToString(scalar)}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("couldn't write the tally key: %w", err)
	}
	return append(data, '\n'), nil
}

// ReadKey reads a private JWK and checks that its two halves belong together. Its errors never quote the
// file.
func ReadKey(r io.Reader) (scalar []byte, public poll.JWK, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxShareBytes+1))
	if err != nil {
		return nil, poll.JWK{}, fmt.Errorf("couldn't read the tally key: %w", err)
	}
	var key privateJWK
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&key); err != nil || len(data) > maxShareBytes {
		return nil, poll.JWK{}, errors.New("couldn't read the tally key: the file is damaged, or is not a private JWK")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, poll.JWK{}, errors.New("couldn't read the tally key: something follows after its end")
	}
	scalar, err = base64.RawURLEncoding.Strict().DecodeString(key.D)
	if err != nil {
		return nil, poll.JWK{}, errors.New("couldn't read the tally key: its d is damaged")
	}
	if public, err = PublicKey(scalar); err != nil {
		return nil, poll.JWK{}, err
	}
	if public != key.JWK {
		return nil, poll.JWK{}, errors.New("couldn't read the tally key: its public half belongs to another key")
	}
	return scalar, public, nil
}
