// Package edge runs jobs/haproxy.nomad.hcl as it is: Nomad renders HAProxy's configuration from Consul, with the
// certificate from Vault, and voters come in over loopback.
package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/tools/jobs/agents"
)

const (
	jobs     = "../../../jobs"
	policies = "../../../vault-policies"
)

// edge is a running HAProxy with its API servers.
type edge struct {
	*testing.T
	consul, vault, nomad *agents.Program
	vars                 string // the file with the site
	https, http, redis   string
	metrics              string
	roots, services      *x509.CertPool // of what voters see, and of services
	allocation           string
	chain                []byte // of what voters see, PEM
	sources              atomic.Int32
}

// backend stands where an API server does.
type backend struct {
	name   string
	public net.Listener
	admin  net.Listener
	frozen atomic.Bool  // it takes connections, and answers nothing any more
	checks atomic.Int32 // how often it was asked for readiness since it froze

	mutex sync.Mutex
	asked map[string]int // requests by X-Test
}

// verified is closed when the streams of voters who text (X-Texts) are to say so.
var verified = make(chan struct{})

func newBackend(t *testing.T, name string) *backend {
	b := &backend{name: name, asked: map[string]int{}}
	for listener, handler := range map[*net.Listener]http.HandlerFunc{&b.public: b.serve, &b.admin: b.ready} {
		open, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*listener = open
		server := &http.Server{Handler: handler}
		go server.Serve(open)
		t.Cleanup(func() { server.Close() })
	}
	return b
}

func (b *backend) ready(w http.ResponseWriter, r *http.Request) {
	if b.frozen.Load() {
		b.checks.Add(1)
		<-r.Context().Done()
	}
}

// serve is what the tests need of a server: an echo, a stream, silence, and connections that break.
func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	if b.frozen.Load() {
		<-r.Context().Done()
		return
	}
	test := r.Header.Get("X-Test")
	b.mutex.Lock()
	b.asked[test]++
	b.mutex.Unlock()
	w.Header().Set("X-Backend", b.name)
	switch r.URL.Path {
	case "/break":
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			connection.Close()
		}
	case "/busy":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/silent":
		<-r.Context().Done()
	case "/v1/verification":
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "retry: 1000\n\n")
		http.NewResponseController(w).Flush()
		var texted chan struct{}
		if r.Header.Get("X-Texts") != "" {
			texted = verified
		}
		select {
		case <-texted:
			io.WriteString(w, "event: verified\n\n")
		case <-r.Context().Done():
		}
	default:
		json.NewEncoder(w).Encode(r.Header)
	}
}

func asked(test string, backends ...*backend) (n int) {
	for _, b := range backends {
		b.mutex.Lock()
		n += b.asked[test]
		b.mutex.Unlock()
	}
	return n
}

// register puts an API server into the catalogue, as Nomad does.
func (e *edge) register(b *backend, cloud string, tags ...string) {
	e.Helper()
	e.consul.Must("PUT", "/v1/agent/service/register", map[string]any{
		"ID": b.name, "Name": "api-server", "Address": "127.0.0.1", "Port": b.public.Addr().(*net.TCPAddr).Port, "Tags": tags,
		"Meta":  map[string]string{"cloud": cloud, "admin": fmt.Sprint(b.admin.Addr().(*net.TCPAddr).Port)},
		"Check": map[string]any{"CheckID": b.name, "TTL": "10m", "Status": "passing"},
	}, nil)
}

// start has Nomad run the job with the lab's variables, on loopback.
func start(t *testing.T, backends ...*backend) *edge {
	e := &edge{T: t, consul: agents.Consul(t), vault: agents.Vault(t), roots: x509.NewCertPool()}
	e.nomad = agents.Nomad(t, "cloud-a", "default", e.consul, e.vault)
	for i, b := range backends {
		e.register(b, "cloud-"+string(rune('a'+i)))
	}
	e.giveCertificate()
	e.makeAuthority()

	programs, ca := e.givePopvote()
	free := agents.Ports(t, 3)
	e.https, e.http, e.redis = "127.0.0.1:"+free[0], "127.0.0.1:"+free[1], "127.0.0.1:"+free[2]
	lab, err := os.ReadFile(jobs + "/vars/lab.vars.hcl")
	if err != nil {
		t.Fatal(err)
	}
	vars := string(lab)
	for _, change := range [][2]string{
		{`(?m)^  datacenters *= .*$`, `  datacenters = ["cloud-a"]`},
		{`(?m)^    address *= .*$`, `    address = "127.0.0.1"`},
		{`(?m)^    https *= .*$`, `    https = ` + free[0]},
		{`(?m)^    http *= .*$`, `    http = ` + free[1]},
		{`(?m)^    certificate *= .*$`, `    certificate = ""`},
		{`(?m)^    balancers *= .*$`, `    balancers = ["127.0.9.0/24"]`},
		{`(?m)^    requests *= .*$`, `    requests = 50`},
		{`(?m)^    connections *= .*$`, `    connections = 100`},
		{`port *= 6379`, `port = ` + free[2]},
		{`(?m)^  programs *= .*$`, `  programs = "` + programs + `"`},
		{`(?m)^  public_origin *= .*$`, `  public_origin = "https://vote.example.org"`},
		{`(?m)^  probe *= .*$`, `  probe = { every_edge = false, poll = "", ca = "` + ca + `" }`},
	} {
		line := regexp.MustCompile(change[0])
		if !line.MatchString(vars) {
			t.Fatalf("lab.vars.hcl has no line like %s", change[0])
		}
		vars = line.ReplaceAllString(vars, change[1])
	}
	e.vars = agents.Write(t, "edge.vars.hcl", vars)
	e.run("haproxy")
	t.Cleanup(e.stop)
	e.nomad.Await("HAProxy ready in Consul", func() error {
		var found []struct {
			Service struct{ Meta map[string]string }
		}
		if err := e.consul.Ask("GET", "/v1/health/service/haproxy?passing", nil, &found); err != nil {
			return err
		}
		if len(found) != 1 {
			return errors.Join(errors.New("it is not there"), e.failed())
		}
		e.metrics = "127.0.0.1:" + found[0].Service.Meta["admin"]
		return nil
	})
	return e
}

// run gives a job to Nomad.
func (e *edge) run(name string) {
	e.Helper()
	parsed, err := agents.Parse(e, jobs+"/"+name+".nomad.hcl", e.vars)
	if err != nil {
		e.Fatal(err)
	}
	e.nomad.Must("PUT", "/v1/jobs", json.RawMessage(parsed), nil)
}

// failed says what Nomad's task events say.
func (e *edge) failed() error {
	var allocations []struct {
		ID         string
		TaskStates map[string]struct {
			Restarts int
			Events   []struct{ DisplayMessage string }
		}
	}
	if err := e.nomad.Ask("GET", "/v1/job/haproxy/allocations?namespace=popvote", nil, &allocations); err != nil {
		return err
	}
	for _, a := range allocations {
		e.allocation = a.ID
		for _, task := range a.TaskStates {
			var said []string
			for _, event := range task.Events {
				said = append(said, event.DisplayMessage)
			}
			if task.Restarts > 0 || strings.Contains(strings.Join(said, " "), "Exit Code") {
				return fmt.Errorf("it was restarted %d times: %q", task.Restarts, said)
			}
		}
	}
	return nil
}

// said is what Nomad says of a job's tasks.
func (e *edge) said(job string) (said []string) {
	var allocations []struct {
		TaskStates map[string]struct {
			Events []struct{ DisplayMessage string }
		}
	}
	e.nomad.Must("GET", "/v1/job/"+job+"/allocations?namespace=popvote", nil, &allocations)
	for _, a := range allocations {
		for _, task := range a.TaskStates {
			for _, event := range task.Events {
				said = append(said, event.DisplayMessage)
			}
		}
	}
	return said
}

// stop takes the job away before its Nomad goes.
func (e *edge) stop() {
	if e.Failed() {
		for _, file := range []string{"haproxy/local/haproxy.cfg", "alloc/logs/haproxy.stdout.0", "alloc/logs/haproxy.stderr.0"} {
			e.Logf("%s:\n%s", file, e.file(file))
		}
	}
	for _, job := range []string{"haproxy", "redis"} {
		if err := e.nomad.Ask("DELETE", "/v1/job/"+job+"?namespace=popvote&no_shutdown_delay=true", nil, nil); err != nil {
			e.Error(err)
		}
	}
	e.nomad.Await("HAProxy gone", func() error {
		if connection, err := net.Dial("tcp", e.metrics); err == nil {
			connection.Close()
			return errors.New("it listens")
		}
		return nil
	})
}

// file reads a file of the allocation.
func (e *edge) file(path string) string {
	e.failed() //nolint:errcheck // it finds the allocation
	response, err := http.Get("http://" + e.nomad.Address + "/v1/client/fs/cat/" + e.allocation + "?namespace=popvote&path=" + path)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return string(content)
}

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

// voter is a client with an address of its own, which nothing else of the test shares.
func (e *edge) voter(t *testing.T, change ...func(*tls.Config)) *http.Client {
	config := &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"}
	for _, c := range change {
		c(config)
	}
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: len(config.NextProtos) == 0,
		DialContext: e.from(e.address()),
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (e *edge) address() string { return fmt.Sprintf("127.0.1.%d", e.sources.Add(1)) }

func (e *edge) from(address string) func(context.Context, string, string) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return dialer.DialContext
}

// ask sends a request and reads its answer, which may be none.
func (e *edge) ask(t *testing.T, client *http.Client, method, path string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), agents.Patience)
	defer cancel()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader(`{"sealed":"…"}`)
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+e.https+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Test", t.Name())
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response, content, err
}

// must is ask where an answer is due, of this status.
func (e *edge) must(t *testing.T, client *http.Client, status int, method, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	response, content, err := e.ask(t, client, method, path, header...)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d: %s", method, path, response.Status, status, content)
	}
	return response, content
}

// What is tested at once mostly waits.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16")
	os.Exit(m.Run())
}

// TestEdge: one HAProxy, asked by many at once, and then things change around it.
func TestEdge(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	e := start(t, a, b)

	e.run("redis")
	t.Run("Redis", func(t *testing.T) { redis(t, e) })
	t.Run("prober", func(t *testing.T) { prober(t, e) })

	// What changes around HAProxy begins when nothing else depends on how it was; much of that then still waits.
	var settled sync.WaitGroup
	t.Run("asked", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"nobody chooses an address":                        func(t *testing.T) { forging(t, e) },
			"a balancer in front is believed, and nobody else": func(t *testing.T) { proxied(t, e) },
			"TLS":                                  func(t *testing.T) { secure(t, e) },
			"plain HTTP is sent on":                func(t *testing.T) { plain(t, e) },
			"only what names itself is repeated":   func(t *testing.T) { retries(t, e, a, b) },
			"too many from one address":            func(t *testing.T) { flood(t, e) },
			"nothing is smuggled past":             func(t *testing.T) { smuggling(t, e, a, b) },
			"slow clients, and others beside them": func(t *testing.T) { e.must(t, slow(t, e, a, b), 200, "GET", "/v1/polls") },
			"a silent stream is held":              func(t *testing.T) { silence(t, e) },
		} {
			settled.Add(1)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				defer settled.Done()
				test(t)
			})
		}
		t.Run("an answer that never comes", func(t *testing.T) { t.Parallel(); unanswered(t, e) })
		t.Run("changes", func(t *testing.T) {
			t.Parallel()
			settled.Wait()
			t.Run("overloaded servers stay in", func(t *testing.T) { overloaded(t, e) })
			t.Run("a frozen server is out after two checks", func(t *testing.T) { frozen(t, e, b) })
			t.Run("a reload keeps what is held", func(t *testing.T) { reload(t, e) })
		})
	})
	if err := e.failed(); err != nil {
		t.Errorf("HAProxy didn't live through all of this: %v", err)
	}
}

func forging(t *testing.T, e *edge) {
	for _, protocol := range []string{"h2", "http/1.1"} {
		address := e.address()
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org", NextProtos: []string{protocol}},
			ForceAttemptHTTP2: protocol == "h2", DialContext: e.from(address), DisableKeepAlives: true,
		}}
		response, content := e.must(t, client, 200, "GET", "/v1/challenge",
			"X-Forwarded-For", "203.0.113.1", "X-Forwarded-For", "203.0.113.2, 127.0.0.1", "X-Real-Ip", "203.0.113.3",
			"Forwarded", "for=203.0.113.4", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http")
		var got http.Header
		if err := json.Unmarshal(content, &got); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"h2": 2, "http/1.1": 1}[protocol]; response.ProtoMajor != want {
			t.Errorf("%s was spoken, want %s", response.Proto, protocol)
		}
		for name, want := range map[string][]string{
			"X-Forwarded-For": {address}, "X-Forwarded-Proto": {"https"}, "X-Real-Ip": nil, "Forwarded": nil, "X-Forwarded-Host": nil,
		} {
			if !slices.Equal(got[name], want) {
				t.Errorf("over %s, the server gets %s %q, want %q", protocol, name, got[name], want)
			}
		}
	}
}

func proxied(t *testing.T, e *edge) {
	through := func(address string) (*http.Response, []byte, error) {
		dial := e.from(address)
		return e.ask(t, &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"},
			DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
				connection, err := dial(ctx, network, to)
				if err == nil {
					_, err = io.WriteString(connection, "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n")
				}
				return connection, err
			},
		}}, "GET", "/v1/challenge")
	}
	_, content, err := through("127.0.9.1")
	if err != nil || !bytes.Contains(content, []byte(`"X-Forwarded-For":["203.0.113.7"]`)) {
		t.Errorf("through the balancer, the server gets %s, %v", content, err)
	}
	if response, _, err := through(e.address()); err == nil {
		t.Errorf("whoever says to be a balancer is one: %s", response.Status)
	}
}

func secure(t *testing.T, e *edge) {
	handshake := func(change func(*tls.Config)) error {
		config := &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"}
		change(config)
		connection, err := tls.Dial("tcp", e.https, config)
		if err == nil {
			connection.Close()
		}
		return err
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.0": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 },
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"TLS 1.2 with CBC": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
				tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			}
		},
		"TLS 1.2 without forward secrecy": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384}
		},
	} {
		// Refused by the other side, not by ours.
		if err := handshake(change); err == nil || !strings.Contains(err.Error(), "remote error") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.3": func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
		"TLS 1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"TLS 1.2 with ChaCha20": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		},
	} {
		if err := handshake(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func plain(t *testing.T, e *edge) {
	client := e.voter(t)
	response, err := client.Get("http://" + e.http + "/v1/polls?x=1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := response.Header.Get("Location"); response.StatusCode != 308 || got != "https://"+e.http+"/v1/polls?x=1" {
		t.Errorf("%s to %q", response.Status, got)
	}
}

func retries(t *testing.T, e *edge, backends ...*backend) {
	for name, c := range map[string]struct {
		method, path string
		header       []string
		times        int
		status       int
	}{
		"a cast without a key":        {"POST", "/break", nil, 1, 502},
		"a question":                  {"GET", "/break", nil, 1, 502},
		"a cast with a key":           {"POST", "/break", []string{"Idempotency-Key", "k"}, 3, 502},
		"an answer that is no answer": {"POST", "/busy", []string{"Idempotency-Key", "k"}, 1, 503},
	} {
		t.Run(name, func(t *testing.T) {
			// The first request of a connection: where a later one gets no answer, HAProxy closes the connection without a
			// word, and over HTTP/2 always refuses the stream. It is the client then that repeats.
			client := e.voter(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
			response, content := e.must(t, client, c.status, c.method, c.path, c.header...)
			if got := asked(t.Name(), backends...); got != c.times {
				t.Errorf("the servers were asked %d times, want %d", got, c.times)
			}
			if c.status == 502 && (response.Header.Get("Content-Type") != "application/problem+json" ||
				response.Header.Get("Retry-After") == "" || !bytes.Contains(content, []byte(`"effect":"unknown"`))) {
				t.Errorf("it says %v: %s", response.Header, content)
			}
		})
	}
}

// open begins a stream at a server and reads its first event.
func (e *edge) open(t *testing.T, client *http.Client, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+e.https+"/v1/verification", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	for _, name := range header {
		request.Header.Set(name, "yes")
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); line != "retry: 1000\n" {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	return response, lines
}

// silence: the longest that any other request may take has passed, and the stream is still there. What is waited for
// is that other one, which begins later.
func silence(t *testing.T, e *edge) {
	for _, client := range []*http.Client{e.voter(t), e.voter(t, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })} {
		response, lines := e.open(t, client)
		read := make(chan string, 1)
		go func() {
			lines.ReadString('\n')
			line, err := lines.ReadString('\n')
			read <- fmt.Sprint(line, err)
		}()
		t.Run(response.Proto, func(t *testing.T) {
			t.Parallel()
			e.must(t, e.voter(t), 504, "GET", "/silent")
			select {
			case line := <-read:
				t.Errorf("the stream ended with %s", line)
			default:
			}
		})
	}
}

func unanswered(t *testing.T, e *edge) {
	_, content := e.must(t, e.voter(t), 504, "GET", "/silent")
	if !bytes.Contains(content, []byte(`"effect":"unknown"`)) {
		t.Errorf("it says %s", content)
	}
}

// slow: a hundred clients that send a byte now and then hold nothing of a server, and end. It returns another one,
// while they are there.
func slow(t *testing.T, e *edge, backends ...*backend) *http.Client {
	request := "POST /slow HTTP/1.1\r\nHost: vote.example.org\r\nX-Test: " + t.Name() + "\r\nContent-Length: 1000\r\n"
	var all sync.WaitGroup
	for i := range 100 {
		sent, drip := request, "X: y\r\n" // never an end of the header
		if i%2 == 1 {
			sent, drip = request+"\r\n", "x" // never an end of the body
		}
		all.Go(func() {
			raw, err := e.from(fmt.Sprintf("127.0.2.%d", i+1))(context.Background(), "tcp", e.https)
			if err != nil {
				t.Error(err)
				return
			}
			connection := tls.Client(raw, &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"})
			defer connection.Close()
			io.WriteString(connection, sent)
			ended := make(chan string, 1)
			go func() {
				said, _ := io.ReadAll(connection)
				ended <- string(said)
			}()
			for {
				select {
				case said := <-ended:
					if !strings.HasPrefix(said, "HTTP/1.1 408 ") {
						t.Errorf("it was told %q", said)
					}
					return
				case <-time.After(time.Second):
					io.WriteString(connection, drip)
				}
			}
		})
	}
	t.Cleanup(func() {
		all.Wait()
		// The other's is all that came through.
		if got := asked(t.Name(), backends...); got != 1 {
			t.Errorf("the servers got %d requests", got)
		}
	})
	return e.voter(t)
}

func flood(t *testing.T, e *edge) {
	client, other := e.voter(t), e.voter(t)
	for i := range 51 {
		response, _, err := e.ask(t, client, "GET", "/v1/polls")
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == 429 {
			if i < 50 || response.Header.Get("Retry-After") == "" {
				t.Errorf("request %d: %s with %v", i+1, response.Status, response.Header)
			}
			e.must(t, other, 200, "GET", "/v1/polls")
			return
		}
	}
	// The rate is measured over sliding time: only if all of them took longer than that may none be refused.
	t.Error("51 requests from one address, and none was refused")
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

// state is what HAProxy's metrics say of its servers.
func (e *edge) state() (map[string]string, error) {
	response, err := http.Get("http://" + e.metrics + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	states := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^haproxy_server_status\{proxy="api-server",server="([^"]*)",state="([^"]*)"\} 1$`).FindAllSubmatch(content, -1) {
		states[string(found[1])] = string(found[2])
	}
	return states, err
}

func (e *edge) await(t *testing.T, want map[string]string) {
	t.Helper()
	e.nomad.For(t).Await(fmt.Sprint(want), func() error {
		states, err := e.state()
		if err == nil && fmt.Sprint(states) != fmt.Sprint(want) {
			err = fmt.Errorf("the servers are %v", states)
		}
		return err
	})
}

// overloaded: who says 503, however often, is asked again, and it is never HAProxy that answers for it.
func overloaded(t *testing.T, e *edge) {
	var client *http.Client
	for n := range 200 {
		if n%20 == 0 { // or one address would have too many
			client = e.voter(t)
		}
		if response, _ := e.must(t, client, 503, "POST", "/busy"); response.Header.Get("X-Backend") == "" {
			t.Fatalf("after %d such answers the servers are out", n)
		}
	}
	e.must(t, client, 200, "GET", "/v1/polls")
}

// frozen: the check that finds a server frozen is followed by one more. The longest way to be out is what the
// configuration says: until that check, its second of silence, until the next, and its.
func frozen(t *testing.T, e *edge, b *backend) {
	rendered := e.file("haproxy/local/haproxy.cfg")
	if !strings.Contains(rendered, "default-server check inter 1500ms fastinter 500ms") || !strings.Contains(rendered, "timeout check 1s") {
		t.Error("the configuration has other times: compute anew whether they make less than 6 s")
	}
	b.frozen.Store(true)
	began := time.Now()
	e.await(t, map[string]string{"a": "UP", "b": "DOWN"})
	t.Logf("out after %.1f s", time.Since(began).Seconds())
	if got := b.checks.Load(); got != 2 {
		t.Errorf("it was out after %d checks, want 2", got)
	}
	client := e.voter(t)
	for range 20 {
		if response, _ := e.must(t, client, 200, "GET", "/v1/polls"); response.Header.Get("X-Backend") != "a" {
			t.Fatal("a request went to the frozen server")
		}
	}
	b.frozen.Store(false)
	e.await(t, map[string]string{"a": "UP", "b": "UP"})
}

// reload: a server that comes is served to new connections; a stream that is held goes on, on the old process, and no
// request is lost meanwhile. A canary gets nobody. When Consul says that none is ready, all are asked.
func reload(t *testing.T, e *edge) {
	held, lines := e.open(t, e.voter(t), "X-Texts")
	if holder := held.Header.Get("X-Backend"); holder != "a" && holder != "b" {
		t.Fatalf("the stream is at %q", holder)
	}

	stop, lost := make(chan struct{}), make(chan error, 1)
	go func() {
		var failed error
		for n := 0; ; n++ {
			select {
			case <-stop:
				lost <- failed
				return
			case <-time.After(20 * time.Millisecond):
			}
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org"},
				DialContext: e.from(fmt.Sprintf("127.0.3.%d", n%200+1)),
			}}
			if response, content, err := e.ask(t, client, "GET", "/v1/polls"); err != nil || response.StatusCode != 200 {
				failed = errors.Join(failed, fmt.Errorf("request %d: %w %s", n, err, content))
			}
		}
	}()

	c, canary := newBackend(t, "c"), newBackend(t, "d")
	e.register(canary, "cloud-b", "canary")
	e.register(c, "cloud-c")
	e.await(t, map[string]string{"a": "UP", "b": "UP", "c": "UP"})
	client := e.voter(t)
	e.nomad.For(t).Await("a request at the new one", func() error {
		time.Sleep(200 * time.Millisecond) // within the limit for an address
		if response, _ := e.must(t, client, 200, "GET", "/v1/polls"); response.Header.Get("X-Backend") != "c" {
			return errors.New("the others had it")
		}
		return nil
	})

	e.consul.Must("PUT", "/v1/agent/check/fail/c", nil, nil)
	e.await(t, map[string]string{"a": "UP", "b": "UP"})
	for _, one := range []string{"a", "b"} {
		e.consul.Must("PUT", "/v1/agent/check/fail/"+one, nil, nil)
	}
	e.await(t, map[string]string{"a": "UP", "b": "UP", "c": "UP"})

	close(stop)
	if err := <-lost; err != nil {
		t.Errorf("requests were lost while it reloaded: %v", err)
	}
	close(verified)
	lines.ReadString('\n')
	if line, err := lines.ReadString('\n'); line != "event: verified\n" {
		t.Errorf("the stream said %q, %v", line, err)
	}
}
