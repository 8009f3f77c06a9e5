//go:build unix

// Package netns makes clouds of one machine: a network namespace each, joined by a bridge, and takes
// them away, cuts them off from each other, freezes and kills what runs in them. It runs Debian's own
// programs (ip, nft, nsenter) as root, and keeps no state: everything is found again by its name, so
// that what a crash left behind goes with the next Down.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// named is where ip keeps the namespaces that have names.
const named = "/run/netns"

// Network is a bridge of this machine, and the clouds on it.
type Network struct {
	// Name begins the name of everything that is made: popvote, or popvote-xx for a test's.
	Name string
	// Prefix is the addresses, a /24: the clouds have .1, .2 …, this machine has .254. Nothing is routed
	// out of it.
	Prefix netip.Prefix
	// Clouds are the clouds' names.
	Clouds []string
	// Owner is noted on the bridge: the directory of whoever made it.
	Owner string
}

// Cloud is one of the namespaces.
type Cloud struct {
	Name string
	Addr netip.Addr

	namespace string
}

// longest is what Linux allows an interface's name to have, and every name of ours adds at most three
// bytes to the network's.
const longest = 15 - len("-v1")

// Check says what is wrong with a network before anything is made.
func (n *Network) Check() error {
	switch {
	case n.Name != "popvote" && !strings.HasPrefix(n.Name, "popvote-"), len(n.Name) > longest:
		return fmt.Errorf("couldn't call a network %q: it is called popvote or popvote-…, at most %d bytes", n.Name, longest)
	case n.Prefix.Bits() != 24 || !n.Prefix.Addr().Is4():
		return fmt.Errorf("couldn't take %s as the clouds' addresses: want a /24 of IPv4", n.Prefix)
	case len(n.Clouds) == 0 || len(n.Clouds) > 9:
		return fmt.Errorf("couldn't make %d clouds: want 1 to 9", len(n.Clouds))
	}
	for _, program := range []string{"ip", "nft", "nsenter", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("couldn't find %s (tools/bootstrap installs it): %w", program, err)
		}
	}
	if os.Getuid() != 0 {
		return errors.New("couldn't make network namespaces: that needs root")
	}
	return nil
}

func (n *Network) bridge() string    { return n.Name + "-br" }
func (n *Network) veth(i int) string { return n.Name + "-v" + strconv.Itoa(i+1) }

// Host is this machine's address among the clouds.
func (n *Network) Host() netip.Addr { return n.at(254) }

func (n *Network) at(i int) netip.Addr {
	a := n.Prefix.Masked().Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

// Cloud returns the i-th cloud.
func (n *Network) Cloud(i int) Cloud {
	return Cloud{Name: n.Clouds[i], Addr: n.at(i + 1), namespace: n.Name + "-" + n.Clouds[i]}
}

// All returns every cloud.
func (n *Network) All() []Cloud {
	all := make([]Cloud, len(n.Clouds))
	for i := range all {
		all[i] = n.Cloud(i)
	}
	return all
}

// Holder returns the Owner of the network of this name that is there, and whether there is one.
func (n *Network) Holder() (owner string, there bool) {
	alias, err := os.ReadFile(filepath.Join("/sys/class/net", n.bridge(), "ifalias"))
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(string(alias)), true
}

// Up makes the bridge and the clouds, as far as they are not there.
func (n *Network) Up(ctx context.Context) error {
	if err := n.Check(); err != nil {
		return err
	}
	if owner, there := n.Holder(); there && owner != n.Owner {
		return fmt.Errorf("couldn't make the network %s: it belongs to %s", n.Name, owner)
	} else if !there {
		if err := n.Free(ctx); err != nil {
			return err
		}
		for _, args := range []string{
			"link add " + n.bridge() + " type bridge",
			"address add " + n.Host().String() + "/24 dev " + n.bridge(),
			"link set " + n.bridge() + " up",
		} {
			if err := ip(ctx, strings.Fields(args)...); err != nil {
				return err
			}
		}
		if err := ip(ctx, "link", "set", n.bridge(), "alias", n.Owner); err != nil {
			return err
		}
	}
	for i, c := range n.All() {
		if c.there() && exists(n.veth(i)) {
			// Whoever slowed it may have died.
			if bridged, _ := n.slow(i); exists(bridged) {
				if err := n.plug(ctx, i); err != nil {
					return err
				}
			}
			continue
		}
		if err := n.join(ctx, i, c); err != nil {
			return err
		}
	}
	return nil
}

// Free fails if the machine has a route to the addresses already.
func (n *Network) Free(ctx context.Context) error {
	routes, err := exec.CommandContext(ctx, "ip", "-4", "route", "show", "root", n.Prefix.String()).Output()
	if err != nil {
		return fmt.Errorf("couldn't list this machine's routes: %w", err)
	}
	if len(routes) > 0 {
		return fmt.Errorf("couldn't take the addresses %s: this machine has them already (%s)", n.Prefix, strings.TrimSpace(string(routes)))
	}
	return nil
}

// join makes a cloud's namespace anew, and a cable from it to the bridge.
func (n *Network) join(ctx context.Context, i int, c Cloud) error {
	if err := n.leave(ctx, i, c); err != nil {
		return err
	}
	for _, args := range []string{
		"netns add " + c.namespace,
		"link add " + n.veth(i) + " type veth peer name eth0 netns " + c.namespace,
		"link set " + n.veth(i) + " master " + n.bridge() + " up",
		"-n " + c.namespace + " address add " + c.Addr.String() + "/24 dev eth0",
		"-n " + c.namespace + " link set lo up",
		"-n " + c.namespace + " link set eth0 up",
	} {
		if err := ip(ctx, strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) leave(ctx context.Context, i int, c Cloud) error {
	if bridged, _ := n.slow(i); exists(bridged) {
		if err := ip(ctx, "link", "delete", bridged); err != nil {
			return err
		}
	}
	if exists(n.veth(i)) {
		if err := ip(ctx, "link", "delete", n.veth(i)); err != nil {
			return err
		}
	}
	if c.there() {
		return ip(ctx, "netns", "delete", c.namespace)
	}
	return nil
}

// slow is the cable that comes between a slow cloud's own and the bridge; see Slow.
func (n *Network) slow(i int) (bridged, held string) {
	return fmt.Sprintf("%s-s%d", n.Name, i+1), fmt.Sprintf("%s-h%d", n.Name, i+1)
}

// plug puts a cloud's cable back into the bridge, whatever was between.
func (n *Network) plug(ctx context.Context, i int) error {
	var failed error
	if bridged, _ := n.slow(i); exists(bridged) {
		failed = ip(ctx, "link", "delete", bridged)
	}
	return errors.Join(failed, ip(ctx, strings.Fields("link set "+n.veth(i)+" master "+n.bridge()+" arp on up")...))
}

// Down kills what runs in the clouds and removes them and the bridge. What is not there is no error.
func (n *Network) Down(ctx context.Context) error {
	if err := n.Check(); err != nil {
		return err
	}
	var failed error
	for i, c := range n.All() {
		failed = errors.Join(failed, c.Kill(ctx), n.leave(ctx, i, c))
	}
	if exists(n.bridge()) {
		failed = errors.Join(failed, ip(ctx, "link", "delete", n.bridge()))
	}
	return failed
}

// there is whether the namespace is.
func (c Cloud) there() bool {
	_, err := os.Stat(c.path())
	return err == nil
}

func (c Cloud) path() string { return filepath.Join(named, c.namespace) }

// exists is whether this machine has an interface.
func exists(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}

func ip(ctx context.Context, args ...string) error { return do(ctx, "", "ip", args...) }

// do runs a program to its end, and has what it complains of in the error.
func do(ctx context.Context, input, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("couldn't run %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(said)))
	}
	return nil
}
