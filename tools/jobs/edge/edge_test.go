// Package edge runs jobs/haproxy.nomad.hcl as it is: Nomad renders HAProxy's configuration from Consul, with the
// certificate from Vault, and voters come in over loopback.
package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
	programs             string // the directory with ours
	https, http, redis   string
	metrics              string
	roots, services      *x509.CertPool // of what voters see, and of services
	allocation           string
	chain                []byte // of what voters see, PEM
	sources              atomic.Int32
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

	ca := e.givePrograms()
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
		{`(?m)^    hooks *= .*$`, `    hooks = 70`},
		{`(?m)^  counts *= .*$`, `  counts = { api-server = 1, ballot-server = 1, sms-gateway = 1, control-panel = 1 }`},
		{`(?m)^  consul *= .*$`, `  consul = "` + e.consul.Address + `"`},
		{`(?m)^  vault *= .*$`, `  vault = { address = "http://` + e.vault.Address + `", ca = "" }`},
		{`(?m)^  sms_files *= .*$`, `  sms_files = ["routes.yaml"]`},
		{`(?m)^  simulate_sms *= .*$`, `  simulate_sms = []`},
		{`port *= 6379`, `port = ` + free[2]},
		{`(?m)^  programs *= .*$`, `  programs = "` + e.programs + `"`},
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
	a, b, h := newBackend(t, "a"), newBackend(t, "b"), newBackend(t, "h")
	e := start(t, a, b)
	e.registerAs(hooksService, h, "cloud-a")
	e.awaitAt(t, "hooks", map[string]string{"h": "UP"})

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
			"plain HTTP":                           func(t *testing.T) { plain(t, e, a, b, h) },
			"only what names itself is repeated":   func(t *testing.T) { retries(t, e, a, b) },
			"too many from one address":            func(t *testing.T) { flood(t, e) },
			"a provider's call":                    func(t *testing.T) { calls(t, e, h) },
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
	// The real ones in their places.
	t.Run("SMS providers reach a gateway", func(t *testing.T) { gateway(t, e, h) })
	t.Run("scanners and forgers", func(t *testing.T) { corpora(t, e, "a", "b", "c", "d") })
	if err := e.failed(); err != nil {
		t.Errorf("HAProxy didn't live through all of this: %v", err)
	}
}
