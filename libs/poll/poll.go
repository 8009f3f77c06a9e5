// Package poll says what a poll is: what an operator writes in a poll file, and the manifest that
// every client reads.
package poll

import "time"

// Text is the same words in several languages, BCP 47 tag to text.
type Text map[string]string

// Languages a poll may be held in, in the order they are offered.
var Languages = []string{"zh-Hant-HK", "zh-Hans", "en"}

// State is a poll's place in its life: draft → open ⇄ paused → closed → counted → published.
type State string

// The states of a poll.
const (
	Draft     State = "draft"
	Open      State = "open"
	Paused    State = "paused"
	Closed    State = "closed"
	Counted   State = "counted"
	Published State = "published"
)

// Kind tells a vote that counts from one that does not; the page says so on every screen.
type Kind string

// The kinds of poll.
const (
	Public    Kind = "public"
	Rehearsal Kind = "rehearsal"
	Demo      Kind = "demo"
)

// Mode is how a phone is proved.
type Mode string

// The modes of verification.
const (
	VoterSends    Mode = "voter_sends"
	VoterReceives Mode = "voter_receives"
)

// OptionKind tells choices from the two ways of not choosing.
type OptionKind string

// Abstain and blank exclude every other option of their question.
const (
	Choice  OptionKind = "choice"
	Abstain OptionKind = "abstain"
	Blank   OptionKind = "blank"
)

// Definition is what an operator decides: the content of a poll file.
type Definition struct {
	ID           string       `json:"id" yaml:"id"`
	Kind         Kind         `json:"kind" yaml:"kind"`
	Title        Text         `json:"title" yaml:"title"`
	Summary      Text         `json:"summary,omitempty" yaml:"summary,omitempty"`
	Organiser    Organiser    `json:"organiser" yaml:"organiser"`
	Notice       Notice       `json:"notice" yaml:"notice"`
	Languages    []string     `json:"languages" yaml:"languages"`
	OpensAt      time.Time    `json:"opens_at" yaml:"opens_at"`
	ClosesAt     time.Time    `json:"closes_at" yaml:"closes_at"`
	Identity     Identity     `json:"identity" yaml:"identity"`
	Verification Verification `json:"verification" yaml:"verification"`
	Questions    []Question   `json:"questions" yaml:"questions"`
	// TallyKey is the trustees' public key; ballots are sealed to it. Only the file of a demo may leave
	// it out: whoever seeds the demo makes one (see Seeded).
	TallyKey JWK `json:"tally_key" yaml:"tally_key,omitempty"`
	// RevealTallyKey publishes the private tally key with the result, so that anybody can open every
	// ballot and repeat the count to the last step. It also lets each voter prove to others how they
	// voted, receipt in hand: votes can then be bought or forced. Default false.
	RevealTallyKey bool `json:"reveal_tally_key,omitempty" yaml:"reveal_tally_key,omitempty"`
	// SealOnServer lets voters whose browsers run no scripts vote: the API server then seals their ballots, and
	// for that moment knows who votes how. All others seal their own, as ever. Default false.
	SealOnServer bool `json:"seal_on_server,omitempty" yaml:"seal_on_server,omitempty"`
	// AuditWindowDays is how long after the close the identity key must be kept, so that a complaint about
	// who voted can still be looked into; 1 to 3650, and 0 for DefaultAuditWindowDays. See AuditWindow.
	AuditWindowDays int `json:"audit_window_days,omitempty" yaml:"audit_window_days,omitempty"`
}

// AuditWindow is how long after the close the identity key is kept. A demo counts for nothing, so there is
// nothing to look into, and its key may go at the close.
func (d *Definition) AuditWindow() time.Duration {
	days := d.AuditWindowDays
	switch {
	case days == 0 && d.Kind == Demo:
		return 0
	case days == 0:
		days = DefaultAuditWindowDays
	}
	return time.Duration(days) * 24 * time.Hour
}

// Organiser is who runs the poll; always visible to voters.
type Organiser struct {
	Name    Text   `json:"name" yaml:"name"`
	URL     string `json:"url,omitempty" yaml:"url,omitempty"`
	Contact string `json:"contact,omitempty" yaml:"contact,omitempty"`
}

// Notice is why data is asked, how long it is kept, and what the result is worth.
type Notice struct {
	Purpose   Text `json:"purpose" yaml:"purpose"`
	Retention Text `json:"retention" yaml:"retention"`
	Effect    Text `json:"effect" yaml:"effect"`
}

// Identity names the scheme of identity numbers ("hkid").
type Identity struct {
	Type string `json:"type" yaml:"type"`
}

// Verification is how phones are proved and how long each step may take.
type Verification struct {
	Mode Mode `json:"mode" yaml:"mode"`
	// Seconds to prove the phone; 30 to 3600, or to 600 for a code that voters receive; default 180 as in 2014.
	Seconds int `json:"seconds" yaml:"seconds,omitempty"`
	// BallotSeconds to fill in the ballot once verified; 60 to 7200, default 1800.
	BallotSeconds int `json:"ballot_seconds" yaml:"ballot_seconds,omitempty"`
}

// Question is one thing asked.
type Question struct {
	ID    string `json:"id" yaml:"id"`
	Title Text   `json:"title" yaml:"title"`
	Text  Text   `json:"text,omitempty" yaml:"text,omitempty"`
	// Min is the fewest options to pick; 0 lets the question go unanswered.
	Min int `json:"min" yaml:"min"`
	Max int `json:"max" yaml:"max"`
	// Order is "fixed" or "random" (drawn anew for each voter, and said).
	Order   string   `json:"order" yaml:"order,omitempty"`
	Options []Option `json:"options" yaml:"options"`
}

// Option is one thing that may be chosen.
type Option struct {
	ID    string     `json:"id" yaml:"id"`
	Label Text       `json:"label" yaml:"label"`
	Text  Text       `json:"text,omitempty" yaml:"text,omitempty"`
	Kind  OptionKind `json:"kind" yaml:"kind,omitempty"`
}

// JWK is a P-256 public key (RFC 7517); Kid is its thumbprint (RFC 7638, SHA-256, base64url).
type JWK struct {
	Kty string `json:"kty" yaml:"kty"`
	Crv string `json:"crv" yaml:"crv"`
	X   string `json:"x" yaml:"x"`
	Y   string `json:"y" yaml:"y"`
	Kid string `json:"kid" yaml:"kid"`
}

// BallotRules are what a client needs to seal a ballot.
type BallotRules struct {
	Suite string `json:"suite"`
	// Size of the padded plain ballot, bytes.
	Size     int `json:"size"`
	TallyKey JWK `json:"tally_key"`
}

// Manifest is what clients read: the definition, the poll's state, and the keys to check with.
type Manifest struct {
	ID string `json:"id"`
	// Sequence grows with every change; a client refuses to go back.
	Sequence     int64        `json:"sequence"`
	State        State        `json:"state"`
	Kind         Kind         `json:"kind"`
	Title        Text         `json:"title"`
	Summary      Text         `json:"summary,omitempty"`
	Organiser    Organiser    `json:"organiser"`
	Notice       Notice       `json:"notice"`
	Languages    []string     `json:"languages"`
	OpensAt      time.Time    `json:"opens_at"`
	ClosesAt     time.Time    `json:"closes_at"`
	Identity     Identity     `json:"identity"`
	Verification Verification `json:"verification"`
	Questions    []Question   `json:"questions"`
	Ballot       BallotRules  `json:"ballot"`
	// RevealTallyKey says beforehand that the private tally key will be published with the result.
	RevealTallyKey bool `json:"reveal_tally_key,omitempty"`
	// SealOnServer says beforehand that voters without scripts may have the API server seal their ballots.
	SealOnServer bool `json:"seal_on_server,omitempty"`
	// AuditWindowDays is the definition's; 0 is the default.
	AuditWindowDays int `json:"audit_window_days,omitempty"`
	SigningKey      JWK `json:"signing_key"`
	// LogKey is the checkpoint's verifier key (C2SP signed-note vkey, Ed25519).
	LogKey string `json:"log_key"`
}

// Summary is a manifest in a list.
type Summary struct {
	ID       string    `json:"id"`
	Title    Text      `json:"title"`
	State    State     `json:"state"`
	Kind     Kind      `json:"kind"`
	OpensAt  time.Time `json:"opens_at"`
	ClosesAt time.Time `json:"closes_at"`
}
