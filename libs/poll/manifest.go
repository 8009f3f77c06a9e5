package poll

import (
	"slices"
	"time"
)

// Suite is how ballots are sealed (RFC 9180): base mode HPKE.
const Suite = "DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM"

// NewManifest returns what clients read of a poll. The size is of the padded plain ballot, in bytes
// (ballot.Size); logKey is the checkpoint's verifier key.
func NewManifest(d *Definition, state State, sequence int64, signingKey JWK, logKey string, size int) Manifest {
	return Manifest{
		ID:              d.ID,
		Sequence:        sequence,
		State:           state,
		Kind:            d.Kind,
		Title:           d.Title,
		Summary:         d.Summary,
		Organiser:       d.Organiser,
		Notice:          d.Notice,
		Languages:       d.Languages,
		OpensAt:         d.OpensAt.UTC(),
		ClosesAt:        d.ClosesAt.UTC(),
		Identity:        d.Identity,
		Verification:    d.Verification,
		Questions:       d.Questions,
		Ballot:          BallotRules{Suite: Suite, Size: size, TallyKey: d.TallyKey},
		RevealTallyKey:  d.RevealTallyKey,
		SealOnServer:    d.SealOnServer,
		AuditWindowDays: d.AuditWindowDays,
		SigningKey:      signingKey,
		LogKey:          logKey,
	}
}

// Definition returns the part of the manifest that the operator decided.
func (m *Manifest) Definition() *Definition {
	return &Definition{
		ID:              m.ID,
		Kind:            m.Kind,
		Title:           m.Title,
		Summary:         m.Summary,
		Organiser:       m.Organiser,
		Notice:          m.Notice,
		Languages:       m.Languages,
		OpensAt:         m.OpensAt,
		ClosesAt:        m.ClosesAt,
		Identity:        m.Identity,
		Verification:    m.Verification,
		Questions:       m.Questions,
		TallyKey:        m.Ballot.TallyKey,
		RevealTallyKey:  m.RevealTallyKey,
		SealOnServer:    m.SealOnServer,
		AuditWindowDays: m.AuditWindowDays,
	}
}

// Seeded returns a copy of a demo's definition with a tally key and new times, ready to be applied. A
// demo's file has no key, because a private key that came with the program would be no secret.
func (d *Definition) Seeded(key JWK, opensAt, closesAt time.Time) *Definition {
	seeded := *d
	seeded.Languages = slices.Clone(d.Languages)
	seeded.Questions = slices.Clone(d.Questions)
	seeded.TallyKey, seeded.OpensAt, seeded.ClosesAt = key, opensAt, closesAt
	return &seeded
}
