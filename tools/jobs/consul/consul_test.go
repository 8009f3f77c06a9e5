// Package consul holds Consul's policies to what they are for: what each opens, path by path, and that the real
// programs do with them what they do, against a real Consul that denies everything else.
package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popvote/popvote/tools/jobs/agents"
)

const dir = "../../../jobs/consul/"

type data = map[string]any

// rights is all that each policy gives of the resources below; what is not listed is denied.
var rights = map[string]map[string]string{
	"api-server":    {"service ballot-server": "read", "service sms-gateway": "read", "service redis": "read", "node jobs": "read"},
	"ballot-server": {"service popvote-db": "read", "node jobs": "read"},
	"sms-gateway":   {"service redis": "read", "node jobs": "read"},
	"control-panel": {
		"service api-server": "read", "service ballot-server": "read", "service sms-gateway": "read", "service control-panel": "read",
		"service haproxy": "read", "service redis": "read", "service popvote-db": "read", "service prober": "read",
		"service vault": "read", "service consul": "read", "node jobs": "read",
	},
	"haproxy": {"service api-server": "read", "service sms-gateway-hooks": "read", "node jobs": "read"},
	"migrate": {"service popvote-db": "read", "node jobs": "read"},
	"prober":  {"service haproxy": "read", "service sms-gateway": "read", "node jobs": "read"},
	"nomad-agent": {
		"service api-server": "read write", "service ballot-server": "read write", "service sms-gateway": "read write",
		"service control-panel": "read write", "service haproxy": "read write", "service redis": "read write", "service prober": "read write",
		"service popvote-db": "read write", "service vault": "read write", "service consul": "read write", "service stranger": "read write",
		"service sms-gateway-hooks": "read write",
		"node jobs":                 "read", "agent jobs": "read",
	},
	"patroni": {"service popvote-db": "read write", "key service/popvote-db/leader": "list read write", "session jobs": "read write"},
	"vault":   {"service vault": "read write"},
	"dns":     {"service vault": "read", "service popvote-db": "read", "service consul": "read", "node jobs": "read"},
}

// nobodys are resources that no policy opens, each for what it could do.
var nobodys = []string{
	"acl", "operator", "keyring", "mesh", "peering", "key secret", "key service/popvote-db-other/leader", "event deploy", "query any",
}

// token makes a token with a policy of the repository's, and returns who asks Consul with it.
func token(t *testing.T, consul *agents.Program, policy string) *agents.Program {
	t.Helper()
	rules, err := os.ReadFile(dir + "policy." + policy + ".hcl")
	if err != nil {
		t.Fatal(err)
	}
	consul.For(t).Must("PUT", "/v1/acl/policy", data{"Name": "popvote-" + policy, "Rules": string(rules)}, nil)
	return issue(t, consul, data{"Policies": []data{{"Name": "popvote-" + policy}}})
}

// issue makes a token, and returns who asks Consul with it.
func issue(t *testing.T, consul *agents.Program, what data) *agents.Program {
	t.Helper()
	var issued struct{ SecretID string }
	consul.For(t).Must("PUT", "/v1/acl/token", what, &issued)
	return with(t, consul, issued.SecretID)
}

func with(t *testing.T, consul *agents.Program, token string) *agents.Program {
	other := consul.For(t)
	other.Header = consul.Header.Clone()
	other.Header.Set("X-Consul-Token", token)
	return other
}

// TestPoliciesByResource: policy × resource × access, as the real Consul sees it. Who has no token has no right.
func TestPoliciesByResource(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	if found := agents.Glob(t, dir+"policy.*.hcl", 1); len(found) != len(rights) {
		t.Fatalf("%d policies, and rights for %d", len(found), len(rights))
	}
	resources := slices.Clone(nobodys)
	for _, by := range rights {
		resources = slices.AppendSeq(resources, maps.Keys(by))
	}
	slices.Sort(resources)
	resources = slices.Compact(resources)
	check := func(t *testing.T, who *agents.Program, may map[string]string) {
		t.Helper()
		for _, resource := range resources {
			kind, segment, _ := strings.Cut(resource, " ")
			var allowed []string
			for _, access := range []string{"list", "read", "write"} {
				if access == "list" && kind != "key" {
					continue
				}
				var answer []struct{ Allow bool }
				who.Must("POST", "/v1/internal/acl/authorize", []data{{"Resource": kind, "Segment": segment, "Access": access}}, &answer)
				if answer[0].Allow {
					allowed = append(allowed, access)
				}
			}
			if got := strings.Join(allowed, " "); got != may[resource] {
				t.Errorf("%q on %s, and not %q", got, resource, may[resource])
			}
		}
	}
	for policy, may := range rights {
		t.Run(policy, func(t *testing.T) { check(t, token(t, consul, policy), may) })
	}
	t.Run("nobody", func(t *testing.T) { check(t, with(t, consul, ""), nil) })
}

// register puts a service into the catalogue, as somebody.
func register(who *agents.Program, name string) error {
	return who.Ask("PUT", "/v1/agent/service/register", data{"ID": name, "Name": name, "Address": "127.0.0.1", "Port": 4321}, nil)
}

// sees is which of the services somebody finds, by the health of their instances.
func sees(t *testing.T, who *agents.Program, services ...string) (found []string) {
	t.Helper()
	for _, service := range services {
		var instances []struct{ Node struct{ Node string } }
		who.Must("GET", "/v1/health/service/"+service, nil, &instances)
		if len(instances) > 0 {
			found = append(found, service)
		}
	}
	return found
}

// TestReadersSeeTheirOwn: what a program's watch or a template gets; the rest is as if it were not there.
func TestReadersSeeTheirOwn(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	all := []string{"api-server", "ballot-server", "control-panel", "haproxy", "popvote-db", "prober", "redis", "sms-gateway", "sms-gateway-hooks", "vault"}
	for _, service := range all {
		if err := register(consul, service); err != nil {
			t.Fatal(err)
		}
	}
	for policy, want := range map[string][]string{
		"api-server": {"ballot-server", "redis", "sms-gateway"}, "ballot-server": {"popvote-db"}, "sms-gateway": {"redis"},
		"control-panel": slices.DeleteFunc(slices.Clone(all), func(service string) bool { return service == "sms-gateway-hooks" }),
		"haproxy":       {"api-server", "sms-gateway-hooks"}, "migrate": {"popvote-db"}, "prober": {"haproxy", "sms-gateway"}, "dns": {"popvote-db", "vault"},
	} {
		who := token(t, consul, policy)
		if got := sees(t, who, all...); !slices.Equal(got, want) {
			t.Errorf("%s sees %q, not %q", policy, got, want)
		}
		for _, service := range append(want, policy) {
			if register(who, service) == nil {
				t.Errorf("%s may say that it is %s", policy, service)
			}
		}
	}
	if got := sees(t, with(t, consul, ""), all...); len(got) > 0 {
		t.Errorf("nobody sees %q", got)
	}
}

// TestDNS: whoever asks this machine's .consul finds Vault and the database, and nothing else.
func TestDNS(t *testing.T) {
	consul, dns := agents.GuardedConsul(t)
	for _, service := range []string{"vault", "popvote-db", "ballot-server"} {
		if err := register(consul, service); err != nil {
			t.Fatal(err)
		}
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, dns)
	}}
	finds := func(service string) bool {
		found, err := resolver.LookupHost(t.Context(), service+".service.consul.")
		return err == nil && slices.Equal(found, []string{"127.0.0.1"})
	}
	if finds("vault") {
		t.Error("without a token it finds Vault: nothing shows that the policy is why")
	}
	secret := token(t, consul, "dns").Header.Get("X-Consul-Token")
	consul.Must("PUT", "/v1/agent/token/dns", data{"Token": secret}, nil)
	consul.Await("Vault found", func() error {
		if !finds("vault") {
			return errors.New("it is not")
		}
		return nil
	})
	if !finds("popvote-db") {
		t.Error("the database is not found")
	}
	if finds("ballot-server") {
		t.Error("the ballot server is found")
	}
}

// TestAgents: a machine's agent with its own node's identity is in the catalogue with its cloud. As another it isn't.
func TestAgents(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	join := func(name, identity string) *agents.Program {
		var members []struct{ Port int }
		consul.Must("GET", "/v1/agent/members", nil, &members)
		who := issue(t, consul, data{"NodeIdentities": []data{{"NodeName": identity, "Datacenter": "dc1"}}})
		free := agents.Ports(t, 2)
		agent := agents.Start(t, "127.0.0.1:"+free[0], agents.Path(t, "consul"), "agent", "-node="+name, "-bind=127.0.0.1",
			"-client=127.0.0.1", "-data-dir="+t.TempDir(), "-disable-host-node-id", "-log-level=warn", "-node-meta=cloud:aws",
			"-http-port="+free[0], "-serf-lan-port="+free[1], "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
			fmt.Sprintf("-retry-join=127.0.0.1:%d", members[0].Port), "-config-file="+agents.Write(t, "acl.hcl", fmt.Sprintf(`
disable_update_check = true
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    agent = %q
  }
}`, who.Header.Get("X-Consul-Token"))))
		agent.Header = who.Header
		return agent
	}
	cloud := func(name string) (string, error) {
		var nodes []struct {
			Node string
			Meta map[string]string
		}
		err := consul.Ask("GET", "/v1/catalog/nodes?filter=Node==%22"+name+"%22", nil, &nodes)
		if err != nil || len(nodes) == 0 {
			return "", err
		}
		return nodes[0].Meta["cloud"], nil
	}
	mine := join("aws-client-1", "aws-client-1")
	consul.Await("its cloud in the catalogue", func() error {
		is, err := cloud("aws-client-1")
		if err == nil && is != "aws" {
			err = fmt.Errorf("it is %q", is)
		}
		return err
	})
	for _, write := range []data{{"Resource": "node", "Segment": "jobs"}, {"Resource": "service", "Segment": "api-server"}, {"Resource": "key", "Segment": "x"}} {
		write["Access"] = "write"
		var answer []struct{ Allow bool }
		with(t, consul, mine.Header.Get("X-Consul-Token")).Must("POST", "/v1/internal/acl/authorize", []data{write}, &answer)
		if answer[0].Allow {
			t.Errorf("an agent may write %v", write)
		}
	}
	join("gcp-client-1", "aws-client-1")
	// The leader says who is there; what else there is to know of a machine, the machine says.
	consul.Await("the other one is there", func() error {
		var members []struct{ Name string }
		err := consul.Ask("GET", "/v1/agent/members", nil, &members)
		if err == nil && len(members) != 3 {
			err = fmt.Errorf("there are %v", members)
		}
		return err
	})
	if is, err := cloud("gcp-client-1"); err != nil || is != "" {
		t.Errorf("with another's token it says that its cloud is %q (%v)", is, err)
	}
}

// TestVault registers itself, as on the servers' image, and says who is active; at its end it takes itself out.
func TestVault(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	who := token(t, consul, "vault")
	free := agents.Ports(t, 2)
	vault := agents.Start(t, "127.0.0.1:"+free[0], agents.Path(t, "vault"), "server", "-log-level=warn", "-config="+agents.Write(t, "vault.hcl", fmt.Sprintf(`
disable_mlock = true
storage "raft" {
  path    = %q
  node_id = "jobs"
}
listener "tcp" {
  address     = "127.0.0.1:%[2]s"
  tls_disable = true
}
api_addr     = "http://127.0.0.1:%[2]s"
cluster_addr = "http://127.0.0.1:%[3]s"
service_registration "consul" {
  address = %[4]q
  service = "vault"
  token   = %[5]q
}`, t.TempDir(), free[0], free[1], consul.Address, who.Header.Get("X-Consul-Token"))))
	vault.Await("listening", func() error { return vault.Ask("GET", "/v1/sys/seal-status", nil, nil) })
	var made struct{ Keys []string }
	vault.Must("PUT", "/v1/sys/init", data{"secret_shares": 1, "secret_threshold": 1}, &made)
	vault.Must("PUT", "/v1/sys/unseal", data{"key": made.Keys[0]}, nil)
	active := func() (n int, err error) {
		var found []json.RawMessage
		err = consul.Ask("GET", "/v1/health/service/vault?tag=active&passing", nil, &found)
		return len(found), err
	}
	consul.Await("Vault active", func() error {
		n, err := active()
		if err == nil && n != 1 {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
	vault.Stop()
	if n, err := active(); n != 0 || err != nil {
		t.Errorf("%d are active after it was stopped (%v)", n, err)
	}
}

// TestPatroni is elected, and shows its leader to everybody.
func TestPatroni(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	agents.Patroni(t, token(t, consul, "patroni"))
	consul.Await("primary in Consul", func() error {
		var found []json.RawMessage
		err := consul.Ask("GET", "/v1/health/service/popvote-db?tag=primary&passing", nil, &found)
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("there are %d", len(found))
		}
		return err
	})
}

// TestNomadsWorkloads: what Nomad runs registers itself under its own name, and no other, and its templates read what
// the role of its job may.
func TestNomadsWorkloads(t *testing.T) {
	consul, _ := agents.GuardedConsul(t)
	nomad := agents.Nomad(t, "cloud-a", "default", token(t, consul, "nomad-agent"), agents.Vault(t))
	method, err := os.ReadFile(dir + "auth-method.nomad-workloads.json")
	if err != nil {
		t.Fatal(err)
	}
	consul.Must("PUT", "/v1/acl/auth-method", json.RawMessage(strings.Replace(string(method), "127.0.0.1:4646", nomad.Address, 1)), nil)
	bindings, err := os.ReadFile(dir + "binding-rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var rules []json.RawMessage
	if err := json.Unmarshal(bindings, &rules); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		consul.Must("PUT", "/v1/acl/binding-rule", rule, nil)
	}
	token(t, consul, "api-server")
	consul.Must("PUT", "/v1/acl/role", data{"Name": "popvote-api-server", "Policies": []data{{"Name": "popvote-api-server"}}}, nil)
	for _, service := range []string{"ballot-server", "haproxy"} {
		if err := register(consul, service); err != nil {
			t.Fatal(err)
		}
	}
	// A job of the name, and its task: who may what goes by names.
	run := func(job, task string, services ...string) {
		t.Helper()
		var blocks string
		for _, name := range services {
			blocks += fmt.Sprintf("    service {\n      name     = %q\n      provider = \"consul\"\n      port     = \"service\"\n    }\n", name)
		}
		parsed, err := agents.Parse(t, agents.Write(t, job+".nomad.hcl", fmt.Sprintf(`
variable "site" {}
job %[1]q {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = ["cloud-a"]
  group "g" {
    network {
      port "service" {}
    }
%[2]s    restart {
      attempts = 0
    }
    task "sleep" {
      driver = "raw_exec"
      config {
        command = "sleep"
        args    = ["600"]
      }
%[3]s    }
  }
}`, job, blocks, task)), filepath.Join(dir, "../vars/lab.vars.hcl"))
		if err != nil {
			t.Fatal(err)
		}
		nomad.Must("PUT", "/v1/jobs", json.RawMessage(parsed), nil)
	}
	allocation := func(job string) (id, said string) {
		var all []struct {
			ID         string
			TaskStates map[string]struct {
				Events []struct{ DisplayMessage string }
			}
			ClientDescription string
		}
		nomad.Must("GET", "/v1/job/"+job+"/allocations?namespace=popvote", nil, &all)
		for _, a := range all {
			id = a.ID
			said += a.ClientDescription + " "
			for _, task := range a.TaskStates {
				for _, e := range task.Events {
					said += e.DisplayMessage + "; "
				}
			}
		}
		return id, said
	}
	run("api-server", `
      consul {}
      template {
        data        = "{{ range service \"ballot-server|any\" }}{{ .Name }}{{ end }} {{ range service \"haproxy|any\" }}{{ .Name }}{{ end }}"
        destination = "local/found"
      }
`, "api-server")
	consul.Await("api-server in Consul", func() error {
		if got := sees(t, consul, "api-server"); len(got) == 0 {
			_, said := allocation("api-server")
			return errors.New("it isn't: " + said)
		}
		return nil
	})
	nomad.Await("its template rendered", func() error {
		id, said := allocation("api-server")
		found, err := get(nomad, "/v1/client/fs/cat/"+id+"?namespace=popvote&path=sleep/local/found")
		if err == nil && strings.TrimSpace(found) != "ballot-server" {
			err = fmt.Errorf("it has found %q: %s", found, said)
		}
		return err
	})
	// A job gets a token for its own name, whatever its services are called.
	run("stranger", "", "stranger", "ballot-server")
	consul.Await("the stranger in Consul, and no second ballot server", func() error {
		if got := sees(t, consul, "stranger"); len(got) == 0 {
			_, said := allocation("stranger")
			return errors.New("it isn't: " + said)
		}
		return nil
	})
	var tokens []struct {
		AuthMethod        string
		ServiceIdentities []struct{ ServiceName string }
	}
	consul.Must("GET", "/v1/acl/tokens", nil, &tokens)
	names := map[string]int{}
	for _, one := range tokens {
		for _, identity := range one.ServiceIdentities {
			names[identity.ServiceName]++
		}
	}
	if want := map[string]int{"api-server": 1, "stranger": 2}; !maps.Equal(names, want) {
		t.Errorf("there are tokens to be %v, not %v", names, want)
	}
}

// get is an answer that is no JSON.
func get(from *agents.Program, path string) (string, error) {
	res, err := http.Get("http://" + from.Address + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return string(text), err
}
