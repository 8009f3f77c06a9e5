package ballotlog

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/popvote/popvote/libs/jwk"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// Trust is by what a poll's log is known: the key of its organiser, and the log's own.
type Trust struct {
	Poll string `json:"poll"`
	// SigningKey signs the manifest, which names the log's key.
	SigningKey poll.JWK `json:"signing_key"`
	// LogKey is the verifier key of checkpoints (C2SP signed-note vkey).
	LogKey string `json:"log_key"`
}

// ReadManifest takes a poll's keys from its signed manifest. The manifest must be signed by the key with
// the thumbprint; if that is empty, by whatever key is in it: trust on first use. Everything else is
// ErrNotGenuine.
func ReadManifest(data []byte, pollID, thumbprint string) (*Trust, error) {
	t, err := readManifest(data, pollID, thumbprint)
	if err != nil {
		return nil, fmt.Errorf("%w: the manifest: %w", ErrNotGenuine, err)
	}
	return t, nil
}

func readManifest(data []byte, pollID, thumbprint string) (*Trust, error) {
	var document signed.Document
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("it is not a signed document: %w", err)
	}
	_, payload, _ := strings.Cut(document.JWS, ".")
	payload, _, _ = strings.Cut(payload, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, errors.New("its payload is not base64")
	}
	var m poll.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	public, err := jwk.PublicKey(m.SigningKey)
	if err != nil {
		return nil, err
	}
	// The thumbprint is computed: a kid is only what somebody wrote.
	if is := jwk.FromECDSA(public).Kid; is != m.SigningKey.Kid || thumbprint != "" && is != thumbprint {
		return nil, fmt.Errorf("it is signed by another key, %s", is)
	}
	if m, err = reread(document, m.SigningKey); err != nil {
		return nil, err
	}
	if m.ID != pollID {
		return nil, fmt.Errorf("it is of another poll, %q", m.ID)
	}
	t := &Trust{Poll: m.ID, SigningKey: m.SigningKey, LogKey: m.LogKey}
	if _, err := t.Verifier(); err != nil {
		return nil, err
	}
	return t, nil
}

// reread decodes what the signature is over, and only that.
func reread(document signed.Document, key poll.JWK) (m poll.Manifest, err error) {
	_, err = document.Open(key, &m)
	return m, err
}

// Verifier is what checkpoints are opened with.
func (t *Trust) Verifier() (note.Verifier, error) {
	v, err := note.NewVerifier(t.LogKey)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the log's key: %w", err)
	}
	if v.Name() != Origin(t.Poll) {
		return nil, fmt.Errorf("couldn't use the log's key: it is of the log %q", v.Name())
	}
	return v, nil
}
