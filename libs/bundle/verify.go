package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

// Progress is told how far a step has come. The steps are "ballots", or "reopen" where ballots are opened
// at the same time, and then "opened".
type Progress func(step string, done, total int64)

// Option asks for more than a bundle can be checked for by itself.
type Option func(*verifier)

// PinKey asks that the manifest be signed by the key with this thumbprint, as the organiser announced it
// elsewhere. Without it a bundle can be all of one piece, and all of it forged.
func PinKey(thumbprint string) Option { return func(v *verifier) { v.pin = thumbprint } }

// HasReceipt asks whether a voter's receipt (JSON, as the page saves it) belongs to a ballot of the log.
func HasReceipt(name string, data []byte) Option {
	return func(v *verifier) { v.receipts = append(v.receipts, voterReceipt{name: name, data: data}) }
}

// TallyKey gives the private tally key (32 bytes) to open every ballot with, where the bundle does not
// reveal it: trustees can check in private what the public cannot.
func TallyKey(scalar []byte) Option { return func(v *verifier) { v.scalar = scalar } }

// Verify checks a bundle. What is wrong with the poll's record is in the report; an error means that the
// file could not be read (ErrNotBundle, an I/O error, the context's end), so that there is no report.
// Files are read once, each as it goes. It holds 16 bytes per ballot, and with the tally key opens ballots
// on all processors.
func Verify(ctx context.Context, r io.ReaderAt, size int64, progress Progress, options ...Option) (*Report, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	key := tally.NewMultisetKey()
	v := &verifier{archive: a, progress: progress, report: newReport(), setKey: key, openedSet: tally.NewMultiset(key)}
	for _, o := range options {
		o(v)
	}
	v.contents()
	if v.manifestChecks(); v.manifest != nil {
		v.resultChecks()
		v.checkpointChecks()
		v.readReceipts()
		v.reopens = v.reopenable()
		v.logChecks(ctx)
		v.openedChecks(ctx)
		v.numberChecks()
		v.reopenChecks()
		v.certificateCheck()
		v.receiptChecks()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("couldn't finish the verification: %w", context.Cause(ctx))
	}
	return v.report, nil
}

// verifier is a verification under way. Each group of checks leaves what the next ones need; nil or false
// where it could not.
type verifier struct {
	archive  *archive
	progress Progress
	report   *Report

	pin      string
	receipts []voterReceipt
	scalar   []byte

	manifest        *poll.Manifest
	manifestPayload []byte
	sound           bool // the manifest is one that ballots can be read by
	result          *tally.Result
	head            *tally.LogHead // the checkpoint's
	ballots         int64          // lines of ballots.ndjson; -1 if not read to its end
	opened          int64          // lines of opened.ndjson; -1 if not read to its end

	reopens     bool // scalar is there to open the ballots with
	reopened    *tally.Reopened
	reopenError error
	// setKey is drawn anew for each verification; openedSet holds the lines of opened.ndjson.
	setKey    tally.MultisetKey
	openedSet *tally.Multiset
}

func (v *verifier) contents() {
	if len(v.archive.faults) > 0 {
		v.report.failed(CheckContents, "%s", strings.Join(v.archive.faults, "; "))
		return
	}
	v.report.ok(CheckContents, "")
}

func (v *verifier) manifestChecks() {
	d, err := v.archive.document(manifestFile)
	if err != nil {
		v.report.failed(CheckManifestSignature, "%v", err)
		return
	}
	m, raw, err := payload[poll.Manifest](d)
	if err != nil {
		v.report.failed(CheckManifestSignature, "%s: %v", manifestFile, err)
		return
	}
	v.report.Poll, v.report.Title = m.ID, m.Title
	if err := checkDocument(d, m.SigningKey); err != nil {
		v.report.failed(CheckManifestSignature, "%s: %v", manifestFile, err)
		return
	}
	v.manifest, v.manifestPayload = m, raw
	v.report.Manifest, v.report.SigningKey = m, m.SigningKey.Kid
	v.report.ok(CheckManifestSignature, "signed by the key %s", m.SigningKey.Kid)

	switch {
	case v.pin == "":
		v.report.notPossible(CheckPinnedKey, "no key was given to compare with: make sure that the organiser has announced %s", m.SigningKey.Kid)
	case v.pin != m.SigningKey.Kid:
		v.report.failed(CheckPinnedKey, "it is signed by %s, not by %s", m.SigningKey.Kid, v.pin)
	default:
		v.report.ok(CheckPinnedKey, "")
	}

	if err := soundManifest(m); err != nil {
		v.report.failed(CheckManifest, "%v", err)
		return
	}
	v.sound = true
	v.report.ok(CheckManifest, "")
}

// checkDocument checks a document's signature, and that its readable twin says the same as what was signed.
func checkDocument(d signed.Document, key poll.JWK) error {
	raw, err := signed.Verify(d.JWS, key)
	if err != nil {
		return fmt.Errorf("the signature does not hold: %w", err)
	}
	// A JWS can say that its payload is not base64 (RFC 7797); ours never do, and were read as if.
	if _, read, err := payload[any](d); err != nil || !bytes.Equal(read, raw) {
		return errors.New("the signed payload is in an unknown form")
	}
	if !sameJSON(d.Plain, raw) {
		return errors.New("the readable document is not what was signed")
	}
	return nil
}

// soundManifest checks that ballots can be read by the manifest.
func soundManifest(m *poll.Manifest) error {
	d := m.Definition()
	if err := d.Validate(); err != nil {
		return fmt.Errorf("the poll's rules do not hold: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if m.Ballot.Suite != poll.Suite {
		return fmt.Errorf("its ballots are sealed by an unknown suite, %q", m.Ballot.Suite)
	}
	if want := ballot.Size(d); m.Ballot.Size != want {
		return fmt.Errorf("its ballots have %d bytes; they should have %d", m.Ballot.Size, want)
	}
	return nil
}

func (v *verifier) resultChecks() {
	d, err := v.archive.document(resultFile)
	if err != nil {
		v.report.failed(CheckResultSignature, "%v", err)
		return
	}
	if err := checkDocument(d, v.manifest.SigningKey); err != nil {
		v.report.failed(CheckResultSignature, "%s: %v", resultFile, err)
		return
	}
	result, _, err := payload[tally.Result](d)
	if err != nil {
		v.report.failed(CheckResultSignature, "%s: %v", resultFile, err)
		return
	}
	v.result, v.report.Result = result, result
	v.report.ok(CheckResultSignature, "")

	digest := sha256.Sum256(v.manifestPayload)
	switch {
	case result.Poll != v.manifest.ID:
		v.report.failed(CheckResultInputs, "it is the result of the poll %q", result.Poll)
	case result.ManifestSHA256 != hex.EncodeToString(digest[:]):
		v.report.failed(CheckResultInputs, "it was counted by another manifest than the one in the bundle")
	case result.TallyKeyID != v.manifest.Ballot.TallyKey.Kid:
		v.report.failed(CheckResultInputs, "it was counted with another key than the manifest's, %s", result.TallyKeyID)
	default:
		v.report.ok(CheckResultInputs, "")
	}
}

func (v *verifier) checkpointChecks() {
	data, err := v.archive.read(checkpointFile)
	if err != nil {
		v.report.failed(CheckCheckpointSignature, "%v", err)
		return
	}
	key, err := note.NewVerifier(v.manifest.LogKey)
	if err != nil {
		v.report.failed(CheckCheckpointSignature, "the manifest's log_key is not a verifier key")
		return
	}
	checkpoint, err := ballotlog.Open(data, key)
	if err != nil {
		v.report.failed(CheckCheckpointSignature, "%v", err)
		return
	}
	v.head = &tally.LogHead{Size: checkpoint.Tree.N, Root: checkpoint.Tree.Hash[:]}
	v.report.ok(CheckCheckpointSignature, "%d ballots, root %s", v.head.Size, checkpoint.Tree.Hash)
}

func (v *verifier) resultLogCheck() {
	switch {
	case v.head == nil || v.result == nil:
		v.report.notPossible(CheckResultLog, "there is no valid checkpoint, or no valid result")
	case v.result.Log.Size != v.head.Size || !bytes.Equal(v.result.Log.Root, v.head.Root):
		v.report.failed(CheckResultLog, "the result was counted from another log than the checkpoint's")
	default:
		v.report.ok(CheckResultLog, "")
	}
}
