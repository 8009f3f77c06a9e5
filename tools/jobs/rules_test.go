// Package jobs holds the job files to their rules, parsed by the real Nomad with every file of variables.
package jobs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/tools/jobs/agents"
)

// maxKill is max_kill_timeout of our Nomad clients: what a job asks for beyond it, it doesn't get.
var maxKill = func() time.Duration {
	config, err := os.ReadFile("../../packer/files/nomad.d/client.hcl")
	if err != nil {
		panic(err)
	}
	found := regexp.MustCompile(`(?m)^  max_kill_timeout = "(.*)"$`).FindSubmatch(config)
	if found == nil {
		panic("the image's client.hcl has no max_kill_timeout: 30 s are the default, and too few")
	}
	limit, err := time.ParseDuration(string(found[1]))
	if err != nil {
		panic(err)
	}
	return limit
}()

// mayReadDatabase are the only jobs that get near the database's passwords.
var mayReadDatabase = []string{"ballot-server", "migrate"}

// hooks is the one service that is not named as its job: where SMS providers call.
const hooks = "sms-gateway-hooks"

// oneInEach are the jobs of which every cloud has one of its own, and no other.
var oneInEach = []string{"prober", "redis"}

// job is what the rules look at of what Nomad parsed.
type job struct {
	ID, Type, Region, Namespace, NodePool string
	Datacenters                           []string
	Multiregion                           any
	Constraints                           []constraint
	Spreads                               []struct {
		Attribute    string
		SpreadTarget []struct {
			Value   string
			Percent int
		}
	}
	Update     *update
	TaskGroups []group

	source string // the file's text
	site   site
}

type constraint struct{ LTarget, RTarget, Operand string }

type update struct {
	Canary      *int
	AutoPromote *bool
}

type group struct {
	Name        string
	Count       *int
	Constraints []constraint
	Disconnect  *struct {
		Replace   *bool
		LostAfter time.Duration
	}
	Update        *update
	ShutdownDelay time.Duration
	Services      []struct {
		Name, Provider, PortLabel string
		CanaryTags                []string
		Meta                      map[string]string
		Checks                    []struct {
			Path         string
			CheckRestart any
		}
	}
	Tasks []task
}

type task struct {
	Name, Driver string
	Env          map[string]string
	KillTimeout  time.Duration
	Vault        *struct{ Role, ChangeMode string }
	Consul       any
	Identity     *struct {
		ChangeMode string
		Env, File  bool
	}
	Identities []struct{ Name, ChangeMode string }
	Templates  []struct{ EmbeddedTmpl, DestPath, Perms, ChangeMode string }
}

// site is what the rules need to know of a file of variables.
type site struct {
	datacenters []string
	driver      string
	providers   bool // of SMS, which call us
}

// rules are what platform and design ask of every job; each returns what is wrong.
var rules = []struct {
	name  string
	check func(j job) []string
}{
	{"named in one place", func(j job) (wrong []string) {
		for what, is := range map[string][2]string{
			"region": {j.Region, "popvote"}, "namespace": {j.Namespace, "popvote"},
		} {
			if is[0] != is[1] {
				wrong = append(wrong, fmt.Sprintf("its %s is %q", what, is[0]))
			}
		}
		return wrong
	}},
	{"runs in the site's clouds", func(j job) (wrong []string) {
		if !slices.Equal(j.Datacenters, j.site.datacenters) {
			wrong = append(wrong, fmt.Sprintf("it runs in %q, and the site is %q", j.Datacenters, j.site.datacenters))
		}
		return wrong
	}},
	{"in a node pool that the site names", func(j job) (wrong []string) {
		if j.NodePool == "" || j.NodePool == "all" {
			wrong = append(wrong, fmt.Sprintf("its pool is %q", j.NodePool))
		}
		return wrong
	}},
	{"no multiregion, which is not in the community edition", func(j job) (wrong []string) {
		if j.Multiregion != nil {
			wrong = append(wrong, "it has multiregion")
		}
		return wrong
	}},
	{"spread over every cloud", spread},
	{"fits without one cloud", fits},
	{"one in each cloud", func(j job) (wrong []string) {
		for _, g := range services(j) {
			if slices.Contains(oneInEach, j.ID) && (*g.Count != len(j.site.datacenters) || mostInACloud(j, g) != 1 || g.Disconnect == nil || *g.Disconnect.Replace) {
				wrong = append(wrong, fmt.Sprintf("%d of %s, at most %d in a cloud", *g.Count, g.Name, mostInACloud(j, g)))
			}
		}
		return wrong
	}},
	{"a prober knows what a voter knows", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			if j.ID == "prober" && (t.Vault != nil || len(t.Identities) > 0 || t.Identity != nil && (t.Identity.Env || t.Identity.File) || strings.Contains(j.source, "secret \"")) {
				wrong = append(wrong, t.Name+" gets something of Vault or a token of Nomad's")
			}
		}
		return wrong
	}},
	{"no two on one machine", func(j job) (wrong []string) {
		for _, g := range services(j) {
			if j.site.driver == "exec" && *g.Count > 1 && !slices.ContainsFunc(append(j.Constraints, g.Constraints...), func(c constraint) bool {
				return c.Operand == "distinct_hosts" && c.RTarget == "true" || c.Operand == "distinct_property" && c.RTarget == "1"
			}) {
				wrong = append(wrong, g.Name+" has no distinct_hosts")
			}
		}
		return wrong
	}},
	{"disconnect", func(j job) (wrong []string) {
		for _, g := range j.TaskGroups {
			if g.Disconnect == nil {
				wrong = append(wrong, g.Name+" doesn't say what happens when its machine can't be reached")
			}
		}
		return wrong
	}},
	{"lost work is replaced in time", func(j job) (wrong []string) {
		for _, g := range services(j) {
			if d := g.Disconnect; d != nil && d.Replace != nil && *d.Replace && d.LostAfter > 30*time.Second {
				wrong = append(wrong, fmt.Sprintf("%s is replaced after %s, and Nomad takes a minute to see that a cloud is gone", g.Name, d.LostAfter))
			}
		}
		return wrong
	}},
	{"nothing that Nomad ignores in silence", func(j job) (wrong []string) {
		for _, old := range []string{"max_client_disconnect", "stop_after_client_disconnect"} {
			if strings.Contains(j.source, old) {
				wrong = append(wrong, "it has "+old)
			}
		}
		return wrong
	}},
	{"a new token restarts nothing", noop},
	{"roles are the job's own", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			if t.Vault != nil && t.Vault.Role != j.ID {
				wrong = append(wrong, fmt.Sprintf("%s takes the role %q", t.Name, t.Vault.Role))
			}
		}
		return wrong
	}},
	{"only the ballot server and its migration read database credentials", func(j job) (wrong []string) {
		if strings.Contains(j.source, "database/") && !slices.Contains(mayReadDatabase, j.ID) {
			wrong = append(wrong, "it names a path of Vault's database engine")
		}
		return wrong
	}},
	{"stops within what clients allow", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			if t.KillTimeout <= 0 || t.KillTimeout > maxKill {
				wrong = append(wrong, fmt.Sprintf("%s has a kill_timeout of %s; clients allow %s, and take 5s if there is none", t.Name, t.KillTimeout, maxKill))
			}
		}
		return wrong
	}},
	{"people promote", func(j job) (wrong []string) {
		updates := []*update{j.Update}
		for _, g := range j.TaskGroups {
			updates = append(updates, g.Update)
		}
		for _, u := range updates {
			if u != nil && u.AutoPromote != nil && *u.AutoPromote {
				wrong = append(wrong, "it promotes itself")
			}
		}
		if j.Type == "service" && (j.Update == nil || j.Update.AutoPromote == nil) {
			wrong = append(wrong, "it doesn't say who promotes")
		}
		return wrong
	}},
	{"a canary gets no voters", func(j job) (wrong []string) {
		for _, g := range j.TaskGroups {
			for _, s := range g.Services {
				if j.Update != nil && j.Update.Canary != nil && *j.Update.Canary > 0 && !slices.Equal(s.CanaryTags, []string{"canary"}) {
					wrong = append(wrong, s.Name+" is not tagged as one")
				}
			}
		}
		return wrong
	}},
	{"leaves Consul before it stops", func(j job) (wrong []string) {
		for _, g := range j.TaskGroups {
			if len(g.Services) > 0 && g.ShutdownDelay < 2*time.Second {
				wrong = append(wrong, g.Name+" has no shutdown_delay")
			}
		}
		return wrong
	}},
	{"services say their cloud, in Consul", func(j job) (wrong []string) {
		for _, g := range j.TaskGroups {
			for _, s := range g.Services {
				if s.Provider != "consul" || s.Meta["cloud"] != "${node.datacenter}" || s.Name != j.ID && s.Name != hooks {
					wrong = append(wrong, fmt.Sprintf("%s is at %s with %v", s.Name, s.Provider, s.Meta))
				}
			}
		}
		return wrong
	}},
	{"providers' calls come to the port for them", func(j job) (wrong []string) {
		var ports []string
		for _, g := range j.TaskGroups {
			for _, s := range g.Services {
				if s.Name == hooks {
					ports = append(ports, s.PortLabel)
				}
			}
		}
		for _, t := range tasks(j) {
			listens, leads := t.Env["SMS_GATEWAY_HOOKS_LISTEN"], t.Env["EDGE_HOOKS"]
			switch {
			case j.ID == "sms-gateway" && (listens == "${NOMAD_ADDR_hooks}") != j.site.providers,
				j.ID == "sms-gateway" && j.site.providers != slices.Equal(ports, []string{"hooks"}),
				j.ID == "haproxy" && (leads != "") != j.site.providers:
				wrong = append(wrong, fmt.Sprintf("with providers: %t, it listens at %q, is found at %q, and the edge takes %q calls", j.site.providers, listens, ports, leads))
			}
		}
		return wrong
	}},
	{"not being ready restarts nothing", func(j job) (wrong []string) {
		for _, g := range j.TaskGroups {
			for _, s := range g.Services {
				for _, c := range s.Checks {
					if c.CheckRestart != nil && c.Path != "/livez" {
						wrong = append(wrong, fmt.Sprintf("%s restarts by %q: Vault, Redis or a database that is away would restart the fleet", s.Name, c.Path))
					}
				}
			}
		}
		return wrong
	}},
	{"the site's driver", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			if t.Driver != j.site.driver {
				wrong = append(wrong, fmt.Sprintf("%s has %s", t.Name, t.Driver))
			}
		}
		return wrong
	}},
	{"templates have who they ask", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			for _, tpl := range t.Templates {
				asksVault := strings.Contains(tpl.EmbeddedTmpl, "secret \"") || strings.Contains(tpl.EmbeddedTmpl, "pkiCert ")
				if asksVault && t.Vault == nil {
					wrong = append(wrong, tpl.DestPath+" asks Vault, and the task has no vault block")
				}
				if regexp.MustCompile(`\bservices? ["$.]`).MatchString(tpl.EmbeddedTmpl) && t.Consul == nil {
					wrong = append(wrong, tpl.DestPath+" asks Consul, and the task has no consul block: Nomad gives it no token")
				}
			}
		}
		return wrong
	}},
	{"who asks Consul has a token", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			for name := range t.Env {
				if strings.HasSuffix(name, "_CONSUL_ADDRESS") && t.Consul == nil {
					wrong = append(wrong, t.Name+" asks Consul, and has no consul block: Nomad gives it no token")
				}
			}
		}
		return wrong
	}},
	{"secrets are for their owner", func(j job) (wrong []string) {
		for _, t := range tasks(j) {
			for _, tpl := range t.Templates {
				holds := strings.Contains(tpl.EmbeddedTmpl, ".Key") || strings.Contains(tpl.EmbeddedTmpl, ".key") || strings.Contains(tpl.EmbeddedTmpl, ".password") || strings.Contains(tpl.EmbeddedTmpl, `secret "secret/`)
				if holds && (tpl.Perms != "0600" || !strings.HasPrefix(tpl.DestPath, "${NOMAD_SECRETS_DIR}/")) {
					wrong = append(wrong, fmt.Sprintf("%s is a secret with mode %s", tpl.DestPath, tpl.Perms))
				}
			}
		}
		return wrong
	}},
}

// spread: the scheduler scores a cloud without a target as if it were to have nothing.
func spread(j job) (wrong []string) {
	if j.Type != "service" {
		return nil
	}
	for _, s := range j.Spreads {
		if s.Attribute != "${node.datacenter}" {
			continue
		}
		sum, targets := 0, []string{}
		for _, t := range s.SpreadTarget {
			sum += t.Percent
			targets = append(targets, t.Value)
		}
		if sum != 100 || !slices.Equal(slices.Sorted(slices.Values(targets)), slices.Sorted(slices.Values(j.site.datacenters))) {
			wrong = append(wrong, fmt.Sprintf("its targets %q make %d %%", targets, sum))
		}
		return wrong
	}
	return []string{"it has no spread over clouds"}
}

// fits: when a cloud goes, everything that is replaced has room in the others, and no cloud had it all.
func fits(j job) (wrong []string) {
	for _, g := range services(j) {
		clouds := len(j.site.datacenters)
		if g.Disconnect != nil && g.Disconnect.Replace != nil && *g.Disconnect.Replace {
			clouds = max(1, clouds-1)
		}
		most := mostInACloud(j, g)
		if most == 0 || most*clouds < *g.Count || most*clouds >= *g.Count+clouds {
			wrong = append(wrong, fmt.Sprintf("%d of %s, at most %d in a cloud, with %d clouds left", *g.Count, g.Name, most, clouds))
		}
	}
	return wrong
}

// mostInACloud is how many copies a cloud takes at most; 0 if that isn't said.
func mostInACloud(j job, g group) (most int) {
	for _, c := range append(j.Constraints, g.Constraints...) {
		if c.Operand == "distinct_property" && c.LTarget == "${node.datacenter}" {
			most, _ = strconv.Atoi(c.RTarget)
		}
	}
	return most
}

func noop(j job) (wrong []string) {
	for _, t := range tasks(j) {
		if t.Vault != nil && t.Vault.ChangeMode != "noop" {
			wrong = append(wrong, fmt.Sprintf("%s: a new Vault token means %q", t.Name, t.Vault.ChangeMode))
		}
		if t.Identity != nil && t.Identity.ChangeMode != "noop" {
			wrong = append(wrong, fmt.Sprintf("%s: a new Nomad token means %q", t.Name, t.Identity.ChangeMode))
		}
		for _, i := range t.Identities {
			if i.ChangeMode != "noop" {
				wrong = append(wrong, fmt.Sprintf("%s: a new %s means %q", t.Name, i.Name, i.ChangeMode))
			}
		}
		for _, tpl := range t.Templates {
			if tpl.ChangeMode == "" || tpl.ChangeMode == "restart" {
				wrong = append(wrong, fmt.Sprintf("%s: a new %s restarts it", t.Name, tpl.DestPath))
			}
		}
	}
	return wrong
}

func tasks(j job) (all []task) {
	for _, g := range j.TaskGroups {
		all = append(all, g.Tasks...)
	}
	return all
}

// services are the groups that run for good, so many of them.
func services(j job) (all []group) {
	if j.Type == "service" {
		all = j.TaskGroups
	}
	return all
}

const root = "../../jobs"

// parse has Nomad parse a job file of a directory with the variables of another, as `nomad job run` does.
func parse(t *testing.T, dir, name, vars string) (job, error) {
	t.Helper()
	path := filepath.Join(dir, name+".nomad.hcl")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := agents.Parse(t, path, vars)
	if err != nil {
		return job{}, err
	}
	var answer struct{ Job job }
	if err := json.Unmarshal(parsed, &answer); err != nil {
		t.Fatal(err)
	}
	answer.Job.source, answer.Job.site = string(source), readSite(t, vars)
	return answer.Job, nil
}

func readSite(t *testing.T, vars string) site {
	t.Helper()
	content, err := os.ReadFile(vars)
	if err != nil {
		t.Fatal(err)
	}
	clouds := regexp.MustCompile(`(?m)^  datacenters *= *(\[.*\])$`).FindSubmatch(content)
	driver := regexp.MustCompile(`(?m)^  driver *= *"(.*)"$`).FindSubmatch(content)
	files := regexp.MustCompile(`(?m)^  sms_files *= *\[(.*)\]$`).FindSubmatch(content)
	if clouds == nil || driver == nil || files == nil {
		t.Fatalf("%s names no datacenters, no driver or no sms_files", vars)
	}
	s := site{driver: string(driver[1]), providers: len(files[1]) > 0}
	if err := json.Unmarshal(clouds[1], &s.datacenters); err != nil {
		t.Fatal(err)
	}
	return s
}

func broken(j job) map[string][]string {
	all := map[string][]string{}
	for _, rule := range rules {
		if wrong := rule.check(j); len(wrong) > 0 {
			all[rule.name] = wrong
		}
	}
	return all
}

// TestRules: every job keeps every rule with every file of variables.
func TestRules(t *testing.T) {
	for _, vars := range agents.Glob(t, root+"/vars/*.vars.hcl", 5) {
		for _, path := range agents.Glob(t, root+"/*.nomad.hcl", 9) {
			name := strings.TrimSuffix(filepath.Base(path), ".nomad.hcl")
			t.Run(name+" with "+strings.TrimSuffix(filepath.Base(vars), ".vars.hcl"), func(t *testing.T) {
				t.Parallel()
				j, err := parse(t, root, name, vars)
				if err != nil {
					t.Fatal(err)
				}
				for rule, wrong := range broken(j) {
					t.Errorf("%s: %s", rule, strings.Join(wrong, "; "))
				}
			})
		}
	}
}

// TestEachRuleCanFail: a job that is doctored breaks the rule that it was doctored against, and no other.
func TestEachRuleCanFail(t *testing.T) {
	doctored := map[string]struct{ job, old, new string }{
		"named in one place":                                    {"redis", `"popvote"`, `"default"`},
		"runs in the site's clouds":                             {"haproxy", `var.site.datacenters`, `["*"]`},
		"in a node pool that the site names":                    {"haproxy", `var.site.node_pools["edge"]`, `"all"`},
		"no multiregion, which is not in the community edition": {"redis", `meta {`, "multiregion {\n region \"aws\" {}\n}\nmeta {"},
		"spread over every cloud":                               {"api-server", `for_each = var.site.datacenters`, `for_each = slice(var.site.datacenters, 0, local.clouds - 1)`},
		"fits without one cloud":                                {"api-server", `ceil(local.count / max(1, local.clouds - 1))`, `ceil(local.count / local.clouds)`},
		"one in each cloud":                                     {"prober", `count = local.clouds`, `count = 1`},
		"a prober knows what a voter knows":                     {"prober", "      consul {}\n", "consul {}\nvault {\n role = \"prober\"\n change_mode = \"noop\"\n}\n"},
		"no two on one machine":                                 {"api-server", `var.site.distinct_hosts`, `false`},
		"disconnect":                                            {"haproxy", "    disconnect {\n      lost_after = \"24h\"\n      replace    = false\n    }\n", ""},
		"lost work is replaced in time":                         {"sms-gateway", `lost_after = "15s"`, `lost_after = "10m"`},
		"nothing that Nomad ignores in silence":                 {"redis", "shutdown_delay = \"2s\"", "shutdown_delay = \"2s\"\nmax_client_disconnect = \"1h\""},
		"a new token restarts nothing": {"ballot-server", `role         = local.name
        change_mode  = "noop"`, `role = local.name`},
		"roles are the job's own": {"sms-gateway", `role         = local.name`, `role = "ballot-server"`},
		"only the ballot server and its migration read database credentials": {"redis", `secret \"pki_int/cert/ca_chain\"`, `secret \"database/creds/ballot-server\"`},
		"stops within what clients allow":                                    {"haproxy", `kill_timeout = "90s"`, `kill_timeout = "5m"`},
		"people promote":                                                     {"control-panel", `auto_promote      = false`, `auto_promote = true`},
		"a canary gets no voters":                                            {"api-server", `canary_tags = ["canary"]`, ``},
		"leaves Consul before it stops":                                      {"api-server", `shutdown_delay = "10s"`, ``},
		"services say their cloud, in Consul":                                {"redis", `cloud = "${node.datacenter}"`, ``},
		"providers' calls come to the port for them":                         {"sms-gateway", `port        = service.value`, `port = "service"`},
		"not being ready restarts nothing":                                   {"api-server", `path     = "/livez"`, `path = "/readyz"`},
		"the site's driver":                                                  {"verify", `var.site.driver`, `"docker"`},
		"templates have who they ask":                                        {"haproxy", "      consul {}\n", ""},
		"who asks Consul has a token":                                        {"control-panel", "      consul {}\n", ""},
		"secrets are for their owner":                                        {"redis", `perms       = "0600"`, `perms = "0644"`},
	}
	for _, rule := range rules {
		d, there := doctored[rule.name]
		if !there {
			t.Errorf("%s: nothing shows that it can fail", rule.name)
			continue
		}
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, d.job+".nomad.hcl")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(content), d.old, d.new, 1)
			if changed == string(content) {
				t.Fatalf("%s has nothing like %s", path, d.old)
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := parse(t, dir, d.job, filepath.Join(root, "vars/production.vars.hcl"))
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Collect(maps.Keys(broken(j))); !slices.Equal(got, []string{rule.name}) {
				t.Errorf("these rules say something: %q: %v", got, broken(j))
			}
		})
	}
	if len(doctored) != len(rules) {
		t.Errorf("%d doctored jobs for %d rules", len(doctored), len(rules))
	}
}

// TestDatabasePolicies: what Vault would let a job read is the other half of the rule.
func TestDatabasePolicies(t *testing.T) {
	for _, path := range agents.Glob(t, "../../vault-policies/*.hcl", 4) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".hcl")
		if strings.Contains(string(content), `path "database/`) && !slices.Contains(mayReadDatabase, name) {
			t.Errorf("%s may read database credentials", name)
		}
	}
}

// TestTokensOfConsulDontExpire: Nomad gets one for an allocation when it starts, and never another.
func TestTokensOfConsulDontExpire(t *testing.T) {
	content, err := os.ReadFile(root + "/consul/auth-method.nomad-workloads.json")
	if err != nil {
		t.Fatal(err)
	}
	var method struct {
		Name        string
		MaxTokenTTL string
	}
	if err := json.Unmarshal(content, &method); err != nil {
		t.Fatal(err)
	}
	if method.Name != "nomad-workloads" || method.MaxTokenTTL != "" {
		t.Errorf("tokens of %q end after %s", method.Name, method.MaxTokenTTL)
	}
}

// TestWithoutACloud: the files for a lost cloud are the production's in everything but the clouds.
func TestWithoutACloud(t *testing.T) {
	strip := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(content), "\n")
		return regexp.MustCompile(`(?m)^  datacenters .*$`).ReplaceAllString(body, "")
	}
	production := readSite(t, root+"/vars/production.vars.hcl").datacenters
	for _, gone := range production {
		path := root + "/vars/without-" + gone + ".vars.hcl"
		if strip(path) != strip(root+"/vars/production.vars.hcl") {
			t.Errorf("%s differs from production.vars.hcl in more than its clouds", path)
		}
		if left := readSite(t, path).datacenters; len(left) != len(production)-1 || slices.Contains(left, gone) {
			t.Errorf("%s has %q", path, left)
		}
	}
}

// TestMistakesInVariablesAreErrors: a job refuses a site that lacks what it needs, and a variable nobody declared.
func TestMistakesInVariablesAreErrors(t *testing.T) {
	production, err := os.ReadFile(root + "/vars/production.vars.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string]string{
		"a name misspelt": strings.Replace(string(production), "public_origin", "public_orign", 1),
		"one too many":    string(production) + "\nrelaese = {}\n",
	} {
		vars := filepath.Join(t.TempDir(), "site.vars.hcl")
		if err := os.WriteFile(vars, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t, root, "api-server", vars); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

// TestFormatted: nomad fmt has nothing to say.
func TestFormatted(t *testing.T) {
	if out, err := exec.Command(agents.Path(t, "nomad"), "fmt", "-check", "-recursive", root).CombinedOutput(); err != nil {
		t.Errorf("run: bin/tools/nomad fmt -recursive jobs\n%s", out)
	}
}
