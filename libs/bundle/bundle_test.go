package bundle_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// record is everything a finished poll publishes, still changeable.
type record struct {
	tb       testing.TB
	signer   *signed.Signer
	logKey   note.Signer
	scalar   []byte
	manifest poll.Manifest
	result   tally.Result
	sealed   [][]byte
	opened   [][]byte
	// certificate is only there where a test puts it.
	certificate *signed.Document
	// root and size of the log.
	root tlog.Hash
	size int64
}

func newSigner(tb testing.TB) *signed.Signer {
	tb.Helper()
	scalar, _, err := trustee.NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	s, err := signed.NewSigner([32]byte(scalar))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// newRecord holds a small poll: n valid ballots and one that is not.
func newRecord(tb testing.TB, n int, reveal bool) *record {
	tb.Helper()
	r := &record{tb: tb, signer: newSigner(tb)}
	skey, vkey, err := note.GenerateKey(rand.Reader, "polls.example/hk-2014-06")
	if err != nil {
		tb.Fatal(err)
	}
	if r.logKey, err = note.NewSigner(skey); err != nil {
		tb.Fatal(err)
	}
	var public poll.JWK
	if r.scalar, public, err = trustee.NewKey(); err != nil {
		tb.Fatal(err)
	}
	sample, err := poll.Sample("hk-2014-06")
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d := sample.Seeded(public, now, now.Add(time.Hour))
	d.RevealTallyKey = reveal
	r.manifest = poll.NewManifest(d, poll.Closed, 4, r.signer.Key(), vkey, ballot.Size(d))

	votes := []ballot.Answers{{{"atd"}, {"should-veto"}}, {{"students"}, {}}, {{"abstain"}, {"should-not-veto"}}, {{}, {}}}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for range n {
		s, err := ballot.Seal(&r.manifest, votes[random.IntN(len(votes))])
		if err != nil {
			tb.Fatal(err)
		}
		r.sealed = append(r.sealed, s)
	}
	blank, err := ballot.SealTo(&r.manifest, make([]byte, r.manifest.Ballot.Size))
	if err != nil {
		tb.Fatal(err)
	}
	r.sealed = slices.Insert(r.sealed, n/2, blank)
	r.count()
	return r
}

// log computes the log's head the slow way: by the library's stored hashes.
func (r *record) log() {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	for i, s := range r.sealed {
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), tlog.Hash(ballot.Leaf(r.manifest.ID, s)), reader)
		if err != nil {
			r.tb.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	r.size = int64(len(r.sealed))
	root, err := tlog.TreeHash(r.size, reader)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.root = root
}

func (r *record) count() {
	r.log()
	payload, err := json.Marshal(r.manifest)
	if err != nil {
		r.tb.Fatal(err)
	}
	c, err := tally.Count(r.tb.Context(), &r.manifest, payload, r.scalar, each(r.sealed), nil)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.result, r.opened = c.Result, nil
	for plain := range c.Opened() {
		r.opened = append(r.opened, plain)
	}
	r.result.CountedAt = r.manifest.ClosesAt.Add(time.Minute)
	r.result.Log = tally.LogHead{Size: r.size, Root: r.root[:]}
}

func each(list [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, s := range list {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (r *record) sign(v any) signed.Document {
	d, err := r.signer.Sign(v)
	if err != nil {
		r.tb.Fatal(err)
	}
	return d
}

func (r *record) checkpoint() []byte {
	text := fmt.Sprintf("%s\n%d\n%s\n", r.logKey.Name(), r.size, base64.StdEncoding.EncodeToString(r.root[:]))
	n, err := note.Sign(&note.Note{Text: text}, r.logKey)
	if err != nil {
		r.tb.Fatal(err)
	}
	return n
}

func (r *record) write() []byte {
	c := bundle.Contents{
		Manifest:   r.sign(r.manifest),
		Result:     r.sign(r.result),
		Checkpoint: r.checkpoint(),
		Ballots:    each(r.sealed),
		Opened:     each(r.opened),

		Certificate: r.certificate,
	}
	if r.manifest.RevealTallyKey {
		c.TallyKey = r.scalar
	}
	var out bytes.Buffer
	if err := bundle.Write(&out, c); err != nil {
		r.tb.Fatal(err)
	}
	return out.Bytes()
}

func verify(tb testing.TB, data []byte, options ...bundle.Option) *bundle.Report {
	tb.Helper()
	report, err := bundle.Verify(tb.Context(), bytes.NewReader(data), int64(len(data)), nil, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

// outcome lists the checks that did not pass, as "id:status".
func outcome(r *bundle.Report) string {
	var list []string
	for _, c := range r.Checks {
		if c.Status != bundle.OK {
			list = append(list, string(c.ID)+":"+string(c.Status))
		}
	}
	return strings.Join(list, " ")
}

func TestVerify(t *testing.T) {
	for _, reveal := range []bool{false, true} {
		r := newRecord(t, 21, reveal)
		data := r.write()
		steps := make(map[string]int64)
		report, err := bundle.Verify(t.Context(), bytes.NewReader(data), int64(len(data)), func(step string, done, total int64) {
			if done > total {
				t.Errorf("%s: %d of %d", step, done, total)
			}
			steps[step] = done
		}, bundle.PinKey(r.signer.Key().Kid))
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{false: "reopened:not_possible", true: ""}[reveal]
		if got := outcome(report); got != want || !report.OK() {
			t.Errorf("revealed %t: not passed: %q", reveal, got)
		}
		if report.Ballots != 22 || report.Result.Invalid != 1 || report.SigningKey != r.signer.Key().Kid || report.Poll != "hk-2014-06" {
			t.Errorf("the report is about something else: %+v", report)
		}
		if walked := map[bool]string{false: "ballots", true: "reopen"}[reveal]; steps[walked] != 22 || steps["opened"] != 21 || len(steps) != 2 {
			t.Errorf("progress: %v", steps)
		}
	}
}

func TestVerifySizes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 6, 7} { // one more is in the log
		r := newRecord(t, n, true)
		if report := verify(t, r.write(), bundle.PinKey(r.signer.Key().Kid)); outcome(report) != "" {
			t.Errorf("%d ballots: %s", n+1, outcome(report))
		}
	}
	r := newRecord(t, 0, true)
	r.sealed = nil
	r.count()
	if report := verify(t, r.write(), bundle.PinKey(r.signer.Key().Kid)); outcome(report) != "" {
		t.Errorf("no ballot: %s", outcome(report))
	}
}

// The trustees can open everything in private, where the key is not revealed.
func TestVerifyWithTallyKey(t *testing.T) {
	r := newRecord(t, 9, false)
	data := r.write()
	pin := bundle.PinKey(r.signer.Key().Kid)
	if report := verify(t, data, pin, bundle.TallyKey(r.scalar)); outcome(report) != "" {
		t.Error(outcome(report))
	}
	other, _, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if report := verify(t, data, pin, bundle.TallyKey(other)); outcome(report) != "reopened:failed" {
		t.Error("with another key:", outcome(report))
	}
	// An operator who swaps two voters' ballots for others of the same sum is caught here only.
	r.opened[0], r.opened[1] = []byte(`{"v":1,"poll":"hk-2014-06","answers":[["people-power"],[]]}`), r.opened[0]
	slices.SortFunc(r.opened, bytes.Compare)
	r.result.Questions, _, err = tally.Recount(t.Context(), &r.manifest, each(r.opened))
	if err != nil {
		t.Fatal(err)
	}
	data = r.write()
	if report := verify(t, data, pin); !report.OK() {
		t.Error("a swap should not be visible to the public:", outcome(report))
	}
	if report := verify(t, data, pin, bundle.TallyKey(r.scalar)); outcome(report) != "reopened:failed" {
		t.Error("a swap went unseen by the trustees:", outcome(report))
	}
}

// A certificate of destruction is checked where it is; one that is not of this poll fails the bundle.
func TestVerifyCertificate(t *testing.T) {
	r := newRecord(t, 3, true)
	ended := r.manifest.ClosesAt.Add(time.Hour)
	certificate := ballotapi.Certificate{
		Certificate: ballotapi.CertificateKind, Poll: r.manifest.ID, ClosesAt: r.manifest.ClosesAt, WindowEndedAt: ended, IssuedAt: ended,
		Keys: []ballotapi.DestroyedKey{{Purpose: "voter-tags", Fingerprint: make([]byte, 32), DestroyedAt: ended}},
	}
	pin := bundle.PinKey(r.signer.Key().Kid)
	for _, id := range []string{r.manifest.ID, "lunch"} {
		certificate.Poll = id
		d := r.sign(certificate)
		r.certificate = &d
		report := verify(t, r.write(), pin)
		want := map[bool]string{true: "", false: "identity-key:failed"}[id == r.manifest.ID]
		if last := report.Checks[len(report.Checks)-1]; outcome(report) != want || last.ID != bundle.CheckIdentityKey {
			t.Errorf("a certificate of %s: %s; the last check is %+v", id, outcome(report), last)
		}
	}
}

// TestTampering is the promise of the whole package: each way of cheating, and the check that names it.
func TestTampering(t *testing.T) {
	for _, c := range []struct {
		name   string
		reveal bool
		// before changes the record before it is signed, as the operator could; after changes the files
		// of the bundle, as anybody could.
		before func(*record)
		after  func(files map[string][]byte, r *record)
		caught string
	}{
		{
			name: "dropped ballot", before: func(r *record) { r.sealed = r.sealed[1:] },
			caught: "root:failed numbers:failed",
		},
		{
			name: "dropped ballot, checkpoint made anew", before: func(r *record) { r.sealed = r.sealed[1:]; r.log() },
			caught: "result-log:failed numbers:failed",
		},
		{name: "added ballot", before: func(r *record) {
			s, err := ballot.Seal(&r.manifest, ballot.Answers{{"atd"}, {}})
			if err != nil {
				r.tb.Fatal(err)
			}
			r.sealed = append(r.sealed, s)
		}, caught: "root:failed numbers:failed"},
		{name: "added ballot, everything made anew but the opened", before: func(r *record) {
			opened := r.opened
			s, err := ballot.Seal(&r.manifest, ballot.Answers{{"atd"}, {}})
			if err != nil {
				r.tb.Fatal(err)
			}
			r.sealed = append(r.sealed, s)
			r.count()
			r.opened = opened
		}, caught: "recount:failed numbers:failed"},
		{name: "exchanged ballot", before: func(r *record) {
			s, err := ballot.Seal(&r.manifest, ballot.Answers{{"atd"}, {}})
			if err != nil {
				r.tb.Fatal(err)
			}
			r.sealed[3] = s
		}, caught: "root:failed"},
		{
			name: "ballot twice", before: func(r *record) { r.sealed[3] = r.sealed[4]; r.log(); r.result.Log.Root = r.root[:] },
			caught: "unique:failed",
		},
		{
			name: "reordered log", before: func(r *record) { r.sealed[0], r.sealed[1] = r.sealed[1], r.sealed[0] },
			caught: "root:failed",
		},
		{name: "changed leaf", after: func(f map[string][]byte, _ *record) {
			at := len(`{"leaf":"`)
			if f["ballots.ndjson"][at] != 'A' {
				f["ballots.ndjson"][at] = 'A'
			} else {
				f["ballots.ndjson"][at] = 'B'
			}
		}, caught: "leaves:failed root:failed"},
		{
			name: "changed result", before: func(r *record) { r.result.Questions[0].Options[0].Votes++ },
			caught: "recount:failed",
		},
		{
			name: "changed unanswered", before: func(r *record) { r.result.Questions[1].Unanswered-- },
			caught: "recount:failed",
		},
		{
			name: "changed number of ballots", before: func(r *record) { r.result.Ballots++ },
			caught: "numbers:failed",
		},
		{
			name: "ballots called invalid", before: func(r *record) { r.result.Invalid++ },
			caught: "numbers:failed",
		},
		{name: "result's readable half changed", after: func(f map[string][]byte, _ *record) {
			f["result.json"] = bytes.Replace(f["result.json"], []byte(`"invalid":1`), []byte(`"invalid":0`), 1)
		}, caught: "result-signature:failed result-inputs:not_possible result-log:not_possible recount:not_possible numbers:not_possible"},
		{name: "changed opened ballot", before: func(r *record) {
			r.opened[0] = []byte(`{"v":1,"poll":"hk-2014-06","answers":[["abstain"],["abstain"]]}`)
		}, caught: "recount:failed"},
		{name: "opened ballot that is none", before: func(r *record) {
			r.opened[0] = []byte(`{"v":1,"poll":"hk-2014-06","answers":[["abstain","atd"],[]]}`)
		}, caught: "opened:failed recount:not_possible numbers:not_possible"},
		{
			name: "opened ballot missing", before: func(r *record) { r.opened = r.opened[1:] },
			caught: "recount:failed numbers:failed",
		},
		{
			name: "opened ballots in the order they were cast", before: func(r *record) { slices.Reverse(r.opened) },
			caught: "opened:failed recount:not_possible numbers:not_possible",
		},
		{name: "more opened ballots than sealed ones", before: func(r *record) {
			last := r.opened[len(r.opened)-1]
			r.opened = append(r.opened, last, last)
		}, caught: "opened:failed recount:not_possible numbers:not_possible"},
		{name: "foreign signature on everything", before: func(r *record) {
			r.signer = newSigner(r.tb)
			r.manifest.SigningKey = r.signer.Key()
			r.count()
		}, caught: "pinned-key:failed"},
		{
			name: "foreign signature on the manifest", before: func(r *record) { r.signer = newSigner(r.tb) },
			caught: "manifest-signature:failed *",
		},
		{name: "foreign signature on the result", after: func(f map[string][]byte, r *record) {
			r.signer = newSigner(r.tb)
			f["result.json"] = marshal(r.tb, r.sign(r.result))
		}, caught: "result-signature:failed result-inputs:not_possible result-log:not_possible recount:not_possible numbers:not_possible"},
		{name: "foreign checkpoint", before: func(r *record) {
			skey, _, err := note.GenerateKey(rand.Reader, r.logKey.Name())
			if err != nil {
				r.tb.Fatal(err)
			}
			if r.logKey, err = note.NewSigner(skey); err != nil {
				r.tb.Fatal(err)
			}
		}, caught: "checkpoint-signature:failed root:not_possible result-log:not_possible"},
		{name: "checkpoint of another log", after: func(f map[string][]byte, r *record) {
			text := fmt.Sprintf("another log\n%d\n%s\n", r.size, base64.StdEncoding.EncodeToString(r.root[:]))
			n, err := note.Sign(&note.Note{Text: text}, r.logKey)
			if err != nil {
				r.tb.Fatal(err)
			}
			f["checkpoint"] = n
		}, caught: "checkpoint-signature:failed root:not_possible result-log:not_possible"},
		{
			name: "other manifest", before: func(r *record) { r.manifest.Title["en"] = "Another question altogether" },
			caught: "result-inputs:failed",
		},
		{
			name: "manifest whose rules do not hold", before: func(r *record) { r.manifest.Questions[0].Max = 9; r.manifest.Ballot.Size = 64; r.rehash() },
			caught: "manifest:failed opened:not_possible recount:not_possible numbers:not_possible",
		},
		{
			name: "result of another poll", before: func(r *record) { r.result.Poll = "lunch" },
			caught: "result-inputs:failed",
		},
		{
			name: "result by another tally key", before: func(r *record) { r.result.TallyKeyID = r.signer.Key().Kid },
			caught: "result-inputs:failed",
		},
		{name: "other revealed key", reveal: true, after: func(f map[string][]byte, r *record) {
			other, _, err := trustee.NewKey()
			if err != nil {
				r.tb.Fatal(err)
			}
			key, err := trustee.MarshalKey(other)
			if err != nil {
				r.tb.Fatal(err)
			}
			f["tally-key.json"] = key
		}, caught: "reopened:failed"},
		{
			name: "promised key kept back", reveal: true, after: func(f map[string][]byte, _ *record) { delete(f, "tally-key.json") },
			caught: "reopened:failed",
		},
		{name: "key revealed against the promise", after: func(f map[string][]byte, r *record) {
			key, err := trustee.MarshalKey(r.scalar)
			if err != nil {
				r.tb.Fatal(err)
			}
			f["tally-key.json"] = key
		}, caught: "reopened:failed"},
		{name: "opened ballots exchanged, key revealed", reveal: true, before: func(r *record) {
			r.opened[0] = []byte(`{"v":1,"poll":"hk-2014-06","answers":[["abstain"],["abstain"]]}`)
			slices.SortFunc(r.opened, bytes.Compare)
			var err error
			if r.result.Questions, _, err = tally.Recount(r.tb.Context(), &r.manifest, each(r.opened)); err != nil {
				r.tb.Fatal(err)
			}
		}, caught: "reopened:failed"},
		{
			name: "missing file", after: func(f map[string][]byte, _ *record) { delete(f, "opened.ndjson") },
			caught: "contents:failed opened:failed recount:not_possible numbers:not_possible",
		},
		{
			name: "unknown file", after: func(f map[string][]byte, _ *record) { f["run-me.exe"] = nil },
			caught: "contents:failed",
		},
		{name: "cut short", after: func(f map[string][]byte, _ *record) {
			f["ballots.ndjson"] = f["ballots.ndjson"][:len(f["ballots.ndjson"])-20]
		}, caught: "leaves:failed unique:not_possible root:not_possible opened:not_possible recount:not_possible numbers:not_possible"},
		{name: "endless line", after: func(f map[string][]byte, _ *record) {
			f["opened.ndjson"] = bytes.Repeat([]byte("x"), 1<<20)
		}, caught: "opened:failed recount:not_possible numbers:not_possible"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecord(t, 12, c.reveal)
			pin := bundle.PinKey(r.signer.Key().Kid)
			if c.before != nil {
				c.before(r)
			}
			data := r.write()
			if c.after != nil {
				files := unzip(t, data)
				c.after(files, r)
				data = rezip(t, files)
			}
			report := verify(t, data, pin)
			if report.OK() {
				t.Error("not caught at all")
			}
			got := outcome(report)
			if !c.reveal {
				got = strings.TrimSuffix(got, " reopened:not_possible")
			}
			if head, all := strings.CutSuffix(c.caught, " *"); all {
				if !strings.HasPrefix(got, head) {
					t.Errorf("caught as %q, want %q first", got, head)
				}
			} else if got != c.caught {
				t.Errorf("caught as %q, want %q", got, c.caught)
			}
			for _, check := range report.Checks {
				if check.Status != bundle.OK && check.Detail == "" {
					t.Errorf("%s %s, but not why", check.ID, check.Status)
				}
			}
		})
	}
}

// rehash makes the result name the manifest as it is now.
func (r *record) rehash() {
	digest := sha256.Sum256(marshal(r.tb, r.manifest))
	r.result.ManifestSHA256 = hex.EncodeToString(digest[:])
}

func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func unzip(tb testing.TB, data []byte) map[string][]byte {
	tb.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			tb.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			tb.Fatal(err)
		}
	}
	return files
}

func rezip(tb testing.TB, files map[string][]byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestReceipts(t *testing.T) {
	r := newRecord(t, 5, false)
	leaves := make([][32]byte, len(r.sealed))
	for i, s := range r.sealed {
		leaves[i] = ballot.Leaf(r.manifest.ID, s)
	}
	lost, err := ballot.Seal(&r.manifest, ballot.Answers{{}, {}})
	if err != nil {
		t.Fatal(err)
	}
	receipts, err := receipt.Issue(r.signer, r.manifest.ID, append(leaves[2:4:4], ballot.Leaf(r.manifest.ID, lost)))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := receipt.Issue(newSigner(t), r.manifest.ID, leaves[:1])
	if err != nil {
		t.Fatal(err)
	}
	foreign := receipts[0]
	foreign.Poll = "lunch"
	report := verify(t, r.write(),
		bundle.HasReceipt("bare.json", marshal(t, receipts[0])),
		bundle.HasReceipt("answer.json", marshal(t, map[string]ballotapi.Receipt{"receipt": receipts[1]})),
		bundle.HasReceipt("lost.json", marshal(t, receipts[2])),
		bundle.HasReceipt("forged.json", marshal(t, forged[0])),
		bundle.HasReceipt("foreign.json", marshal(t, foreign)),
		bundle.HasReceipt("noise.json", []byte("noise")),
		bundle.HasReceipt("empty.json", []byte("{}")),
		bundle.HasReceipt("null.json", []byte("null")),
	)
	want := []struct {
		status bundle.Status
		says   string
	}{
		{bundle.OK, "bare.json: ballot " + receipts[0].Code + " is number 3 of the log"},
		{bundle.OK, "is number 4 of the log"},
		{bundle.Failed, "is not in the log, although the receipt is genuine"},
		{bundle.Failed, "forged.json: not a valid receipt"},
		{bundle.Failed, `it is a receipt of the poll "lunch"`},
		{bundle.Failed, "it is not a receipt in JSON"},
		{bundle.Failed, "it is a receipt of the poll"},
		{bundle.Failed, "it is a receipt of the poll"},
	}
	var i int
	for _, c := range report.Checks {
		if c.ID != bundle.CheckReceipt {
			continue
		}
		if c.Status != want[i].status || !strings.Contains(c.Detail, want[i].says) {
			t.Errorf("receipt %d: %s, %s", i+1, c.Status, c.Detail)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d receipts were checked", i)
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	r := newRecord(t, 5, true)
	c := bundle.Contents{Manifest: r.sign(r.manifest), Result: r.sign(r.result), Checkpoint: r.checkpoint(), Ballots: each(r.sealed), Opened: each(r.opened), TallyKey: r.scalar}
	var a, b bytes.Buffer
	if err := errors.Join(bundle.Write(&a, c), bundle.Write(&b, c)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("twice the same contents gave two bundles")
	}
	text := string(unzip(t, a.Bytes())["README.txt"])
	for _, want := range []string{r.manifest.Title["en"], r.signer.Key().Kid, "tally-key.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("README.txt lacks %q", want)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	r := newRecord(t, 1, false)
	good := bundle.Contents{Manifest: r.sign(r.manifest), Result: r.sign(r.result), Checkpoint: r.checkpoint(), Ballots: each(r.sealed), Opened: each(r.opened)}
	key := good
	key.TallyKey = r.scalar
	if err := bundle.Write(io.Discard, key); err == nil {
		t.Error("published a key that the manifest does not reveal")
	}
	none := good
	none.Manifest.JWS = ""
	if err := bundle.Write(io.Discard, none); err == nil {
		t.Error("wrote an unsigned manifest")
	}
	gone, lost := good, errors.New("disk gone")
	gone.Ballots = func(yield func([]byte, error) bool) { yield(nil, lost) }
	if err := bundle.Write(io.Discard, gone); !errors.Is(err, lost) {
		t.Error("ballots that couldn't be read:", err)
	}
}

func TestVerifyUnreadable(t *testing.T) {
	r := newRecord(t, 1, false)
	whole := r.write()
	files := unzip(t, whole)
	delete(files, "manifest.json")
	var many bytes.Buffer
	z := zip.NewWriter(&many)
	for i := range 20_000 {
		if _, err := z.Create(fmt.Sprintf("%d-%s", i, strings.Repeat("x", 50))); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "noise": []byte("PK\x03\x04 noise"), "half": whole[:len(whole)/2], "no manifest": rezip(t, files), "huge directory": many.Bytes(),
	} {
		if _, err := bundle.Verify(t.Context(), bytes.NewReader(data), int64(len(data)), nil); !errors.Is(err, bundle.ErrNotBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Verify(ctx, bytes.NewReader(whole), int64(len(whole)), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A small file that unpacks to a huge one is refused by its header, and read no further than that says.
func TestZipBomb(t *testing.T) {
	r := newRecord(t, 3, false)
	files := unzip(t, r.write())
	files["ballots.ndjson"] = bytes.Repeat(files["ballots.ndjson"], 40_000)
	report := verify(t, rezip(t, files))
	if report.OK() || !strings.Contains(report.Checks[0].Detail, "larger than sealed ballots can be") {
		t.Errorf("%+v", report.Checks[0])
	}
	files = unzip(t, r.write())
	files["result.json"] = append(files["result.json"], bytes.Repeat([]byte(" "), 9<<20)...)
	report = verify(t, rezip(t, files))
	if report.OK() || !strings.Contains(report.Checks[0].Detail, "result.json is too large") {
		t.Errorf("%+v", report.Checks[0])
	}
}

// The page for auditors lists every check and every file.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/bundle.md")
	if err != nil {
		t.Fatal(err)
	}
	data := newRecord(t, 1, true).write()
	words := []string{string(bundle.CheckReceipt)}
	for _, c := range verify(t, data).Checks {
		words = append(words, string(c.ID))
	}
	for name := range unzip(t, data) {
		words = append(words, name)
	}
	for _, w := range words {
		if !bytes.Contains(page, []byte("| `"+w+"` |")) {
			t.Errorf("docs/bundle.md has no row for %s", w)
		}
	}
}

// How fast the public can check: ballots/s, everything but opening them again.
func BenchmarkVerify(b *testing.B) {
	r := newRecord(b, 2000, false)
	data := r.write()
	n := int64(0)
	for b.Loop() {
		n += verify(b, data).Ballots
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ballots/s")
	b.ReportMetric(float64(len(data))/float64(len(r.sealed)), "B/ballot")
}

var update = flag.Bool("update", false, "make testdata/golden.zip anew; bundles of before must still verify, so think twice")

// goldenKey signed testdata/golden.zip.
const goldenKey = "8kyzmzG8ox13z06UAMYidK-6svgA8T9wAo80RMNXrJI"

func golden(tb testing.TB) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/golden.zip")
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Bundles are kept for years: what an earlier version wrote has to verify.
func TestGolden(t *testing.T) {
	if *update {
		r := newRecord(t, 3, true)
		if err := os.WriteFile("testdata/golden.zip", r.write(), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("goldenKey is now %s", r.signer.Key().Kid)
	}
	if report := verify(t, golden(t), bundle.PinKey(goldenKey)); outcome(report) != "" || report.Ballots != 4 {
		t.Error(outcome(report))
	}
}

// FuzzVerify looks for bytes that crash Verify, or that it takes for another genuine bundle.
func FuzzVerify(f *testing.F) {
	whole := golden(f)
	genuine := verify(f, whole, bundle.PinKey(goldenKey))
	f.Add(whole)
	f.Add(whole[:len(whole)-30])
	f.Add([]byte("PK"))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := bundle.Verify(t.Context(), bytes.NewReader(data), int64(len(data)), nil, bundle.PinKey(goldenKey))
		if err == nil && report.OK() && !reflect.DeepEqual(report, genuine) {
			t.Errorf("another bundle than %+v was found good: %+v", genuine, report)
		}
	})
}

// FuzzFiles changes one file inside the bundle, which FuzzVerify hardly can for the ZIP's checksums.
func FuzzFiles(f *testing.F) {
	files := unzip(f, golden(f))
	names := []string{"manifest.json", "result.json", "checkpoint", "ballots.ndjson", "opened.ndjson", "tally-key.json"}
	for i, name := range names {
		f.Add(byte(i), files[name])
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		name := names[int(which)%len(names)]
		changed := maps.Clone(files)
		changed[name] = data
		report := verify(t, rezip(t, changed), bundle.PinKey(goldenKey))
		switch name {
		case "ballots.ndjson", "opened.ndjson": // signed documents may be spaced otherwise, these may not
			if report.OK() != bytes.Equal(data, files[name]) {
				t.Errorf("%s: %t, %s", name, report.OK(), outcome(report))
			}
		}
		if report.OK() && report.Ballots != 4 {
			t.Error("another number of ballots was found good")
		}
	})
}
