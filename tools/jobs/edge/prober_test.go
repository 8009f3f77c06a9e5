package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// givePrograms builds those of ours that run here, and says where the edge's authority is.
func (e *edge) givePrograms() (ca string) {
	e.Helper()
	e.programs = e.TempDir()
	for _, name := range []string{"popvote", "sms-gateway"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(e.programs, name), ".")
		build.Dir, build.Env = "../../../apps/"+name, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			e.Fatalf("couldn't build %s: %v\n%s", name, err, out)
		}
	}
	ca = filepath.Join(e.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, e.chain, 0o600); err != nil {
		e.Fatal(err)
	}
	return ca
}

// prober: Nomad runs it as its job says. It learns from Consul where HAProxy is, comes through to a server behind it,
// and says that what it finds there is no page, which is true of our servers.
func prober(t *testing.T, e *edge) {
	e.run("prober")
	defer e.nomad.For(t).Must("DELETE", "/v1/job/prober?namespace=popvote&no_shutdown_delay=true&purge=true", nil, nil)
	e.nomad.For(t).Await("a voter at the edge", func() error {
		var found []struct {
			Service struct {
				Address string
				Port    int
				Meta    map[string]string
			}
		}
		if err := e.consul.Ask("GET", "/v1/health/service/prober?passing", nil, &found); err != nil {
			return err
		}
		if len(found) != 1 || found[0].Service.Meta["cloud"] != "cloud-a" {
			return fmt.Errorf("in Consul there is %+v: %q", found, e.said("prober"))
		}
		response, err := http.Get(fmt.Sprintf("http://%s:%d/metrics", found[0].Service.Address, found[0].Service.Port))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		lines := strings.Split(string(content), "\n")
		for _, line := range []string{
			`popvote_prober_edges 1`,
			`popvote_prober_step_duration_seconds_count{edge="cloud-a/jobs",step="connect"} 1`,
			`popvote_prober_failures_total{code="answer",edge="cloud-a/jobs",step="page"} 1`,
		} {
			if !slices.Contains(lines, line) {
				return errors.New("its metrics have no " + line)
			}
		}
		return nil
	})
}
