//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// steps is how often Vault is asked for another active server: it can't be told which.
const steps = 3

// Gather has one cloud lead everything: Consul's and Nomad's leadership goes where the database's primary
// is, and Vault's if it happens to, so that a drill takes all of it away at once.
func (c *Cluster) Gather(ctx context.Context) (netns.Cloud, error) {
	primary, err := c.Primary(ctx)
	if err != nil {
		return netns.Cloud{}, err
	}
	var to netns.Cloud
	for _, cloud := range c.Network.All() {
		if cloud.Addr == primary {
			to = cloud
		}
	}
	left := steps
	root, err := c.RootToken()
	if err != nil {
		return to, err
	}
	return to, c.await(ctx, to.Name+" leads everything", func(ctx context.Context) error {
		s := c.Status(ctx)
		switch {
		case s.Primary != to.Name:
			return fmt.Errorf("the primary is in %q", s.Primary)
		case s.Consul != to.Name:
			var servers struct {
				Servers []struct{ ID, Node string }
			}
			if err := c.ask(ctx, "GET", to.Addr, consulPort, "/v1/operator/raft/configuration", "", nil, &servers); err != nil {
				return err
			}
			for _, server := range servers.Servers {
				if server.Node == to.Name {
					err = c.ask(ctx, "POST", to.Addr, consulPort, "/v1/operator/raft/transfer-leader?id="+server.ID, "", nil, nil)
				}
			}
			return errors.Join(errors.New("consul's leadership is on its way"), err)
		case s.Nomad != to.Name:
			err := c.ask(ctx, "PUT", to.Addr, nomadPort, fmt.Sprintf("/v1/operator/raft/transfer-leadership?address=%s:4647", to.Addr), "", nil, nil)
			return errors.Join(errors.New("nomad's leadership is on its way"), err)
		case s.Vault != "" && s.Vault != to.Name && left > 0:
			left--
			for _, cloud := range c.Network.All() {
				if cloud.Name == s.Vault {
					err = c.ask(ctx, "PUT", cloud.Addr, vaultPort, "/v1/sys/step-down", root, nil, nil)
				}
			}
			return errors.Join(errors.New("another server becomes Vault's active one"), err)
		case s.Vault == "":
			return errors.New("no Vault is active")
		}
		return nil
	})
}

// Signal signals one program of a cloud alone.
func (c *Cluster) Signal(cloud netns.Cloud, program string, signal syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(c.dir(cloud), program+".pid"))
	if err != nil {
		return fmt.Errorf("couldn't find %s of %s: %w", program, cloud.Name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !cloud.Has(pid) {
		return fmt.Errorf("couldn't signal %s of %s: it doesn't run", program, cloud.Name)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("couldn't signal %s of %s: %w", program, cloud.Name, err)
	}
	return nil
}

// work is the job that stands for any: a copy in each cloud, which Nomad replaces elsewhere.
const work = "drill-work"

// PlaceWork has Nomad run the job of three copies, one in each cloud, until RemoveWork.
func (c *Cluster) PlaceWork(ctx context.Context) error {
	const second = 1_000_000_000
	job := map[string]any{"Job": map[string]any{
		"ID": work, "Name": work, "Type": "service", "Region": "popvote", "Datacenters": []string{"*"},
		"Spreads": []any{map[string]any{"Attribute": "${node.datacenter}", "Weight": 100}},
		"TaskGroups": []any{map[string]any{
			"Name": "work", "Count": len(c.Network.Clouds),
			// It is lost_after that has a copy replaced: Nomad 1.11.2 forgets replace = true where reschedule.delay
			// is more than a second, and it must be five.
			"Disconnect":       map[string]any{"LostAfter": 15 * second, "Replace": true, "Reconcile": "longest_running"},
			"ReschedulePolicy": map[string]any{"Unlimited": true, "Delay": 5 * second, "DelayFunction": "constant"},
			"Tasks": []any{map[string]any{
				"Name": "work", "Driver": "raw_exec",
				"Config":    map[string]any{"command": "/usr/bin/sleep", "args": []string{"infinity"}},
				"Resources": map[string]any{"CPU": 20, "MemoryMB": 16},
			}},
		}},
	}}
	if err := c.ask(ctx, "PUT", c.Network.Cloud(0).Addr, nomadPort, "/v1/jobs", "", job, nil); err != nil {
		return err
	}
	return c.await(ctx, "Nomad: a copy of the drill's job in each cloud", func(ctx context.Context) error {
		if n := len(c.Work(ctx)); n < len(c.Network.Clouds) {
			return fmt.Errorf("it runs in %d clouds", n)
		}
		return nil
	})
}

// RemoveWork takes the job away again.
func (c *Cluster) RemoveWork(ctx context.Context) error {
	return c.ask(ctx, "DELETE", c.Network.Cloud(0).Addr, nomadPort, "/v1/job/"+work+"?purge=true", "", nil, nil)
}

// Work counts the copies of the job that run, by cloud, as Nomad knows; those on nodes that it has lost
// are not among them.
func (c *Cluster) Work(ctx context.Context) map[string]int {
	most := map[string]int{}
	for _, cloud := range c.Network.All() {
		var allocations []struct{ NodeName, ClientStatus, DesiredStatus string }
		if c.ask(ctx, "GET", cloud.Addr, nomadPort, "/v1/job/"+work+"/allocations", "", nil, &allocations) != nil {
			continue
		}
		run := map[string]int{}
		for _, a := range allocations {
			if a.ClientStatus == "running" && a.DesiredStatus == "run" {
				run[a.NodeName]++
			}
		}
		return run
	}
	return most
}
