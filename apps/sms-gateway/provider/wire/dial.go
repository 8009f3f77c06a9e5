package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrAddress is a host that is in no network where one may be asked.
var ErrAddress = errors.New("its address is in no network that may be asked")

// closed are the networks that are not the internet, beyond those that netip knows by name: what is
// there is ours, or this machine's, and takes no orders from a URL (T26). IANA's special-purpose registries.
var closed = func() (all []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

// Public says whether an address is the internet's.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(closed, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ParseNetworks reads the networks of a configuration.
func ParseNetworks(texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.1.2.0/24", text)
		}
		all = append(all, network.Masked())
	}
	return all, nil
}

// Outside returns a client for a URL that an operator gave. It connects to the internet and to the networks
// named, and nowhere else. What counts is the address that is dialled, after its name was resolved: a name
// may point elsewhere by the next time. It uses no proxy, which would be asked in its stead. Without TLS
// it speaks in the networks named alone.
func Outside(networks []netip.Prefix, plain bool) *http.Client {
	dialer := &net.Dialer{Timeout: 3 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return ErrAddress
		}
		named := slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) })
		if named || !plain && Public(at.Addr()) {
			return nil
		}
		return ErrAddress
	}}
	return &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 3 * time.Second, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 50 * time.Second,
	}}
}
