package operators

import (
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
)

// Notice is something that every operator is told of.
type Notice struct {
	Seq int64 // of its entry
	At  time.Time
	// Kind is the entry's action, or NewDevice.
	Kind string
	// Name and Label are the account's and the passkey's that it is about, where it is about one.
	Name, Label string
	// By and Reason are the entry's.
	By, Reason string
	// Poll and Verb are a proposal's.
	Poll, Verb string
	// Times is how often it happened since the notice before of its kind.
	Times int
}

// NewDevice is a sign-in from a browser that the operator has not signed in from before.
const NewDevice = "new-device"

// keptNotices bounds what is shown; the chain keeps them all.
const keptNotices = 200

// noticed returns the notice that an entry is, if it is one.
func noticed(e *ballotapi.AuditEntry, d *Detail) (Notice, bool) {
	kind := e.Action
	switch e.Action {
	case LinkRefused, PasskeyRefused, CounterRegressed, RecoveryMade, LinkMade, PasskeyAdded, PasskeyRemoved, Proposed, ProposalWithdrawn:
	case SignedIn:
		if !d.NewDevice {
			return Notice{}, false
		}
		kind = NewDevice
	default:
		return Notice{}, false
	}
	return Notice{Seq: e.Seq, At: e.At, Kind: kind, Name: d.Name, Label: d.Label, By: e.Actor, Reason: e.Reason, Poll: d.Poll, Verb: d.Verb, Times: max(1, d.Times)}, true
}

// Notices are the last ones, the oldest first.
func (s *State) Notices() []Notice { return s.notices }

// NewestNotice is the number of the last one; 0 if there is none.
func (s *State) NewestNotice() int64 {
	if len(s.notices) == 0 {
		return 0
	}
	return s.notices[len(s.notices)-1].Seq
}

// Seen is the number of the last notice that an account has seen.
func (s *State) Seen(account string) int64 { return s.seen[account] }

// KnownDevice says whether an account has signed in from a browser before.
func (s *State) KnownDevice(account, device string) bool { return s.devices[account+" "+device] }

func (s *State) notice(e *ballotapi.AuditEntry, d *Detail) {
	if n, ok := noticed(e, d); ok {
		// The state before keeps its own: never append in place.
		kept := s.notices[max(0, len(s.notices)+1-keptNotices):]
		s.notices = append(append(make([]Notice, 0, len(kept)+1), kept...), n)
	}
	switch e.Action {
	case NoticesSeen:
		s.seen[d.Account] = max(s.seen[d.Account], d.UpTo)
	case PasskeyAdded:
		// Whoever registers a passkey has seen what came before, and not been away meanwhile.
		if _, ok := s.seen[d.Account]; !ok {
			s.seen[d.Account] = e.Seq
		}
	}
	if (e.Action == SignedIn || e.Action == PasskeyAdded) && d.Device != "" {
		s.devices[d.Account+" "+d.Device] = true
	}
}
