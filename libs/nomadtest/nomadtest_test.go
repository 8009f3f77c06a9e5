package nomadtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestClientsRunTasksAndAreKilled(t *testing.T) {
	n := Start(t, Config{Datacenters: []string{"cloud-a", "cloud-b"}, ACL: true})
	n.Must("PUT", "/v1/jobs", json.RawMessage(`{"Job": {
		"ID": "sleep", "Namespace": "popvote", "Datacenters": ["cloud-b"], "TaskGroups": [{"Name": "sleep", "Tasks": [{
			"Name": "sleep", "Driver": "raw_exec", "Config": {"command": "sleep", "args": ["infinity"]},
			"Identity": {"File": true}, "Resources": {"CPU": 20, "MemoryMB": 16}
		}]}]
	}}`), nil)
	var running []struct{ ID, ClientStatus string }
	n.Await("the task running", func() error {
		err := n.Ask("GET", "/v1/allocations?namespace=popvote", nil, &running)
		if err == nil && (len(running) != 1 || running[0].ClientStatus != "running") {
			err = fmt.Errorf("there are %v", running)
		}
		return err
	})
	if token, err := os.ReadFile(filepath.Join(n.Secrets("cloud-b", running[0].ID, "sleep"), "nomad_token")); err != nil || len(token) == 0 {
		t.Errorf("the task's token: %d bytes, %v", len(token), err)
	}
	all := n.Token
	n.Token = ""
	if n.Ask("GET", "/v1/nodes", nil, nil) == nil {
		t.Error("without a token, the nodes are listed")
	}
	n.Token = all
	n.Kill("cloud-b")
	n.Await("the client down", func() error {
		var nodes []struct{ Name, Status string }
		err := n.Ask("GET", "/v1/nodes", nil, &nodes)
		for _, node := range nodes {
			if node.Name == "cloud-b" && node.Status == "down" {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("they are %v", nodes))
	})
}
