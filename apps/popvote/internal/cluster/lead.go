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
