//go:build unix

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Routes are the edges, and the API servers that they may send voters to, as Consul knew them at a moment.
type Routes struct {
	c *Cluster
	// admins are where each cloud's edge shows its figures; servers are each cloud's API servers, by their names there.
	admins  map[string]string
	servers map[string]map[string]bool
}

// Routes asks Consul.
func (c *Cluster) Routes(ctx context.Context) (*Routes, error) {
	r := &Routes{c: c, admins: map[string]string{}, servers: map[string]map[string]bool{}}
	edges, err := c.instances(ctx, "haproxy")
	if err != nil {
		return nil, err
	}
	servers, err := c.instances(ctx, "api-server")
	if err != nil {
		return nil, err
	}
	for _, e := range edges {
		r.admins[e.Service.Meta["cloud"]] = net.JoinHostPort(e.Service.Address, e.Service.Meta["admin"])
	}
	for _, s := range servers {
		cloud := s.Service.Meta["cloud"]
		if r.servers[cloud] == nil {
			r.servers[cloud] = map[string]bool{}
		}
		r.servers[cloud][s.Service.ID] = true
	}
	return r, nil
}

// Lead is whether an edge of another cloud still sends voters to a cloud's API servers, all of which were
// there when the routes were asked for. An edge that doesn't answer counts as one that does.
func (r *Routes) Lead(ctx context.Context, to string) bool {
	for cloud, admin := range r.admins {
		if cloud == to {
			continue
		}
		up, err := r.up(ctx, admin)
		if err != nil {
			return true
		}
		for server := range r.servers[to] {
			if up[server] {
				return true
			}
		}
	}
	return false
}

// statusUp is an edge's word that it sends to a server.
var statusUp = regexp.MustCompile(`^haproxy_server_status\{proxy="api-server",server="([^"]+)",state="UP"\} 1$`)

// up are the servers that an edge sends voters to.
func (r *Routes) up(ctx context.Context, admin string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics?scope=server", nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask an edge: %w", err)
	}
	res, err := r.c.client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask an edge: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("couldn't ask an edge: %s", res.Status)
	}
	return serversUp(res.Body)
}

func serversUp(metrics io.Reader) (map[string]bool, error) {
	up := map[string]bool{}
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if found := statusUp.FindStringSubmatch(strings.TrimSpace(lines.Text())); found != nil {
			up[found[1]] = true
		}
	}
	return up, lines.Err()
}
