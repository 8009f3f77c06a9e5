package server

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// ring is a real key file for the tags, which can be made to fail; other secrets are the tests' own.
type ring struct {
	secrets
	file *keyring.File
	// fail, where set, stands between a destruction and its answer.
	fail func(purpose keyring.Purpose, destroy func() error) error
}

func (r *ring) Secret(ctx context.Context, purpose keyring.Purpose, scope string) ([32]byte, error) {
	if purpose == keyring.VoterTags || purpose == keyring.PhoneTags {
		return r.file.Secret(ctx, purpose, scope)
	}
	return r.secrets.Secret(ctx, purpose, scope)
}

func (r *ring) Destroy(ctx context.Context, purpose keyring.Purpose, scope string) (stone keyring.Tombstone, err error) {
	destroy := func() error { stone, err = r.file.Destroy(ctx, purpose, scope); return err }
	if r.fail != nil {
		return stone, r.fail(purpose, destroy)
	}
	return stone, destroy()
}

// newRing gives a box a key ring in which the poll's tag keys were made.
func newRing(b *box) *ring {
	b.t.Helper()
	file, err := keyring.OpenFile(filepath.Join(b.t.TempDir(), "keys.json"), b.clock.Now)
	b.ok(err)
	r := &ring{secrets: "test", file: file}
	b.deps.Secrets = r
	b.reopen()
	for _, purpose := range identityKeys {
		r.secret(b, purpose)
	}
	return r
}

func (r *ring) secret(b *box, purpose keyring.Purpose) [32]byte {
	b.t.Helper()
	s, err := r.file.Secret(b.t.Context(), purpose, "lunch")
	b.ok(err)
	return s
}

func (r *ring) destroyed(t *testing.T, purpose keyring.Purpose) bool {
	t.Helper()
	_, err := r.file.Secret(t.Context(), purpose, "lunch")
	return errors.Is(err, keyring.ErrDestroyed)
}

// certificate is the one in the audit chain, checked; nil if there is none.
func (b *box) certificate() *ballotapi.Certificate {
	b.t.Helper()
	chain, err := b.Audit(b.t.Context(), "lunch")
	b.ok(err)
	b.ok(ballotapi.VerifyAudit("lunch", chain))
	d, err := ballotapi.FindCertificate(chain)
	b.ok(err)
	if d == nil {
		return nil
	}
	c, err := ballotapi.OpenCertificate(*d, "lunch", b.signer.Key())
	b.ok(err)
	return c
}

// windowEnd is when the poll of a box may have its key destroyed.
var windowEnd = noon.Add(time.Hour).Add(90 * 24 * time.Hour)

func TestAnIdentityKeyIsKeptThroughTheAuditWindow(t *testing.T) {
	b := newBox(t)
	r := newRing(b)
	voters := r.secret(b, keyring.VoterTags)
	refused := func(why string) {
		t.Helper()
		err := b.DestroyIdentityKey(t.Context(), "lunch", me)
		if !isRefused(err) || !strings.Contains(err.Error(), why) {
			t.Fatalf("it gave %v, want %q", err, why)
		}
		chain, err := b.Audit(t.Context(), "lunch")
		b.ok(err)
		if last := chain[len(chain)-1]; last.Action != ballotapi.ActionDestroyKey || !strings.Contains(last.Detail, "refused") {
			t.Errorf("the refusal left %+v", last)
		}
		if r.secret(b, keyring.VoterTags) != voters || b.certificate() != nil {
			t.Fatal("refused, and yet done")
		}
	}
	refused("only after the close") // a draft
	b.move(poll.Open)
	b.clock.set(noon.Add(30 * time.Minute))
	refused("only after the close")
	b.move(poll.Closed) // early: the window is of the time that was promised
	b.clock.set(windowEnd.Add(-time.Millisecond))
	refused("its audit window ends at 2027-02-21T13:00:00Z")

	b.clock.set(windowEnd)
	b.ok(b.DestroyIdentityKey(t.Context(), "lunch", me))
	c := b.certificate()
	if c == nil || c.Actor != me.Actor || !c.WindowEndedAt.Equal(windowEnd) || len(c.Keys) != 2 || !r.destroyed(t, keyring.VoterTags) || !r.destroyed(t, keyring.PhoneTags) {
		t.Fatalf("the certificate is %+v", c)
	}
	if k := c.Keys[1]; k.Purpose != string(keyring.VoterTags) || !bytes.Equal(k.Fingerprint, keyring.Fingerprint(keyring.VoterTags, "lunch", voters)) {
		t.Errorf("it is about another key: %+v", k)
	}
	if err := b.DestroyIdentityKey(t.Context(), "lunch", me); !isRefused(err) || !strings.Contains(err.Error(), "already") {
		t.Errorf("twice: %v", err)
	}
	b.reopen()
	if b.certificate() == nil {
		t.Error("the certificate did not last")
	}
	if got := b.cast(cast(1, "k", b.junk()))[0]; got.Receipt != nil {
		t.Error("the poll still takes ballots")
	}
}

// However a destruction is cut short, there is a certificate only of what was destroyed, and trying again
// ends it.
func TestACertificateNeverLies(t *testing.T) {
	broken := errors.New("the disk broke")
	for _, c := range []struct {
		name string
		fail func(keyring.Purpose, func() error) error
	}{
		{"before anything", func(keyring.Purpose, func() error) error { return broken }},
		{"after the first key", func(_ keyring.Purpose, destroy func() error) error { return errors.Join(destroy(), broken) }},
		{"before the second key", func(p keyring.Purpose, destroy func() error) error {
			if p == identityKeys[1] {
				return broken
			}
			return destroy()
		}},
		{"after the second key", func(p keyring.Purpose, destroy func() error) error {
			if err := destroy(); err != nil || p == identityKeys[0] {
				return err
			}
			return broken
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t)
			r := newRing(b)
			b.move(poll.Open)
			b.move(poll.Closed)
			b.clock.set(windowEnd.Add(time.Hour))
			r.fail = c.fail
			if err := b.DestroyIdentityKey(t.Context(), "lunch", me); !errors.Is(err, broken) {
				t.Fatalf("it gave %v", err)
			}
			if b.certificate() != nil {
				t.Fatal("there is a certificate of what was not seen to be destroyed")
			}
			was := map[keyring.Purpose]bool{}
			for _, p := range identityKeys {
				was[p] = r.destroyed(t, p)
			}
			b.reopen()
			r.fail = nil
			b.clock.set(windowEnd.Add(2 * time.Hour))
			b.ok(b.DestroyIdentityKey(t.Context(), "lunch", me))
			for _, k := range b.certificate().Keys {
				want := windowEnd.Add(2 * time.Hour)
				if was[keyring.Purpose(k.Purpose)] {
					want = windowEnd.Add(time.Hour)
				}
				if !k.DestroyedAt.Equal(want) || !r.destroyed(t, keyring.Purpose(k.Purpose)) {
					t.Errorf("%s: the certificate says %v, want %v", k.Purpose, k.DestroyedAt, want)
				}
			}
		})
	}
}

func TestWhatCannotBeDestroyed(t *testing.T) {
	b := newBox(t)
	if p := problem.From(b.DestroyIdentityKey(t.Context(), "lunch", ballotapi.Change{Actor: "tester"})); p.Code != problem.InvalidField {
		t.Errorf("without a reason: %v", p)
	}
	if p := problem.From(b.DestroyIdentityKey(t.Context(), "dinner", me)); p.Code != problem.PollNotFound {
		t.Errorf("without a poll: %v", p)
	}
	b.move(poll.Open)
	b.move(poll.Closed)
	b.clock.set(windowEnd)
	if err := b.DestroyIdentityKey(t.Context(), "lunch", me); !isRefused(err) || !strings.Contains(err.Error(), "cannot destroy") {
		t.Errorf("a ring that cannot: %v", err)
	}
	file, err := keyring.OpenFile(filepath.Join(t.TempDir(), "keys.json"), b.clock.Now)
	b.ok(err)
	b.deps.Secrets = &ring{secrets: "test", file: file}
	b.reopen()
	if err := b.DestroyIdentityKey(t.Context(), "lunch", me); !isRefused(err) || !strings.Contains(err.Error(), "has no key phone-tags") {
		t.Errorf("a ring that never made it: %v", err)
	}
	if b.certificate() != nil {
		t.Error("there is a certificate")
	}
}

// The bundle has the certificate from then on, and verify checks it.
func TestTheBundleHasTheCertificate(t *testing.T) {
	b := newBox(t)
	newRing(b)
	b.move(poll.Open)
	b.expect(b.cast(cast(1, "k", b.seal("rice")))[0], "")
	b.move(poll.Closed)
	b.ok(b.Count(t.Context(), "lunch", b.scalar, me))
	b.move(poll.Published)
	check := func() *bundle.Check {
		t.Helper()
		var out bytes.Buffer
		b.ok(b.Bundle(t.Context(), "lunch", &out))
		report, err := bundle.Verify(t.Context(), bytes.NewReader(out.Bytes()), int64(out.Len()), nil)
		b.ok(err)
		if !report.OK() {
			t.Fatalf("the bundle does not hold: %+v", report.Checks)
		}
		for i, c := range report.Checks {
			if c.ID == bundle.CheckIdentityKey {
				return &report.Checks[i]
			}
		}
		return nil
	}
	if c := check(); c != nil {
		t.Errorf("before: %+v", c)
	}
	b.clock.set(windowEnd)
	b.ok(b.DestroyIdentityKey(t.Context(), "lunch", me))
	if c := check(); c == nil || c.Status != bundle.OK || !strings.Contains(c.Detail, "on 2027-02-21T13:00:00Z") {
		t.Errorf("after: %+v", c)
	}
}
