package bundle

import (
	"fmt"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/tally"
)

// Status is how a check came out.
type Status string

// The outcomes of a check.
const (
	OK     Status = "ok"
	Failed Status = "failed"
	// NotPossible is a check that something was missing for. By itself it speaks neither for nor against.
	NotPossible Status = "not_possible"
)

// CheckID names a check; it is stable.
type CheckID string

// The checks, in their order.
const (
	CheckContents            CheckID = "contents"
	CheckManifestSignature   CheckID = "manifest-signature"
	CheckPinnedKey           CheckID = "pinned-key"
	CheckManifest            CheckID = "manifest"
	CheckResultSignature     CheckID = "result-signature"
	CheckResultInputs        CheckID = "result-inputs"
	CheckCheckpointSignature CheckID = "checkpoint-signature"
	CheckLeaves              CheckID = "leaves"
	CheckUnique              CheckID = "unique"
	CheckRoot                CheckID = "root"
	CheckResultLog           CheckID = "result-log"
	CheckOpened              CheckID = "opened"
	CheckRecount             CheckID = "recount"
	CheckNumbers             CheckID = "numbers"
	CheckReopened            CheckID = "reopened"
	// CheckIdentityKey occurs where the bundle has a certificate of destruction.
	CheckIdentityKey CheckID = "identity-key"
	// CheckReceipt occurs once per receipt asked for.
	CheckReceipt CheckID = "receipt"
)

// titles are the checks of every bundle, and what each establishes.
var titles = []struct {
	id    CheckID
	title string
}{
	{CheckContents, "The bundle has every file it should, and no other"},
	{CheckManifestSignature, "The manifest is signed"},
	{CheckPinnedKey, "The signing key is the one that was announced"},
	{CheckManifest, "The poll's rules are sound"},
	{CheckResultSignature, "The result is signed by the same key"},
	{CheckResultInputs, "The result is of this poll, by this manifest and tally key"},
	{CheckCheckpointSignature, "The log's checkpoint is signed by the manifest's log key"},
	{CheckLeaves, "Every leaf is the hash of its sealed ballot"},
	{CheckUnique, "No ballot is in the log twice"},
	{CheckRoot, "The ballots make the checkpoint's root"},
	{CheckResultLog, "The result was counted from this log"},
	{CheckOpened, "Every opened ballot is valid, and their order tells nothing"},
	{CheckRecount, "The opened ballots, counted again, give the result"},
	{CheckNumbers, "The numbers of ballots agree"},
	{CheckReopened, "The sealed ballots, opened again, are the opened ones"},
}

// The checks that not every bundle has.
const (
	receiptTitle     = "The receipt's ballot is in the log"
	certificateTitle = "The operator certifies that the identity key was destroyed"
)

// Check is one check and how it came out.
type Check struct {
	ID     CheckID `json:"id"`
	Title  string  `json:"title"`
	Status Status  `json:"status"`
	// Detail says what was found, or why it failed or was not possible; may be empty.
	Detail string `json:"detail,omitempty"`
}

// Report is what Verify found.
type Report struct {
	Poll  string    `json:"poll"`
	Title poll.Text `json:"title,omitempty"`
	// SigningKey is the thumbprint of the key that signed the manifest.
	SigningKey string `json:"signing_key,omitempty"`
	// Manifest is the signed manifest; nil without a valid signature.
	Manifest *poll.Manifest `json:"-"`
	// Ballots is the number of sealed ballots in the log.
	Ballots int64 `json:"ballots"`
	// Result is the signed result; nil without a valid signature. It holds only if OK.
	Result *tally.Result `json:"result,omitempty"`
	Checks []Check       `json:"checks"`
}

// OK reports whether no check failed.
func (r *Report) OK() bool {
	for _, c := range r.Checks {
		if c.Status == Failed {
			return false
		}
	}
	return true
}

// newReport begins with nothing found possible: a check that is never reached says so.
func newReport() *Report {
	r := &Report{}
	for _, t := range titles {
		r.Checks = append(r.Checks, Check{ID: t.id, Title: t.title, Status: NotPossible, Detail: "an earlier check failed"})
	}
	return r
}

func (r *Report) set(id CheckID, status Status, format string, args ...any) {
	for i := range r.Checks {
		if r.Checks[i].ID == id {
			r.Checks[i].Status, r.Checks[i].Detail = status, fmt.Sprintf(format, args...)
		}
	}
}

func (r *Report) ok(id CheckID, format string, args ...any)     { r.set(id, OK, format, args...) }
func (r *Report) failed(id CheckID, format string, args ...any) { r.set(id, Failed, format, args...) }

func (r *Report) notPossible(id CheckID, format string, args ...any) {
	r.set(id, NotPossible, format, args...)
}

// add appends a check that not every bundle has.
func (r *Report) add(id CheckID, title string, status Status, format string, args ...any) {
	r.Checks = append(r.Checks, Check{ID: id, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)})
}
