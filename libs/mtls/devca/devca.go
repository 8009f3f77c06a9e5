// Package devca makes certificates for developing and testing: a CA in a directory, and below it one
// directory per service, as package mtls reads them. In production Vault's PKI does this.
package devca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/libs/mtls"
)

// keyFile is the CA's key, beside its certificate.
const keyFile = "ca-key.pem"

// LeafLife is how long a service's certificate holds; CALife how long the CA's does.
const (
	LeafLife = 30 * 24 * time.Hour
	CALife   = 10 * 365 * 24 * time.Hour
)

// early is by how much certificates begin before they are made: clocks differ.
const early = 5 * time.Minute

// ErrNotOurs is a directory with files in it that were not made here, or whose CA is gone: nothing in it
// is overwritten.
var ErrNotOurs = errors.New("it holds files and no CA of ours")

// Config says what to make.
type Config struct {
	// Dir is where; it is made if it is not there.
	Dir string
	// Services are the names of the services, each a directory below Dir.
	Services []string
	// Hosts are the names and addresses that certificates also carry, for tools that check those;
	// services do not.
	Hosts []string
	// Clock tells the time.
	Clock func() time.Time
}

// Make makes the CA, unless it is there, and new certificates for the services. The CA is never
// overwritten; the certificates are, which renews them. It returns the services' directories.
func Make(c Config) ([]string, error) {
	uris := make([]*url.URL, len(c.Services))
	for i, service := range c.Services {
		var err error
		if uris[i], err = mtls.URI(service); err != nil {
			return nil, err
		}
	}
	ca, err := openCA(c)
	if err != nil {
		return nil, err
	}
	var made []string
	for i, service := range c.Services {
		dir := filepath.Join(c.Dir, service)
		if err := ca.issue(dir, service, uris[i], c); err != nil {
			return made, fmt.Errorf("couldn't make the certificate of %s: %w", service, err)
		}
		made = append(made, dir)
	}
	return made, nil
}

type authority struct {
	cert *x509.Certificate
	key  any
	text []byte
}

// openCA reads the CA, or makes it in a directory that is empty.
func openCA(c Config) (*authority, error) {
	certPath, keyPath := filepath.Join(c.Dir, mtls.CAFile), filepath.Join(c.Dir, keyFile)
	text, err := os.ReadFile(certPath) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeCA(c, certPath, keyPath); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(certPath) //nolint:gosec // as above
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read the CA: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the CA and its key: %w", err)
	}
	if !pair.Leaf.IsCA || c.Clock().After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("couldn't sign with the CA in %s: it is none, or has expired", certPath)
	}
	return &authority{pair.Leaf, pair.PrivateKey, text}, nil
}

func makeCA(c Config, certPath, keyPath string) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("couldn't make the directory: %w", err)
	}
	there, err := os.ReadDir(c.Dir)
	if err != nil {
		return fmt.Errorf("couldn't look into the directory: %w", err)
	}
	if len(there) > 0 {
		return fmt.Errorf("couldn't make a CA in %s: %w (%s, for one)", c.Dir, ErrNotOurs, there[0].Name())
	}
	key, keyText, err := newKey()
	if err != nil {
		return err
	}
	template, err := blank(c, "PopVote development CA", CALife)
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("couldn't make the CA: %w", err)
	}
	return errors.Join(write(keyPath, keyText, 0o600), write(certPath, encode("CERTIFICATE", der), 0o644))
}

func (a *authority) issue(dir, service string, uri *url.URL, c Config) error {
	key, keyText, err := newKey()
	if err != nil {
		return err
	}
	template, err := blank(c, service, LeafLife)
	if err != nil {
		return err
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.URIs = []*url.URL{uri}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range c.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(
		write(filepath.Join(dir, mtls.CAFile), a.text, 0o644),
		write(filepath.Join(dir, mtls.KeyFile), keyText, 0o600),
		write(filepath.Join(dir, mtls.CertFile), encode("CERTIFICATE", der), 0o644))
}

func blank(c Config, name string, life time.Duration) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, fmt.Errorf("couldn't draw a serial number: %w", err)
	}
	now := c.Clock().UTC()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-early), NotAfter: now.Add(life)}
	serial[0] &= 0x7f // RFC 5280, section 4.1.2.2: positive
	template.SerialNumber = new(big.Int).SetBytes(serial)
	return template, nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't encode a key: %w", err)
	}
	return key, encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
	return b.Bytes()
}

// write puts a file in place at once: whoever reads it meanwhile sees the old or the new one.
func write(path string, content []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name()) // it is ours, and half a file
		return fmt.Errorf("couldn't write %s: %w", path, err)
	}
	return nil
}
