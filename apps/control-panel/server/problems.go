package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// trouble is a problem of the panel's own API, in the shape of RFC 9457. The page shows its own
// words for a code in the operator's language, and Detail beneath them.
type trouble struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Code   string         `json:"code"`
	Effect problem.Effect `json:"effect"`
	Field  string         `json:"field,omitempty"`
	// Line and Column are where a poll file is first wrong, from 1; Faults is all that is wrong.
	Line   int     `json:"line,omitempty"`
	Column int     `json:"column,omitempty"`
	Faults []fault `json:"faults,omitempty"`
	// RetryAfter is in seconds.
	RetryAfter int `json:"retry_after,omitempty"`
	// Have and Need count trustees' shares.
	Have int `json:"have,omitempty"`
	Need int `json:"need,omitempty"`
	// State is the poll's, where it is the reason.
	State string `json:"state,omitempty"`
}

func (t *trouble) Error() string { return t.Code + ": " + t.Title + " " + t.Detail }

// because returns a copy with what is particular to this time.
func (t *trouble) because(detail string) *trouble { c := *t; c.Detail = detail; return &c }

// at returns a copy that names the member at fault.
func (t *trouble) at(pointer string) *trouble { c := *t; c.Field = pointer; return &c }

// with returns a copy that lists what is wrong with a poll.
func (t *trouble) with(faults poll.Faults) *trouble {
	c := *t
	for _, f := range faults {
		c.Faults = append(c.Faults, fault{f.Path, f.Line, f.Column, f.Message})
	}
	return &c
}

// fault is one thing wrong with a poll; path as in questions[0].options[1].label.
type fault struct {
	Path    string `json:"path"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func tell(status int, code, title string) *trouble {
	return &trouble{Type: "about:blank", Title: title, Status: status, Code: code, Effect: problem.NotApplied}
}

// The panel's own problems; those of the public API keep their codes.
var (
	errLogInNeeded   = tell(http.StatusUnauthorized, "log-in-needed", "You are not logged in. Open the log-in link that the server printed.")
	errPasskeysInUse = tell(http.StatusForbidden, "passkeys-in-use", "A link alone lets nobody in any more. Sign in with your passkey; if you have none at hand, the machine's own can make a recovery link.")
	errPasskeyNeeded = tell(http.StatusForbidden, "passkey-needed", "Register a passkey first. Nothing was done.")
	errPasskey       = tell(http.StatusForbidden, "passkey-refused", "This passkey was not accepted. Nothing was done.")
	errPasskeyForm   = tell(http.StatusUnprocessableEntity, "passkey-unreadable", "The browser's answer is no passkey that this panel can take. Nothing was done.")
	errProofNeeded   = tell(http.StatusForbidden, "proof-needed", "This needs a confirmation by your passkey. Nothing was done.")
	errOtherAct      = tell(http.StatusForbidden, "proof-other", "Your passkey confirmed something else. Nothing was done.")
	errPasskeyAsked  = tell(http.StatusForbidden, "passkey-asked", "This panel asks for a passkey before anything that changes a poll. Nothing was done. Register one first.")
	errNoProposal    = tell(http.StatusNotFound, "proposal-gone", "This proposal was confirmed or withdrawn already, or is too old. Nothing was done.")
	errSecondNeeded  = tell(http.StatusForbidden, "second-needed", "Another operator has to confirm what you proposed. Nothing was done.")
	errCeremony      = tell(http.StatusConflict, "passkey-late", "This took too long, or was answered before. Nothing was done. Begin again.")
	errNoPasskeys    = tell(http.StatusConflict, "passkeys-impossible", "There can be no passkeys at this address. The panel has to be opened by a name, over https or as localhost.")
	errAccountName   = tell(http.StatusUnprocessableEntity, "account-name-wrong", "An operator's name has 2 to 40 letters, digits, spaces, dots, hyphens or underscores, and begins with a letter.")
	errAccountTaken  = tell(http.StatusConflict, "account-name-taken", "Another operator has this name.")
	errLabel         = tell(http.StatusUnprocessableEntity, "passkey-name-wrong", "Give the passkey a name of 1 to 40 characters.")
	errLastPasskey   = tell(http.StatusConflict, "passkey-last", "This is your last passkey: without it you could not sign in again. Add another first.")
	errPasskeyGone   = tell(http.StatusNotFound, "passkey-not-found", "There is no such passkey.")
	errTooMany       = tell(http.StatusServiceUnavailable, "too-many-sessions", "Too many browsers are logged in. Nothing was done.")
	errLinkSpent     = tell(http.StatusForbidden, "link-spent", "This log-in link was used before or is too old. A restarted server prints a new one; so does somebody who is logged in.")
	errCrossOrigin   = tell(http.StatusForbidden, "cross-origin", "Another website sent this request. Nothing was done.")
	errNotFound      = tell(http.StatusNotFound, "not-found", "Nothing is here.")
	errMethod        = tell(http.StatusMethodNotAllowed, "method-not-allowed", "This address does not take that method.")
	errField         = tell(http.StatusBadRequest, "invalid-field", "A member of the request has the wrong form.")
	errConfirm       = tell(http.StatusUnprocessableEntity, "confirmation-wrong", "The id you typed is not this poll's. Nothing was done.")
	errReason        = tell(http.StatusUnprocessableEntity, "reason-missing", "Say why, in 3 to 500 characters. It is kept in the audit trail.")
	errPollFile      = tell(http.StatusUnprocessableEntity, "poll-file-invalid", "The poll file has a mistake.")
	errDraft         = tell(http.StatusUnprocessableEntity, "draft-invalid", "The poll is not complete or not consistent.")
	errExists        = tell(http.StatusConflict, "poll-exists", "There is a poll with this id already.")
	errRefused       = tell(http.StatusConflict, "refused", "The poll's state does not allow this. Nothing was done.")
	errShares        = tell(http.StatusUnprocessableEntity, "shares-wrong", "The ballots could not be opened with these shares. Nothing was counted.")
	errFewShares     = tell(http.StatusUnprocessableEntity, "shares-few", "These are not enough shares. Nothing was counted.")
	errMixedShares   = tell(http.StatusUnprocessableEntity, "shares-mixed", "The shares belong to different keys. Nothing was counted.")
	errShareForm     = tell(http.StatusUnprocessableEntity, "share-unreadable", "This is not a trustee's share or key.")
	errOtherKey      = tell(http.StatusUnprocessableEntity, "key-wrong", "This key is not the one the poll's ballots are sealed to. Nothing was counted.")
	errCounting      = tell(http.StatusConflict, "counting", "This poll is being counted already.")
	errKeyKept       = tell(http.StatusNotFound, "key-kept", "The poll's identity key has not been destroyed.")
	errNoResult      = tell(http.StatusNotFound, "not-counted", "The poll has not been counted yet.")
	errInternal      = func() *trouble {
		t := tell(http.StatusInternalServerError, "internal", "Something went wrong. Look at the audit trail before trying again: it says what was done.")
		t.Effect = problem.Unknown
		return t
	}()
)

// troubleOf finds the words for an error; internal text never gets out.
func troubleOf(err error) *trouble {
	if t, ok := errors.AsType[*trouble](err); ok {
		return t
	}
	if r, ok := errors.AsType[*ballotapi.Refused](err); ok {
		t := errRefused.because(r.Reason)
		t.State = string(r.State)
		return t
	}
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Code != problem.Internal {
		row := p.Row()
		t := tell(row.Status, string(p.Code), row.Title+".")
		t.Detail, t.Effect, t.Field = p.Detail, row.Effect, p.Field
		t.RetryAfter = int(p.RetryAfter.Seconds())
		return t
	}
	return errInternal
}

// fail answers with a problem and stops. What is our own fault is logged here, once.
func (s *Server) fail(c *gin.Context, err error) {
	t := troubleOf(err)
	if t.Status >= http.StatusInternalServerError {
		s.log.ErrorContext(c, "request failed", slog.String("path", c.FullPath()), slog.String("code", t.Code), slog.Any("error", err))
	}
	write(c.Writer, t)
	c.Abort()
}

func write(w http.ResponseWriter, t *trouble) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if t.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(t.RetryAfter))
	}
	w.WriteHeader(t.Status)
	_ = json.NewEncoder(w).Encode(t) // the client may be gone; there is nobody left to tell
}
