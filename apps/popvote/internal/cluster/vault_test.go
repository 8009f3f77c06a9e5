//go:build unix

package cluster

import (
	"net/netip"
	"testing"
)

// TestAStuckVaultIsTold from one that is about to follow, or to lead: nobody is restarted on one's own word.
func TestAStuckVaultIsTold(t *testing.T) {
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	self := func(of netip.Addr) leadership {
		return leadership{Self: true, Leader: "https://" + of.String() + ":8200"}
	}
	follows := func(of netip.Addr) leadership { return leadership{Leader: "https://" + of.String() + ":8200"} }
	for name, test := range map[string]struct {
		says map[netip.Addr]leadership
		want netip.Addr
	}{
		"all is well":                           {says: map[netip.Addr]leadership{a: self(a), b: follows(a), c: follows(a)}},
		"nobody leads":                          {says: map[netip.Addr]leadership{a: {}, b: {}, c: {}}},
		"one leads, and nobody knows yet":       {says: map[netip.Addr]leadership{a: self(a), b: {}, c: {}}},
		"two lead, and nobody knows":            {says: map[netip.Addr]leadership{a: self(a), b: self(b), c: {}}},
		"two lead, and one is followed":         {says: map[netip.Addr]leadership{a: self(a), b: follows(a), c: self(c)}, want: c},
		"two lead, and the third is gone":       {says: map[netip.Addr]leadership{a: self(a), c: self(c)}},
		"the one that is followed is not heard": {says: map[netip.Addr]leadership{b: follows(a), c: self(c)}},
	} {
		if got, found := stuck(test.says); got != test.want || found != test.want.IsValid() {
			t.Errorf("%s: %v, %v, want %v", name, got, found, test.want)
		}
	}
}
