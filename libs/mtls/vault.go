package mtls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/vault"
)

// The pauses after a renewal that failed: each is twice the one before.
const retryFirst, retryMost = time.Second, time.Minute

// Vault is one service's certificate that Vault's PKI engine signs, at pki_int, and the CA that it names.
// The private key is made here, anew for each certificate, and is on no disk and in no request. Safe for
// concurrent use.
type Vault struct {
	end
	config VaultConfig
	uri    string
	clock  func() time.Time

	held   atomic.Pointer[signed]
	failed atomic.Pointer[error] // of the last renewal; held is then of an earlier one
}

// signed is a certificate, and when the next is due.
type signed struct {
	material
	renew time.Time
}

// VaultConfig says whose certificate is wanted.
type VaultConfig struct {
	Client  *vault.Client
	Service string
	// Life is how long a certificate is to hold; zero for what the role gives: 24 h.
	Life  time.Duration
	Clock func() time.Time
	Log   *slog.Logger
}

// FromVault gets a first certificate. Run renews it.
func FromVault(ctx context.Context, c VaultConfig) (*Vault, error) {
	uri, err := URI(c.Service)
	if err != nil {
		return nil, err
	}
	v := &Vault{config: c, uri: uri.String(), clock: c.Clock}
	v.end = end{func() *material { return &v.held.Load().material }, c.Clock}
	return v, v.renew(ctx)
}

// Check implements Source: the last renewal failed, so that the one before is in use, or it has expired.
func (v *Vault) Check(context.Context) error {
	err := v.held.Load().expired(v.clock())
	if failed := v.failed.Load(); failed != nil {
		err = errors.Join(*failed, err)
	}
	return err
}

// Run renews the certificate at two thirds of its life until the context ends. While Vault gives none, the
// old one stays in use.
func (v *Vault) Run(ctx context.Context) {
	pause := retryFirst
	wait := v.held.Load().renew.Sub(v.clock())
	for {
		t := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		err := v.renew(ctx)
		if err == nil {
			pause, wait = retryFirst, v.held.Load().renew.Sub(v.clock())
			continue
		}
		if ctx.Err() == nil {
			v.config.Log.LogAttrs(ctx, slog.LevelWarn, "couldn't renew the certificate; the old one stays in use", slog.Any("error", err))
		}
		wait, pause = vault.Jittered(pause), min(2*pause, retryMost)
	}
}

// renew puts a new certificate in the place of the old one, or leaves that.
func (v *Vault) renew(ctx context.Context) error {
	s, err := v.sign(ctx)
	if err != nil {
		err = fmt.Errorf("couldn't have a certificate for %s signed: %w", v.config.Service, err)
		v.failed.Store(&err)
		return err
	}
	v.held.Store(s)
	v.failed.Store(nil)
	return nil
}

func (v *Vault) sign(ctx context.Context) (*signed, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	ask := map[string]any{
		"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})), "uri_sans": v.uri,
	}
	if v.config.Life > 0 {
		ask["ttl"] = v.config.Life.String()
	}
	var answer struct {
		Data struct {
			Certificate string   `json:"certificate"`
			Issuer      string   `json:"issuing_ca"`
			Chain       []string `json:"ca_chain"`
		} `json:"data"`
	}
	began := v.clock()
	if err := v.config.Client.Write(ctx, "pki_int/sign/"+v.config.Service, ask, &answer); err != nil {
		return nil, err
	}
	chain, err := parse(answer.Data.Certificate + "\n" + answer.Data.Issuer + "\n" + strings.Join(answer.Data.Chain, "\n"))
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	if named, err := Service(leaf); err != nil || named != v.config.Service {
		return nil, fmt.Errorf("%w (%w)", ErrWrongService, err)
	}
	s := &signed{
		material: material{pair: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, roots: x509.NewCertPool()},
		renew:    began.Add(leaf.NotAfter.Sub(began) * 2 / 3),
	}
	rooted := false
	for _, ca := range chain[1:] {
		if bytes.Equal(ca.RawIssuer, ca.RawSubject) {
			s.roots.AddCert(ca)
			rooted = true
		} else {
			s.pair.Certificate = append(s.pair.Certificate, ca.Raw)
		}
	}
	// Where the root is kept elsewhere, what it has signed is trusted in its place.
	if !rooted {
		for _, ca := range chain[1:] {
			s.roots.AddCert(ca)
		}
	}
	return s, nil
}

// parse reads certificates, each once.
func parse(text string) (out []*x509.Certificate, err error) {
	seen := map[string]bool{}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if seen[string(block.Bytes)] {
			continue
		}
		seen[string(block.Bytes)] = true
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("couldn't read a certificate: %w", err)
		}
		out = append(out, c)
	}
	if len(out) < 2 {
		return nil, errors.New("it gave no certificate, or no CA")
	}
	return out, nil
}
