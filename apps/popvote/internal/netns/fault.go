//go:build unix

package netns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// table is the one table of rules that a cloud has; without it, nothing is dropped.
const table = "inet popvote"

// Direction is which way packets are lost, seen from the cloud whose rules they are.
type Direction int

// In loses what comes from the others, Out what goes to them.
const (
	In Direction = 1 << iota
	Out
	Both = In | Out
)

// Cut has a cloud lose all packets from or to addresses, those of open connections too, until Heal.
// Nobody is told: they vanish. It replaces what was cut before.
func (c Cloud) Cut(ctx context.Context, way Direction, others ...netip.Addr) error {
	if len(others) == 0 {
		return c.Heal(ctx)
	}
	all := make([]string, len(others))
	for i, a := range others {
		all[i] = a.String()
	}
	set := "{ " + strings.Join(all, ", ") + " }"
	var rules strings.Builder
	// Deleting what may not be there is an error, adding what is there none.
	fmt.Fprintf(&rules, "add table %[1]s\ndelete table %[1]s\nadd table %[1]s\n", table)
	if way&In != 0 {
		fmt.Fprintf(&rules, "add chain %[1]s in { type filter hook input priority 0; }\nadd rule %[1]s in ip saddr %[2]s drop\n", table, set)
	}
	if way&Out != 0 {
		fmt.Fprintf(&rules, "add chain %[1]s out { type filter hook output priority 0; }\nadd rule %[1]s out ip daddr %[2]s drop\n", table, set)
	}
	return c.nft(ctx, rules.String())
}

// Heal lets all packets through again.
func (c Cloud) Heal(ctx context.Context) error {
	return c.nft(ctx, fmt.Sprintf("add table %[1]s\ndelete table %[1]s\n", table))
}

// nft changes the cloud's rules, all at once.
func (c Cloud) nft(ctx context.Context, rules string) error {
	return do(ctx, rules, "nsenter", "--net="+c.path(), "nft", "-f", "-")
}

// Refuse has a cloud refuse all connections to a port, those that are open too, as if nobody listened
// there, until Heal.
func (c Cloud) Refuse(ctx context.Context, port int) error {
	return c.nft(ctx, fmt.Sprintf("add table %[1]s\ndelete table %[1]s\nadd table %[1]s\n"+
		"add chain %[1]s in { type filter hook input priority 0; }\nadd rule %[1]s in tcp dport %[2]d reject with tcp reset\n", table, port))
}
