//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

func (c *Cluster) vaultReady(ctx context.Context) error {
	active := 0
	for _, cloud := range c.Network.All() {
		if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/health?standbyok=true", "", nil, nil); err != nil {
			return err
		}
		if c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/health", "", nil, nil) == nil {
			active++
		}
	}
	if active != 1 {
		return fmt.Errorf("%d are active", active)
	}
	return nil
}

// patience is how long two servers may both take themselves for the active one while one follows the other.
const patience = 10 * time.Second

// MendVault restarts a server that takes itself for the active one while another leads, as jobs/README.md has
// it, and says so; empty: there is none. One that stood still in the moment of losing the leadership may never
// learn of it (https://github.com/hashicorp/vault/issues/18117).
func (c *Cluster) MendVault(ctx context.Context) (string, error) {
	if err := c.loadSecrets(false); err != nil {
		return "", err
	}
	stuck := c.stuckVault(ctx)
	if stuck == nil {
		return "", nil
	}
	select {
	case <-time.After(patience):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if again := c.stuckVault(ctx); again == nil || *again != *stuck {
		return "", nil
	}
	if err := c.restart(ctx, *stuck, "vault"); err != nil {
		return "", err
	}
	return "Vault of " + stuck.Name + " restarted: it did not know that another leads", c.unseal(ctx, *stuck)
}

// stuckVault is the cloud whose Vault says that it is active, but not to the others.
func (c *Cluster) stuckVault(ctx context.Context) *netns.Cloud {
	says := map[netip.Addr]leadership{}
	for _, cloud := range c.Network.All() {
		var l leadership
		if c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/leader", "", nil, &l) == nil {
			says[cloud.Addr] = l
		}
	}
	at, found := stuck(says)
	for _, cloud := range c.Network.All() {
		if found && cloud.Addr == at {
			return &cloud
		}
	}
	return nil
}

// leadership is what a Vault says about who is active.
type leadership struct {
	Self   bool   `json:"is_self"`
	Leader string `json:"leader_address"`
}

// stuck is who says that it is active where another does, too, and is named by those who don't.
func stuck(says map[netip.Addr]leadership) (netip.Addr, bool) {
	named := map[string]bool{}
	for _, l := range says {
		if !l.Self {
			named[l.Leader] = true
		}
	}
	var followed bool
	var alone netip.Addr
	for addr, l := range says {
		switch {
		case !l.Self:
		case named[l.Leader]:
			followed = true
		default:
			alone = addr
		}
	}
	if !followed || !alone.IsValid() {
		return netip.Addr{}, false
	}
	return alone, true
}

// vaultKeys are what opens Vault again: three shares, of which two are needed, as on real clouds. Here
// they lie together, which is what they never do there.
type vaultKeys struct {
	Shares []string `json:"keys_base64"`
	Root   string   `json:"root_token"`
}

func (c *Cluster) vaultFile() string { return filepath.Join(c.Dir, "keys", "vault.json") }

// unseal initialises Vault if nobody has, and opens the servers of clouds that are sealed.
func (c *Cluster) unseal(ctx context.Context, clouds ...netns.Cloud) error {
	var born struct{ Initialized bool }
	if err := c.await(ctx, "Vault: all servers answer", func(ctx context.Context) error {
		for _, cloud := range clouds {
			if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/init", "", nil, &born); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var keys vaultKeys
	if !born.Initialized {
		err := c.ask(ctx, "PUT", clouds[0].Addr, vaultPort, "/v1/sys/init", "", map[string]int{"secret_shares": 3, "secret_threshold": 2}, &keys)
		if err != nil {
			return fmt.Errorf("couldn't initialise Vault: %w", err)
		}
		if err := errors.Join(writeJSON(c.vaultFile(), keys), os.WriteFile(c.rootFile(), []byte(keys.Root), 0o600)); err != nil {
			return err
		}
		c.say("Vault: initialised; its keys are in %s", c.vaultFile())
	} else if err := readJSON(c.vaultFile(), &keys); err != nil {
		return err
	}
	for _, cloud := range clouds {
		// The first takes them as they come; the others must have joined before a share means anything to them.
		err := c.await(ctx, "Vault: "+cloud.Name+" unsealed", func(ctx context.Context) error {
			for _, share := range keys.Shares[:2] {
				var state struct{ Sealed bool }
				if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/seal-status", "", nil, &state); err != nil || !state.Sealed {
					return err
				}
				if err := c.ask(ctx, "PUT", cloud.Addr, vaultPort, "/v1/sys/unseal", "", map[string]string{"key": share}, nil); err != nil {
					return err
				}
			}
			var state struct{ Sealed bool }
			if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/seal-status", "", nil, &state); err != nil {
				return err
			}
			if state.Sealed {
				return errors.New("it is sealed still")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rootFile holds the root token alone.
func (c *Cluster) rootFile() string { return filepath.Join(c.Dir, "keys", "vault-root-token") }

// RootToken is Vault's, for what sets it up.
func (c *Cluster) RootToken() (string, error) {
	var keys vaultKeys
	err := readJSON(c.vaultFile(), &keys)
	return keys.Root, err
}
