package smoke

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// One agent that is server and client plans a job and runs it to its end, by both drivers.
func TestNomad(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("Nomad's clients need root: namespaces, cgroups, mounts")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	free := ports(t, 3)
	data := t.TempDir()
	t.Cleanup(func() { unmount(t, data) })
	if there := groups(t); len(there) == 0 {
		t.Cleanup(func() { remove(t, groups(t)) })
	}
	config := write(t, "nomad.hcl", fmt.Sprintf(`
name                 = "smoke"
datacenter           = "cloud1"
data_dir             = %q
bind_addr            = "127.0.0.1"
disable_update_check = true
log_level            = "warn"
ports {
  http = %s
  rpc  = %s
  serf = %s
}
# Nomad doesn't take to being on loopback only, unless told so.
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  network_interface = "lo"
  # A static program needs nothing around it; by default, all of /usr comes along.
  chroot_env {
    %q = "/self"
  }
  options {
    # They would wait for a metadata service that no loopback has.
    "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
consul {
  auto_advertise   = false
  client_auto_join = false
  server_auto_join = false
}
`, data, free[0], free[1], free[2], self))
	nomad := start(t, "127.0.0.1:"+free[0], "nomad", "agent", "-config="+config)
	nomad.leader()
	nomad.await("client ready", func() error {
		var nodes []struct {
			Status  string
			Drivers map[string]struct {
				Healthy           bool
				HealthDescription string
			}
		}
		if err := nomad.ask("GET", "/v1/nodes", nil, &nodes); err != nil {
			return err
		}
		if len(nodes) != 1 || nodes[0].Status != "ready" || !nodes[0].Drivers["raw_exec"].Healthy || !nodes[0].Drivers["exec"].Healthy {
			return fmt.Errorf("the nodes are %+v", nodes)
		}
		return nil
	})

	for driver, program := range map[string]string{"raw_exec": self, "exec": "/self"} {
		var job map[string]any
		nomad.must("POST", "/v1/jobs/parse", map[string]any{"JobHCL": fmt.Sprintf(`
job %[1]q {
  datacenters = ["cloud1"]
  type        = "batch"
  group "once" {
    reschedule {
      attempts  = 0
      unlimited = false
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "say" {
      driver = %[1]q
      config {
        command = %[2]q
        args    = ["-test.list=TestNomad"]
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}`, driver, program)}, &job)
		var plan struct {
			Diff           struct{ Type string }
			FailedTGAllocs map[string]any
		}
		nomad.must("PUT", "/v1/job/"+driver+"/plan", map[string]any{"Job": job, "Diff": true}, &plan)
		if plan.Diff.Type != "Added" || len(plan.FailedTGAllocs) > 0 {
			t.Fatalf("%s is planned as %+v", driver, plan)
		}
		nomad.must("PUT", "/v1/jobs", map[string]any{"Job": job}, nil)
		nomad.await(driver+" complete", func() error {
			var allocations []struct{ ID, ClientStatus string }
			if err := nomad.ask("GET", "/v1/job/"+driver+"/allocations", nil, &allocations); err != nil {
				return err
			}
			if len(allocations) != 1 || allocations[0].ClientStatus != "complete" {
				return fmt.Errorf("the allocations are %+v", allocations)
			}
			return nil
		})
	}
}

// unmount takes away what Nomad mounts for tasks, which a killed agent leaves behind.
func unmount(t *testing.T, below string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if where := strings.Fields(line)[1]; strings.HasPrefix(where, below) {
			if err := syscall.Unmount(where, syscall.MNT_DETACH); err != nil {
				t.Errorf("couldn't unmount %s: %v", where, err)
			}
		}
	}
}

// groups returns the control groups that Nomad makes for itself, the innermost first. It doesn't
// remove them when it goes, and calls them the same whatever cgroup_parent says.
func groups(t *testing.T) (all []string) {
	for _, pattern := range []string{"nomad.slice/*.slice", "nomad.slice", "*/nomad/share", "*/nomad/reserve", "*/nomad"} {
		some, err := filepath.Glob("/sys/fs/cgroup/" + pattern)
		if err != nil {
			t.Error(err)
		}
		all = append(all, some...)
	}
	return all
}

// remove removes directories; a control group that somebody is in stays.
func remove(t *testing.T, directories []string) {
	for _, directory := range directories {
		if err := os.Remove(directory); err != nil {
			t.Error(err)
		}
	}
}
