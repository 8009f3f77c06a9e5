package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
)

// edgeTemplate is HAProxy's, and the environment of its job with a real certificate.
func edgeTemplate(t *testing.T) (text string, env map[string]string) {
	t.Helper()
	template, err := os.ReadFile("../../../../jobs/templates/haproxy.cfg.tpl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: []string{haproxy}, Hosts: []string{"127.0.0.1"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	certificate, certErr := os.ReadFile(filepath.Join(dir, haproxy, mtls.CertFile))
	key, keyErr := os.ReadFile(filepath.Join(dir, haproxy, mtls.KeyFile))
	pem := filepath.Join(dir, "edge.pem")
	if err := errors.Join(certErr, keyErr, os.WriteFile(pem, slices.Concat(certificate, key), 0o600)); err != nil {
		t.Fatal(err)
	}
	return string(template), map[string]string{
		"EDGE_USER": "", "EDGE_ADDRESS": "127.0.0.1", "EDGE_HTTPS": "18443", "EDGE_HTTP": "18080", "EDGE_CERTIFICATE": pem,
		"EDGE_BALANCERS": "", "EDGE_REQUESTS": unlimited, "EDGE_CONNECTIONS": unlimited, "EDGE_HOOKS": "", "NOMAD_DC": cloud, "NOMAD_ADDR_admin": "127.0.0.1:18081",
	}
}

// catalogue has these API servers, and one that fails its checks.
func catalogue(passing ...catalogued) func(string) ([]catalogued, error) {
	return func(service string) ([]catalogued, error) {
		switch service {
		case "api-server":
			return passing, nil
		case "api-server|any":
			return append(slices.Clone(passing), catalogued{"failing", "10.0.0.9", 9, nil, map[string]string{"cloud": cloud, "admin": "19"}}), nil
		}
		return nil, fmt.Errorf("it asks for %s", service)
	}
}

var serverLine = regexp.MustCompile(`(?m)^  server (.*)$`)

// TestRenderTheEdge: HAProxy takes what comes of the real template, and in it is every API server that Consul
// would have voters sent to, its own cloud's first.
func TestRenderTheEdge(t *testing.T) {
	text, env := edgeTemplate(t)
	near := catalogued{"near", "10.0.0.1", 1, nil, map[string]string{"cloud": cloud, "admin": "11"}}
	far := catalogued{"far", "10.0.0.2", 2, []string{"v2"}, map[string]string{"cloud": "other", "admin": "12"}}
	canary := catalogued{"new", "10.0.0.3", 3, []string{"v3", "canary"}, map[string]string{"cloud": cloud, "admin": "13"}}
	for name, c := range map[string]struct {
		passing []catalogued
		want    []string
	}{
		"two clouds":    {[]catalogued{near, far, canary}, []string{"near 10.0.0.1:1 port 11 weight 100", "far 10.0.0.2:2 port 12 weight 20"}},
		"only a canary": {[]catalogued{canary}, []string{"failing 10.0.0.9:9 port 19 weight 100"}},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := render(text, env, catalogue(c.passing...))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, found := range serverLine.FindAllSubmatch(config, -1) {
				lines = append(lines, string(found[1]))
			}
			if !slices.Equal(lines, c.want) {
				t.Errorf("its servers are %q, want %q", lines, c.want)
			}
			for _, status := range []string{"500", "502", "503", "504"} {
				if !strings.Contains(string(config), "http-error status "+status+" ") {
					t.Errorf("it has no answer for %s", status)
				}
			}
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			if err := os.WriteFile(file, config, 0o600); err != nil {
				t.Fatal(err)
			}
			if said, err := exec.Command(haproxyProgram, "-c", "-f", file).CombinedOutput(); err != nil { //nolint:gosec // Debian's
				t.Errorf("HAProxy doesn't take it: %v\n%s", err, said)
			}
		})
	}
}

func TestRenderWhatIsNotThere(t *testing.T) {
	for _, text := range []string{`{{ secret "a" }}`, `{{ env "EDGE_NEW" }}`, `{{ range service "redis" }}{{ end }}`, `{{ parseJSON "[" }}`} {
		if out, err := render(text, nil, catalogue()); err == nil {
			t.Errorf("%s became %q", text, out)
		}
	}
}
