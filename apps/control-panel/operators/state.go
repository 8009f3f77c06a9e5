package operators

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/popvote/popvote/libs/ballotapi"
)

// The chain's actions.
const (
	PasskeyAdded   = "passkey-added"
	PasskeyRemoved = "passkey-removed"
	SignedIn       = "signed-in"
	// ActProved is an act that the operator's passkey has signed. What came of it is in the poll's chain.
	ActProved = "act-proved"
	// LinkMade is a link by which somebody may register a passkey; RecoveryMade is one that was made on the machine.
	LinkMade     = "link-made"
	RecoveryMade = "recovery-made"
	LinkUsed     = "link-used"
	// LinkRefused, PasskeyRefused and CounterRegressed are what was tried and did not succeed.
	LinkRefused      = "link-refused"
	PasskeyRefused   = "passkey-refused"
	CounterRegressed = "counter-regressed"
	// Proposed is what takes two operators, and waits for the second.
	Proposed          = "proposed"
	ProposalConfirmed = "proposal-confirmed"
	ProposalWithdrawn = "proposal-withdrawn"
	// NoticesSeen is how far an operator has seen the notices.
	NoticesSeen = "notices-seen"
)

// Entry is what an entry of the chain is to say.
type Entry struct {
	Actor, Action, Reason string
	Detail                Detail
}

// Detail is an entry's detail; each action uses the members it needs.
type Detail struct {
	Account    string               `json:"account,omitempty"` // Account.ID
	Name       string               `json:"name,omitempty"`    // the account's
	Passkey    string               `json:"passkey,omitempty"` // Passkey.ID
	Label      string               `json:"label,omitempty"`   // the passkey's
	Credential *webauthn.Credential `json:"credential,omitempty"`
	Count      uint32               `json:"count,omitempty"`
	BackedUp   bool                 `json:"backed_up,omitempty"`
	Link       string               `json:"link,omitempty"` // LinkID
	Until      *time.Time           `json:"until,omitempty"`
	// Times is how often something was refused since the entry before that says the same.
	Times int  `json:"times,omitempty"`
	Act   *Act `json:"act,omitempty"`
	// Device is a browser's hash; NewDevice says that the account had not signed in from it.
	Device    string `json:"device,omitempty"`
	NewDevice bool   `json:"new_device,omitempty"`
	UpTo      int64  `json:"up_to,omitempty"` // Notice.Seq
	// Proposal is its ID, Verb and Body what is to be done to Poll.
	Proposal string          `json:"proposal,omitempty"`
	Poll     string          `json:"poll,omitempty"`
	Verb     string          `json:"verb,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// State is what the chain says up to an entry. It is not changed any more once it can be read.
type State struct {
	seq      int64
	hash     []byte
	accounts map[string]Account
	passkeys map[string]Passkey
	links    map[string]Link
	proposed map[string]Proposal
	notices  []Notice
	seen     map[string]int64 // by account
	devices  map[string]bool  // by account and device
}

// Account is an operator. What they do is in every audit chain under their name.
type Account struct {
	// ID is the user handle of their passkeys: 16 random bytes, base64url.
	ID   string
	Name string
}

// Passkey is one passkey that can sign in.
type Passkey struct {
	// ID is the credential's, base64url.
	ID         string
	Account    string
	Label      string
	AddedAt    time.Time
	LastUsedAt time.Time // zero if it was never used
	Credential webauthn.Credential
}

// Link lets somebody register a passkey, once.
type Link struct {
	Until time.Time
	// Recovery is one that was made on the machine.
	Recovery bool
	// Name is whom it is for, empty for somebody new; Account is their ID if they have been here before.
	Name, Account string
}

func (s *State) clone() *State {
	c := *s
	c.accounts, c.passkeys, c.links = clone(s.accounts), clone(s.passkeys), clone(s.links)
	c.proposed = clone(s.proposed)
	c.seen, c.devices = clone(s.seen), clone(s.devices)
	return &c
}

func clone[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// follow reads the next entry. An action of a newer version changes nothing that this one knows of.
func (s *State) follow(e *ballotapi.AuditEntry) error {
	var d Detail
	if err := json.Unmarshal([]byte(e.Detail), &d); err != nil {
		return err
	}
	s.seq, s.hash = e.Seq, e.Hash
	s.notice(e, &d)
	switch e.Action {
	case PasskeyAdded:
		if d.Credential == nil {
			return errNoCredential
		}
		s.accounts[d.Account] = Account{ID: d.Account, Name: d.Name}
		s.passkeys[d.Passkey] = Passkey{
			ID: d.Passkey, Account: d.Account, Label: d.Label, AddedAt: e.At, Credential: *d.Credential,
		}
	case PasskeyRemoved:
		delete(s.passkeys, d.Passkey)
	case SignedIn, ActProved:
		s.used(d, e.At)
	case LinkMade, RecoveryMade:
		if d.Until == nil {
			return errNoUntil
		}
		s.links[d.Link] = Link{Until: *d.Until, Recovery: e.Action == RecoveryMade, Name: d.Name, Account: d.Account}
	case Proposed:
		if d.Until == nil {
			return errNoUntil
		}
		s.proposed[d.Proposal] = Proposal{
			ID: d.Proposal, Account: d.Account, Name: d.Name, Poll: d.Poll, Verb: d.Verb, Body: d.Body, Reason: e.Reason, At: e.At, Until: *d.Until,
		}
	case ProposalConfirmed, ProposalWithdrawn:
		delete(s.proposed, d.Proposal)
	case LinkUsed:
		delete(s.links, d.Link)
	}
	return nil
}

// used notes what a passkey said of itself.
func (s *State) used(d Detail, at time.Time) {
	p, ok := s.passkeys[d.Passkey]
	if !ok {
		return
	}
	p.LastUsedAt = at
	p.Credential.Authenticator.SignCount = d.Count
	p.Credential.Flags.BackupState = d.BackedUp
	s.passkeys[d.Passkey] = p
}

// InUse says whether anybody has a passkey: from then on a log-in link alone lets nobody in.
func (s *State) InUse() bool { return len(s.passkeys) > 0 }

// Account finds an account by its ID.
func (s *State) Account(id string) (Account, bool) {
	a, ok := s.accounts[id]
	return a, ok
}

// Named finds an account by its name, in any case.
func (s *State) Named(name string) (Account, bool) {
	for _, a := range s.accounts {
		if strings.EqualFold(a.Name, name) {
			return a, true
		}
	}
	return Account{}, false
}

// Accounts are all accounts, by name.
func (s *State) Accounts() []Account {
	return slices.SortedFunc(maps.Values(s.accounts), func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
}

// Passkey finds a passkey that has not been removed.
func (s *State) Passkey(id string) (Passkey, bool) {
	p, ok := s.passkeys[id]
	return p, ok
}

// Passkeys are an account's, the oldest first.
func (s *State) Passkeys(account string) []Passkey {
	var of []Passkey
	for _, p := range s.passkeys {
		if p.Account == account {
			of = append(of, p)
		}
	}
	slices.SortFunc(of, func(a, b Passkey) int { return cmp.Or(a.AddedAt.Compare(b.AddedAt), cmp.Compare(a.ID, b.ID)) })
	return of
}

// Link finds the link with this ID, if it was not used and is not too old.
func (s *State) Link(id string, now time.Time) (Link, bool) {
	l, ok := s.links[id]
	if !ok || now.After(l.Until) {
		return Link{}, false
	}
	return l, true
}

// LinkID is what the chain knows a link's secret by.
func LinkID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// User gives the passkeys of an account their form for package webauthn.
func (s *State) User(a Account) User { return User{a, s.Passkeys(a.ID)} }

// User implements webauthn.User.
type User struct {
	Account

	passkeys []Passkey
}

var _ webauthn.User = User{}

// WebAuthnID implements webauthn.User.
func (u User) WebAuthnID() []byte {
	id, _ := base64.RawURLEncoding.DecodeString(u.ID) // it was made by NewAccount
	return id
}

// WebAuthnName implements webauthn.User.
func (u User) WebAuthnName() string { return u.Name }

// WebAuthnDisplayName implements webauthn.User.
func (u User) WebAuthnDisplayName() string { return u.Name }

// WebAuthnCredentials implements webauthn.User.
func (u User) WebAuthnCredentials() []webauthn.Credential {
	all := make([]webauthn.Credential, len(u.passkeys))
	for i, p := range u.passkeys {
		all[i] = p.Credential
	}
	return all
}
