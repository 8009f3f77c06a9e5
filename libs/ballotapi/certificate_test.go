package ballotapi_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/signed"
)

func TestOnlyATrueCertificateOpens(t *testing.T) {
	closes := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := func() *ballotapi.Certificate {
		return &ballotapi.Certificate{
			Certificate: ballotapi.CertificateKind, Poll: "lunch", Actor: "me",
			ClosesAt: closes, WindowEndedAt: closes.Add(time.Hour), IssuedAt: closes.Add(2 * time.Hour),
			Keys: []ballotapi.DestroyedKey{{Purpose: "voter-tags", Fingerprint: make([]byte, 32), DestroyedAt: closes.Add(time.Hour)}},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*ballotapi.Certificate)
		by     string
		ok     bool
	}{
		{"a true one", func(*ballotapi.Certificate) {}, "ours", true},
		{"by another key", func(*ballotapi.Certificate) {}, "theirs", false},
		{"of another poll", func(c *ballotapi.Certificate) { c.Poll = "dinner" }, "ours", false},
		{"another document", func(c *ballotapi.Certificate) { c.Certificate = "" }, "ours", false},
		{"of nothing", func(c *ballotapi.Certificate) { c.Keys = nil }, "ours", false},
		{"of no key in particular", func(c *ballotapi.Certificate) { c.Keys[0].Fingerprint = nil }, "ours", false},
		{"too early", func(c *ballotapi.Certificate) { c.Keys[0].DestroyedAt = closes.Add(time.Hour - 1) }, "ours", false},
		{"with a window that never was", func(c *ballotapi.Certificate) { c.WindowEndedAt = closes.Add(-1) }, "ours", false},
	} {
		signer := func(name string) *signed.Signer {
			s, err := signed.NewSigner(sha256.Sum256([]byte(name)))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		certificate := good()
		c.change(certificate)
		d, err := signer(c.by).Sign(certificate)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := ballotapi.OpenCertificate(d, "lunch", signer("ours").Key())
		if c.ok != (err == nil) || c.ok != (opened != nil) || !c.ok && !errors.Is(err, ballotapi.ErrNotCertificate) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
