//go:build unix

package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
)

// tokenKey is the transit key of access tokens.
const tokenKey = "transit/keys/popvote-token"

// edgeSecret is where the edges' certificate is.
const edgeSecret = "secret/data/popvote/haproxy"

// SealVault seals every Vault, as a restart does: none but the active one can be told to. It returns when
// all are.
func (c *Cluster) SealVault(ctx context.Context) error {
	if err := c.loadSecrets(false); err != nil {
		return err
	}
	for _, cloud := range c.Network.All() {
		if err := c.restart(ctx, cloud, "vault"); err != nil {
			return err
		}
	}
	return c.await(ctx, "Vault: sealed everywhere", func(ctx context.Context) error {
		for _, cloud := range c.Network.All() {
			var state struct{ Sealed bool }
			if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/seal-status", "", nil, &state); err != nil {
				return err
			}
			if !state.Sealed {
				return fmt.Errorf("that of %s is not", cloud.Name)
			}
		}
		return nil
	})
}

// UnsealVault opens every Vault that is sealed.
func (c *Cluster) UnsealVault(ctx context.Context) error { return c.unseal(ctx, c.Network.All()...) }

// restart kills one program of a cloud and starts it again.
func (c *Cluster) restart(ctx context.Context, cloud netns.Cloud, program string) error {
	if err := c.Signal(cloud, program, syscall.SIGKILL); err != nil {
		return err
	}
	for c.running(cloud, program) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return c.start(ctx, cloud, programs)
}

// RotateKeys makes a new version of the key of access tokens, and another certificate for the edges.
func (c *Cluster) RotateKeys(ctx context.Context) error {
	client, err := c.vault()
	if err != nil {
		return err
	}
	if _, err := client.Logical().WriteWithContext(ctx, tokenKey+"/rotate", nil); err != nil {
		return fmt.Errorf("couldn't rotate the key of access tokens: %w", err)
	}
	if err := c.certify("haproxy"); err != nil {
		return err
	}
	return c.writeEdgeCertificate(ctx, client)
}

// EdgesRenewed is whether every edge shows the certificate that was made last.
func (c *Cluster) EdgesRenewed(ctx context.Context) (bool, error) {
	pool, err := c.CA()
	if err != nil {
		return false, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(c.certificates(), "haproxy", mtls.CertFile), filepath.Join(c.certificates(), "haproxy", mtls.KeyFile))
	if err != nil {
		return false, fmt.Errorf("couldn't read the edges' certificate: %w", err)
	}
	for _, cloud := range c.Network.All() {
		shown, err := shown(ctx, net.JoinHostPort(cloud.Addr.String(), "443"), pool)
		if err != nil {
			return false, err
		}
		if sha256.Sum256(shown.Raw) != sha256.Sum256(pair.Leaf.Raw) {
			return false, nil
		}
	}
	return true, nil
}

// shown is the certificate that a server shows.
func shown(ctx context.Context, address string, pool *x509.CertPool) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("couldn't connect to an edge: %w", err)
	}
	defer func() { _ = conn.Close() }()
	peers := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(peers) == 0 {
		return nil, errors.New("an edge shows no certificate")
	}
	return peers[0], nil
}

// certify makes new certificates of the cluster's own CA.
func (c *Cluster) certify(services ...string) error {
	hosts := []string{"localhost", "127.0.0.1", c.Network.Host().String()}
	for _, cloud := range c.Network.All() {
		hosts = append(hosts, cloud.Addr.String())
	}
	_, err := devca.Make(devca.Config{Dir: c.certificates(), Services: services, Hosts: hosts, Clock: time.Now})
	return err
}

// writeEdgeCertificate puts the certificate that was made last into Vault, from where the edges take it. Vault
// wants to know which version it replaces.
func (c *Cluster) writeEdgeCertificate(ctx context.Context, client *api.Client) error {
	certificate, certErr := os.ReadFile(filepath.Join(c.certificates(), "haproxy", mtls.CertFile))
	key, keyErr := os.ReadFile(filepath.Join(c.certificates(), "haproxy", mtls.KeyFile))
	if err := errors.Join(certErr, keyErr); err != nil {
		return fmt.Errorf("couldn't read the edges' certificate: %w", err)
	}
	there, err := client.Logical().ReadWithContext(ctx, edgeSecret)
	if err != nil {
		return fmt.Errorf("couldn't read the edges' certificate in Vault: %w", err)
	}
	version := any(0)
	if there != nil {
		metadata, _ := there.Data["metadata"].(map[string]any)
		version = metadata["version"]
	}
	_, err = client.Logical().WriteWithContext(ctx, edgeSecret, map[string]any{
		"options": map[string]any{"cas": version}, "data": map[string]any{"certificate": string(certificate), "key": string(key)},
	})
	if err != nil {
		return fmt.Errorf("couldn't write the edges' certificate into Vault: %w", err)
	}
	return nil
}
