// Package tally opens sealed ballots and counts them. The ballot server counts with it, and so does
// `popvote verify`.
package tally

import "time"

// Result is the outcome of a poll. It names its inputs, so that anybody can repeat the count.
type Result struct {
	Poll      string           `json:"poll"`
	CountedAt time.Time        `json:"counted_at"`
	Ballots   int64            `json:"ballots"`
	Invalid   int64            `json:"invalid"`
	Questions []QuestionResult `json:"questions"`
	Log       LogHead          `json:"log"`
	// TallyKeyID is the thumbprint of the key the ballots were sealed to.
	TallyKeyID string `json:"tally_key_id"`
	// ManifestSHA256 is of the manifest the count used (its JWS payload), hex.
	ManifestSHA256 string `json:"manifest_sha256"`
}

// QuestionResult is one question's count, options in the manifest's order.
type QuestionResult struct {
	ID         string         `json:"id"`
	Unanswered int64          `json:"unanswered"`
	Options    []OptionResult `json:"options"`
}

// OptionResult is one option's votes.
type OptionResult struct {
	ID    string `json:"id"`
	Votes int64  `json:"votes"`
}

// LogHead is the ballot log's size and RFC 6962 root (base64 in JSON).
type LogHead struct {
	Size int64  `json:"size"`
	Root []byte `json:"root"`
}
