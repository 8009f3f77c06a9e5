// Package discovery says where the instances of a service are. A caller asks at every request and
// never waits: what answers is the last good set, kept up in the background by whoever implements
// it: Static is a fixed set, as written in a program's configuration, and Consul asks Consul.
package discovery

import (
	"fmt"
	"maps"
	"net"
	"slices"
)

// Instance is one running copy of a service.
type Instance struct {
	// Address is host:port.
	Address string
	// Cloud is the site it runs at; empty where there is only one.
	Cloud string
}

// Finder finds instances. Safe for concurrent use; never blocks.
type Finder interface {
	// Find returns the instances of a service that are thought to be healthy, in no order that
	// means anything; empty when the service is not known or none is healthy. The slice is the
	// caller's.
	Find(service string) []Instance
}

// Static is a fixed set of instances.
type Static struct {
	services map[string][]Instance
}

var _ Finder = (*Static)(nil)

// NewStatic returns a Finder over the services' instances, by service name. An address that is not
// host:port, or that occurs twice within a service, is an error: a typing mistake found at the start
// is worth more than a request that fails later.
func NewStatic(services map[string][]Instance) (*Static, error) {
	s := &Static{services: make(map[string][]Instance, len(services))}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		seen := map[string]bool{}
		for _, in := range services[name] {
			host, port, err := net.SplitHostPort(in.Address)
			if err != nil || host == "" || port == "" {
				return nil, fmt.Errorf("couldn't read the address of %s: %q is not host:port", name, in.Address)
			}
			if seen[in.Address] {
				return nil, fmt.Errorf("couldn't take the addresses of %s: %s is there twice", name, in.Address)
			}
			seen[in.Address] = true
		}
		s.services[name] = slices.Clone(services[name])
	}
	return s, nil
}

// At returns a Finder over the addresses of services, as a program's configuration has them.
func At(addresses map[string][]string) (*Static, error) {
	services := make(map[string][]Instance, len(addresses))
	for name, all := range addresses {
		for _, address := range all {
			services[name] = append(services[name], Instance{Address: address})
		}
	}
	return NewStatic(services)
}

// Find implements Finder.
func (s *Static) Find(service string) []Instance { return slices.Clone(s.services[service]) }
