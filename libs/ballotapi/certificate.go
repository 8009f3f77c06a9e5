package ballotapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// CertificateKind marks a certificate of destruction among the documents that the same key signs.
const CertificateKind = "identity-key-destroyed"

// Certificate says that a poll's identity key was destroyed. It is signed by the key of the poll's other
// documents, once the key ring holds the key no more, and never before.
type Certificate struct {
	Certificate string         `json:"certificate"` // CertificateKind
	Poll        string         `json:"poll"`
	Keys        []DestroyedKey `json:"keys"`
	// ClosesAt is the poll's closing time, WindowEndedAt the end of the audit window that it promised.
	ClosesAt      time.Time `json:"closes_at"`
	WindowEndedAt time.Time `json:"window_ended_at"`
	IssuedAt      time.Time `json:"issued_at"`
	// Actor is who asked for it, as in the audit chain.
	Actor string `json:"actor"`
}

// DestroyedKey is one of the keys.
type DestroyedKey struct {
	// Purpose is the key ring's ("voter-tags", "phone-tags").
	Purpose string `json:"purpose"`
	// Fingerprint is keyring.Fingerprint of the key, 32 bytes.
	Fingerprint []byte    `json:"fingerprint"`
	DestroyedAt time.Time `json:"destroyed_at"`
}

// ErrNotCertificate is a document that is not a certificate of the poll, or not by its key.
var ErrNotCertificate = errors.New("it is not a certificate of this poll's key")

// OpenCertificate checks a certificate by the key that signs the poll's documents.
func OpenCertificate(d signed.Document, pollID string, key poll.JWK) (*Certificate, error) {
	var c Certificate
	if _, err := d.Open(key, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCertificate, err)
	}
	switch {
	case c.Certificate != CertificateKind:
		return nil, fmt.Errorf("%w: it is another document", ErrNotCertificate)
	case c.Poll != pollID:
		return nil, fmt.Errorf("%w: it is of the poll %q", ErrNotCertificate, c.Poll)
	case len(c.Keys) == 0:
		return nil, fmt.Errorf("%w: it names no key", ErrNotCertificate)
	case c.WindowEndedAt.Before(c.ClosesAt):
		return nil, fmt.Errorf("%w: its audit window ended before it began", ErrNotCertificate)
	}
	for _, k := range c.Keys {
		switch {
		case k.DestroyedAt.Before(c.WindowEndedAt):
			return nil, fmt.Errorf("%w: the key %s was destroyed before the audit window ended", ErrNotCertificate, k.Purpose)
		case len(k.Fingerprint) != 32:
			return nil, fmt.Errorf("%w: the key %s has no fingerprint", ErrNotCertificate, k.Purpose)
		}
	}
	return &c, nil
}

// The audit chain's actions about an identity key: a destruction that was begun (or refused), and the
// certificate that ends it.
const (
	ActionDestroyKey   = "destroy-key"
	ActionKeyDestroyed = "key-destroyed"
)

// CertificateDetail is the detail of an ActionKeyDestroyed.
type CertificateDetail struct {
	Certificate signed.Document `json:"certificate"`
}

// FindCertificate returns the certificate in a poll's audit chain; nil if there is none.
func FindCertificate(chain []AuditEntry) (*signed.Document, error) {
	for _, e := range chain {
		if e.Action != ActionKeyDestroyed {
			continue
		}
		var detail CertificateDetail
		if err := json.Unmarshal([]byte(e.Detail), &detail); err != nil {
			return nil, fmt.Errorf("couldn't read audit entry %d: %w", e.Seq, err)
		}
		if detail.Certificate.JWS != "" {
			return &detail.Certificate, nil
		}
	}
	return nil, nil
}
