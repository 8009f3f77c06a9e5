package edge

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/tools/jobs/agents"
)

type data = map[string]any

// role gives a job its policy in Vault, and its roles of the settings named, as an operator does.
func (e *edge) role(name string, settings ...string) {
	e.Helper()
	policy, err := os.ReadFile(policies + "/" + name + ".hcl")
	if err != nil {
		e.Fatal(err)
	}
	e.vault.Must("PUT", "/v1/sys/policies/acl/"+name, data{"policy": string(policy)}, nil)
	for _, file := range settings {
		content, err := os.ReadFile(policies + "/settings/" + file)
		if err != nil {
			e.Fatal(err)
		}
		var all []struct {
			Path string
			Each []string
			Data data
		}
		if err := json.Unmarshal(bytes.ReplaceAll(content, []byte("{}"), []byte(name)), &all); err != nil {
			e.Fatal(err)
		}
		for _, one := range all {
			if slices.Contains(one.Each, name) {
				e.vault.Must("POST", "/v1/"+one.Path, one.Data, nil)
			}
		}
	}
}

// makeAuthority makes the services' CA, which the root's signed.
func (e *edge) makeAuthority() {
	e.Helper()
	var answer struct {
		Data struct{ CSR, Certificate string }
	}
	for _, mount := range []string{"pki", "pki_int"} {
		e.vault.Must("POST", "/v1/sys/mounts/"+mount, data{"type": "pki", "config": data{"max_lease_ttl": "87600h"}}, nil)
	}
	e.vault.Must("POST", "/v1/pki/root/generate/internal", data{"common_name": "root", "key_type": "ec", "ttl": "87600h", "not_before_duration": "2h"}, &answer)
	root := answer.Data.Certificate
	e.vault.Must("POST", "/v1/pki_int/intermediate/generate/internal", data{"common_name": "services", "key_type": "ec"}, &answer)
	e.vault.Must("POST", "/v1/pki/root/sign-intermediate", data{"csr": answer.Data.CSR, "ttl": "43800h", "not_before_duration": "1h"}, &answer)
	e.vault.Must("POST", "/v1/pki_int/intermediate/set-signed", data{"certificate": answer.Data.Certificate + "\n" + root}, nil)
	e.services = x509.NewCertPool()
	e.services.AppendCertsFromPEM([]byte(root))
	e.role("redis", "5-jwt-nomad.json", "3-pki.json")
	e.role("api-server", "3-pki.json")
	e.role("sms-gateway", "5-jwt-nomad.json", "3-pki.json")
}

// giveCertificate puts the voters' certificate into Vault, where only the job haproxy gets it.
func (e *edge) giveCertificate() {
	e.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		e.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vote.example.org"}, DNSNames: []string{"vote.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		e.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		e.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	e.roots.AppendCertsFromPEM(chain)
	e.chain = chain
	e.vault.Must("POST", "/v1/sys/auth/jwt-nomad", data{"type": "jwt"}, nil)
	e.vault.Must("POST", "/v1/auth/jwt-nomad/config", data{
		"jwks_url": "http://" + e.nomad.Address + "/.well-known/jwks.json", "jwt_supported_algs": []string{"RS256", "EdDSA"},
	}, nil)
	e.role("haproxy", "5-jwt-nomad.json")
	e.vault.Must("POST", "/v1/secret/data/popvote/haproxy", data{"data": data{
		"certificate": string(chain), "key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}}, nil)
}

// redis: it answers who has a certificate of a service, shows its own, and nobody else gets a word out of it.
func redis(t *testing.T, e *edge) {
	var issued struct {
		Data struct {
			Certificate string
			CAChain     []string `json:"ca_chain"`
			PrivateKey  string   `json:"private_key"`
		}
	}
	e.vault.For(t).Must("POST", "/v1/pki_int/issue/api-server", data{"uri_sans": "spiffe://popvote/api-server"}, &issued)
	client, err := tls.X509KeyPair([]byte(issued.Data.Certificate+"\n"+strings.Join(issued.Data.CAChain, "\n")), []byte(issued.Data.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ping := func(certificates ...tls.Certificate) (string, error) {
		connection, err := tls.Dial("tcp", e.redis, &tls.Config{
			Certificates: certificates, InsecureSkipVerify: true, // names are URIs: looked at here, as package mtls does
			VerifyConnection: func(state tls.ConnectionState) error {
				between := x509.NewCertPool()
				for _, c := range state.PeerCertificates[1:] {
					between.AddCert(c)
				}
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: e.services, Intermediates: between})
				names = nil
				for _, uri := range state.PeerCertificates[0].URIs {
					names = append(names, uri.String())
				}
				return err
			},
		})
		if err != nil {
			return "", err
		}
		defer connection.Close()
		connection.SetDeadline(time.Now().Add(agents.Patience))
		if _, err := io.WriteString(connection, "PING\r\n"); err != nil {
			return "", err
		}
		return bufio.NewReader(connection).ReadString('\n')
	}
	e.nomad.For(t).Await("Redis answers", func() error {
		answer, err := ping(client)
		if err != nil {
			return fmt.Errorf("%w: %v", err, e.said("redis"))
		}
		if err == nil && answer != "+PONG\r\n" {
			err = fmt.Errorf("it said %q", answer)
		}
		return err
	})
	if !slices.Equal(names, []string{"spiffe://popvote/redis"}) {
		t.Errorf("it is %q", names)
	}
	if answer, err := ping(); err == nil {
		t.Errorf("without a certificate, it said %q", answer)
	}
}
