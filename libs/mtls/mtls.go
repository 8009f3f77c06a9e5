// Package mtls is how services know each other: TLS 1.3 with a certificate on both sides, both signed
// by one CA. A service is named by its certificate's only URI, spiffe://popvote/<service>, never by a
// host name: instances come and go, and what an address answers says nothing about who it is.
//
// A certificate comes from files, which are read again when they change, or from Vault, and is renewed
// without a restart. Connections
// that are up stay up: a certificate is looked at when a connection is made.
package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// trustDomain is the authority of every service's URI (SPIFFE-ID, section 2.1).
const trustDomain = "popvote"

// Why a peer was not taken. The errors that hold them say more.
var (
	ErrExpired      = errors.New("the certificate is not valid at this time")
	ErrWrongService = errors.New("the certificate names another service")
	ErrUnknownCA    = errors.New("the certificate is not signed by our CA")
)

var serviceForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// URI is the name of a service in its certificate.
func URI(service string) (*url.URL, error) {
	if !serviceForm.MatchString(service) {
		return nil, fmt.Errorf("%q is no name of a service: want a-z, 0-9 and -, beginning with a letter", service)
	}
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/" + service}, nil
}

// Service returns the service that a certificate names. A certificate with no URI, or more than one, or
// one of another form names nobody (X.509-SVID, section 2: exactly one).
func Service(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) != 1 {
		return "", fmt.Errorf("%w: it holds %d URIs, want one, spiffe://%s/<service>", ErrWrongService, len(cert.URIs), trustDomain)
	}
	service, cut := strings.CutPrefix(cert.URIs[0].String(), "spiffe://"+trustDomain+"/")
	if !cut || !serviceForm.MatchString(service) {
		return "", fmt.Errorf("%w: it is %q, want spiffe://%s/<service>", ErrWrongService, cert.URIs[0], trustDomain)
	}
	return service, nil
}

// Source is one service's certificate and the CA it trusts, as they are now. Safe for concurrent use.
type Source interface {
	// Server is the configuration of a listener: only a client with a certificate of our CA that names a
	// service gets in. Which services may do what is for the handler to say (Caller).
	Server() *tls.Config
	// Client is the configuration of connections to a service: the peer must hold a certificate of our CA
	// that names it. A refusal is ErrExpired, ErrWrongService or ErrUnknownCA.
	Client(service string) *tls.Config
	// Check says what is wrong with the certificate. It fits service.Health.
	Check(ctx context.Context) error
}

var (
	_ Source = (*Files)(nil)
	_ Source = (*Vault)(nil)
)

// end is a service's end of connections.
type end struct {
	current func() *material
	clock   func() time.Time
}

// Caller is the service that sent a request, or "" for a request that did not come over a connection
// of Files.Server: nobody.
func Caller(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	service, err := Service(r.TLS.PeerCertificates[0])
	if err != nil {
		return ""
	}
	return service
}

// Server implements Source.
func (e *end) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := e.current()
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				NextProtos:   []string{"h2"},
				Certificates: []tls.Certificate{m.pair},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    m.roots,
				Time:         e.clock,
				// Every connection proves its certificate: a resumed one would go on after its end.
				SessionTicketsDisabled: true,
				VerifyConnection: func(s tls.ConnectionState) error {
					_, err := Service(s.PeerCertificates[0])
					return err
				},
			}, nil
		},
	}
}

// Client implements Source.
func (e *end) Client(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		Time:       e.clock,
		// What is switched off is the check of the host name, and with it the rest, which
		// VerifyConnection does instead.
		InsecureSkipVerify: true, //nolint:gosec // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &e.current().pair, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			return e.verify(s.PeerCertificates, service)
		},
	}
}

// verify checks a server's chain and name.
func (e *end) verify(chain []*x509.Certificate, service string) error {
	if len(chain) == 0 {
		return fmt.Errorf("couldn't trust %s: %w: it showed none", service, ErrUnknownCA)
	}
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: e.current().roots, Intermediates: between, CurrentTime: e.clock(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("couldn't trust %s: %w", service, reason(err))
	}
	named, err := Service(leaf)
	if err != nil {
		return fmt.Errorf("couldn't trust %s: %w", service, err)
	}
	if named != service {
		return fmt.Errorf("couldn't trust %s: %w: %s", service, ErrWrongService, named)
	}
	return nil
}

// reason says which of ours a failed verification is.
func reason(err error) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: it is for %s to %s", ErrExpired, invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w: %w", ErrUnknownCA, err)
	}
	return err
}
