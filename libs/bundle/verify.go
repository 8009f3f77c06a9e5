package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// Progress is told how far a step has come. The steps are "ballots", "opened" and "reopen".
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

// voterReceipt is a receipt to look for.
type voterReceipt struct {
	name    string
	data    []byte
	parsed  ballotapi.Receipt
	problem string // what is wrong with the receipt by itself
	place   int64  // of its leaf in the log, from 1; 0 if not there
}

// Verify checks a bundle. What is wrong with the poll's record is in the report; an error means that the
// file could not be read (ErrNotBundle, an I/O error, the context's end), so that there is no report.
// It holds 16 bytes per ballot beside the opened ballots' distinct forms; with the tally key, 24 more.
func Verify(ctx context.Context, r io.ReaderAt, size int64, progress Progress, options ...Option) (*Report, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	v := &verifier{archive: a, progress: progress, report: newReport()}
	for _, o := range options {
		o(v)
	}
	v.contents()
	if v.manifestChecks(); v.manifest != nil {
		v.resultChecks()
		v.checkpointChecks()
		v.readReceipts()
		v.logChecks(ctx)
		v.openedChecks(ctx)
		v.numberChecks()
		v.reopenChecks(ctx)
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
	signedNote, err := note.Open(data, note.VerifierList(key))
	if err != nil {
		v.report.failed(CheckCheckpointSignature, "the signature does not hold: %v", err)
		return
	}
	head, err := parseCheckpoint(signedNote.Text, key.Name())
	if err != nil {
		v.report.failed(CheckCheckpointSignature, "%v", err)
		return
	}
	v.head = head
	v.report.ok(CheckCheckpointSignature, "%d ballots, root %s", head.Size, base64.StdEncoding.EncodeToString(head.Root))
}

// parseCheckpoint reads a checkpoint's text (C2SP tlog-checkpoint): origin, size, root, extensions.
func parseCheckpoint(text, origin string) (*tally.LogHead, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return nil, errors.New("it is not a checkpoint: lines are missing")
	}
	if lines[0] != origin {
		return nil, fmt.Errorf("it is the checkpoint of another log, %q", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, errors.New("it is not a checkpoint: its size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return nil, errors.New("it is not a checkpoint: its root is not a hash")
	}
	return &tally.LogHead{Size: size, Root: root}, nil
}

// logChecks goes once through the sealed ballots.
func (v *verifier) logChecks(ctx context.Context) {
	v.ballots = -1
	var (
		tree  merkle
		marks []leafMark
		wrong int64
		first int64
		total int64
	)
	if v.head != nil {
		total = v.head.Size
	}
	for line, err := range v.archive.lines(ballotsFile) {
		var leaf, sealed []byte
		if err == nil {
			if leaf, sealed, err = parseBallot(line); err != nil {
				err = fmt.Errorf("line %d of %s: %w", tree.size+1, ballotsFile, err)
			}
		}
		if err != nil {
			v.report.failed(CheckLeaves, "%v", err)
			v.report.notPossible(CheckUnique, "the ballots could not be read to the end")
			v.report.notPossible(CheckRoot, "the ballots could not be read to the end")
			v.resultLogCheck()
			return
		}
		tree.add(tlog.Hash(leaf))
		marks = append(marks, leafMark(leaf))
		if want := ballot.Leaf(v.manifest.ID, sealed); !bytes.Equal(want[:], leaf) {
			if wrong++; wrong == 1 {
				first = tree.size
			}
		}
		for i := range v.receipts {
			if bytes.Equal(v.receipts[i].parsed.Leaf, leaf) {
				v.receipts[i].place = tree.size
			}
		}
		if tree.size%1024 == 0 {
			if ctx.Err() != nil {
				return
			}
			v.progress("ballots", tree.size, max(total, tree.size))
		}
	}
	v.ballots, v.report.Ballots = tree.size, tree.size
	v.progress("ballots", tree.size, tree.size)

	if wrong > 0 {
		v.report.failed(CheckLeaves, "%d leaves are not the hash of their ballot; the first is on line %d", wrong, first)
	} else {
		v.report.ok(CheckLeaves, "%d ballots", tree.size)
	}
	if n := repeated(marks); n > 0 {
		v.report.failed(CheckUnique, "%d ballots are there more than once", n)
	} else {
		v.report.ok(CheckUnique, "")
	}
	root := tree.root()
	switch {
	case v.head == nil:
		v.report.notPossible(CheckRoot, "there is no valid checkpoint")
	case tree.size != v.head.Size:
		v.report.failed(CheckRoot, "there are %d ballots; the checkpoint is of %d", tree.size, v.head.Size)
	case !bytes.Equal(root[:], v.head.Root):
		v.report.failed(CheckRoot, "the ballots make another root than the checkpoint's: one was changed, or their order was")
	default:
		v.report.ok(CheckRoot, "")
	}
	v.resultLogCheck()
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

// openedLines yields the opened ballots, and holds them to their order and number.
func (v *verifier) openedLines(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var last []byte
		var n int64
		for line, err := range v.archive.lines(openedFile) {
			n++
			switch {
			case err != nil:
			case n > v.ballots:
				err = fmt.Errorf("%s has more lines than there are ballots", openedFile)
			case n > 1 && bytes.Compare(last, line) > 0:
				err = fmt.Errorf("line %d of %s is out of order: the order may tell who voted how", n, openedFile)
			case n%1024 == 0:
				if ctx.Err() != nil {
					return
				}
				v.progress("opened", n, v.ballots)
			}
			last = append(last[:0], line...)
			if !yield(line, err) || err != nil {
				return
			}
		}
		v.progress("opened", n, n)
	}
}

func (v *verifier) openedChecks(ctx context.Context) {
	v.opened = -1
	skip := ""
	switch {
	case !v.sound:
		skip = "the manifest is not sound"
	case v.ballots < 0:
		skip = "the sealed ballots could not be read to the end"
	}
	if skip != "" {
		v.report.notPossible(CheckOpened, "%s", skip)
		v.report.notPossible(CheckRecount, "%s", skip)
		return
	}
	questions, n, err := tally.Recount(ctx, v.manifest, v.openedLines(ctx))
	if err != nil {
		v.report.failed(CheckOpened, "%v", err)
		v.report.notPossible(CheckRecount, "the opened ballots are not all valid")
		return
	}
	v.opened = n
	v.report.ok(CheckOpened, "%d ballots", n)
	switch {
	case v.result == nil:
		v.report.notPossible(CheckRecount, "there is no valid result")
	case !reflect.DeepEqual(questions, v.result.Questions):
		v.report.failed(CheckRecount, "%s", difference(questions, v.result.Questions))
	default:
		v.report.ok(CheckRecount, "")
	}
}

// difference says where a recount and a result first differ.
func difference(counted, claimed []tally.QuestionResult) string {
	if len(counted) != len(claimed) {
		return fmt.Sprintf("the result is about %d questions; the poll has %d", len(claimed), len(counted))
	}
	for i, c := range counted {
		r := claimed[i]
		if c.ID != r.ID || len(c.Options) != len(r.Options) {
			return fmt.Sprintf("the result's question %q is not the poll's %q", r.ID, c.ID)
		}
		for j, o := range c.Options {
			if o != r.Options[j] {
				return fmt.Sprintf("%s: counted %d votes for %s; the result says %d for %s", c.ID, o.Votes, o.ID, r.Options[j].Votes, r.Options[j].ID)
			}
		}
		if c.Unanswered != r.Unanswered {
			return fmt.Sprintf("%s: counted %d unanswered; the result says %d", c.ID, c.Unanswered, r.Unanswered)
		}
	}
	return "the result has another form than the recount"
}

func (v *verifier) numberChecks() {
	switch {
	case v.result == nil || v.ballots < 0 || v.opened < 0:
		v.report.notPossible(CheckNumbers, "the ballots or the result could not be read")
	case v.ballots != v.result.Ballots:
		v.report.failed(CheckNumbers, "there are %d sealed ballots; the result is of %d", v.ballots, v.result.Ballots)
	case v.opened+v.result.Invalid != v.ballots:
		v.report.failed(CheckNumbers, "%d opened and %d invalid ballots do not make %d", v.opened, v.result.Invalid, v.ballots)
	default:
		v.report.ok(CheckNumbers, "%d valid, %d invalid", v.opened, v.result.Invalid)
	}
}

// reopenChecks opens every sealed ballot, where the key is there.
func (v *verifier) reopenChecks(ctx context.Context) {
	scalar, there, err := v.revealedKey()
	switch {
	case err != nil:
		v.report.failed(CheckReopened, "%v", err)
		return
	case there != v.manifest.RevealTallyKey:
		v.report.failed(CheckReopened, "the manifest says reveal_tally_key %t, but the bundle has%s the key", v.manifest.RevealTallyKey, map[bool]string{false: " not"}[there])
		return
	case !there && v.scalar == nil:
		v.report.notPossible(CheckReopened, "the tally key is not revealed, so that nobody can be made to prove how they voted: that the opened ballots are those of the log rests on the trustees and the operator together")
		return
	case !there:
		scalar = v.scalar
	}
	if !v.sound || v.opened < 0 || v.result == nil {
		v.report.notPossible(CheckReopened, "the ballots or the result could not be read")
		return
	}
	counted, err := tally.Count(ctx, v.manifest, v.manifestPayload, scalar, v.sealed(), func(done int64) {
		v.progress("reopen", done, v.ballots)
	})
	if err != nil {
		v.report.failed(CheckReopened, "%v", err)
		return
	}
	v.report.compare(CheckReopened, counted, v.result, v.openedLines(ctx))
}

func (r *Report) compare(id CheckID, counted *tally.Counted, result *tally.Result, lines iter.Seq2[[]byte, error]) {
	n := 0
	for line, err := range lines {
		if err != nil {
			r.failed(id, "%v", err)
			return
		}
		if n >= len(counted.Opened) || !bytes.Equal(line, counted.Opened[n]) {
			r.failed(id, "line %d of %s is not what was found in the sealed ballots", n+1, openedFile)
			return
		}
		n++
	}
	switch {
	case n != len(counted.Opened):
		r.failed(id, "%d valid ballots were found; the bundle has %d", len(counted.Opened), n)
	case counted.Result.Invalid != result.Invalid:
		r.failed(id, "%d invalid ballots were found; the result says %d", counted.Result.Invalid, result.Invalid)
	case !reflect.DeepEqual(counted.Result.Questions, result.Questions):
		r.failed(id, "%s", difference(counted.Result.Questions, result.Questions))
	default:
		r.ok(id, "every ballot was opened and counted again")
	}
}

func (v *verifier) revealedKey() (scalar []byte, there bool, err error) {
	if v.archive.files[tallyKeyFile] == nil {
		return nil, false, nil
	}
	data, err := v.archive.read(tallyKeyFile)
	if err != nil {
		return nil, true, err
	}
	scalar, public, err := trustee.ReadKey(bytes.NewReader(data))
	if err != nil {
		return nil, true, err
	}
	if public != v.manifest.Ballot.TallyKey {
		return nil, true, fmt.Errorf("%s is not the manifest's tally key", tallyKeyFile)
	}
	return scalar, true, nil
}

// sealed yields the sealed ballots.
func (v *verifier) sealed() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line, err := range v.archive.lines(ballotsFile) {
			var sealed []byte
			if err == nil {
				_, sealed, err = parseBallot(line)
			}
			if !yield(sealed, err) || err != nil {
				return
			}
		}
	}
}

// readReceipts checks receipts by themselves, before the log is searched for them.
func (v *verifier) readReceipts() {
	for i := range v.receipts {
		r := &v.receipts[i]
		var wrapped struct {
			Receipt *ballotapi.Receipt `json:"receipt"` // as the API answers
		}
		err := json.Unmarshal(r.data, &wrapped)
		switch {
		case err != nil:
		case wrapped.Receipt != nil:
			r.parsed = *wrapped.Receipt
		default:
			err = json.Unmarshal(r.data, &r.parsed)
		}
		switch {
		case err != nil:
			r.problem = "it is not a receipt in JSON"
		case r.parsed.Poll != v.manifest.ID:
			r.problem = fmt.Sprintf("it is a receipt of the poll %q", r.parsed.Poll)
		default:
			if err := receipt.Verify(r.parsed, v.manifest.SigningKey); err != nil {
				r.problem = err.Error()
			}
		}
	}
}

func (v *verifier) receiptChecks() {
	for _, r := range v.receipts {
		switch {
		case r.problem != "":
			v.report.add(CheckReceipt, Failed, "%s: %s", r.name, r.problem)
		case r.place > 0:
			v.report.add(CheckReceipt, OK, "%s: ballot %s is number %d of the log", r.name, r.parsed.Code, r.place)
		case v.ballots < 0:
			v.report.add(CheckReceipt, NotPossible, "%s: the ballots could not be read to the end", r.name)
		default:
			v.report.add(CheckReceipt, Failed, "%s: ballot %s is not in the log, although the receipt is genuine: this is evidence, keep it", r.name, r.parsed.Code)
		}
	}
}
