package clouds

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	consul "github.com/hashicorp/consul/api"
)

// database is Patroni's service; the primary has a tag.
const (
	database   = "popvote-db"
	primaryTag = "primary"
	vaultName  = "vault"
	activeTag  = "active"
	consulName = "consul"
	canaryTag  = "canary"
)

// readConsul reads all services that the token may see, as any server knows them.
func (c *Clouds) readConsul(ctx context.Context) (s services, err error) {
	secret, err := token(c.config.ConsulTokenFile)
	if err != nil {
		return s, err
	}
	q := (&consul.QueryOptions{AllowStale: true, Token: secret}).WithContext(ctx)
	names, _, err := c.consul.Catalog().Services(q)
	if err != nil {
		return s, fmt.Errorf("couldn't list services: %w", err)
	}
	leader, err := c.consul.Status().LeaderWithQueryOptions(q)
	if err != nil {
		return s, fmt.Errorf("couldn't ask for Consul's leader: %w", err)
	}
	s.leaders = map[string][]Place{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		found, _, err := c.consul.Health().Service(name, "", false, q)
		if err != nil {
			return s, fmt.Errorf("couldn't ask for the health of %s: %w", name, err)
		}
		for _, e := range found {
			passing := e.Checks.AggregatedStatus() == consul.HealthPassing
			switch {
			case name == database && passing && slices.Contains(e.Service.Tags, primaryTag):
				s.leaders[ofDatabase] = append(s.leaders[ofDatabase], placeOf(e))
			case name == vaultName && passing && slices.Contains(e.Service.Tags, activeTag):
				s.leaders[ofVault] = append(s.leaders[ofVault], placeOf(e))
			case name == consulName && leader == net.JoinHostPort(e.Node.Address, strconv.Itoa(e.Service.Port)):
				s.leaders[ofConsul] = append(s.leaders[ofConsul], placeOf(e))
			}
		}
		s.all = append(s.all, serviceOf(name, found))
	}
	return s, nil
}

func placeOf(e *consul.ServiceEntry) Place {
	return Place{Cloud: cmp.Or(e.Service.Meta["cloud"], e.Node.Meta["cloud"]), Node: e.Node.Node}
}

func serviceOf(name string, found []*consul.ServiceEntry) Service {
	s := Service{Name: name, Instances: []Instance{}}
	for _, e := range found {
		at := placeOf(e)
		i := Instance{
			Cloud: at.Cloud, Node: at.Node, State: e.Checks.AggregatedStatus(),
			Address: net.JoinHostPort(cmp.Or(e.Service.Address, e.Node.Address), strconv.Itoa(e.Service.Port)),
			Canary:  slices.Contains(e.Service.Tags, canaryTag),
		}
		if i.State == consul.HealthMaint {
			i.State = consul.HealthCritical
		}
		for _, check := range e.Checks {
			if check.Status == i.State && i.State != consul.HealthPassing {
				i.Says = short(cmp.Or(check.Output, check.Name))
			}
		}
		s.Instances = append(s.Instances, i)
	}
	slices.SortFunc(s.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Address, b.Address))
	})
	return s
}

// short is as much of a check's output as fits beside an instance.
func short(text string) string {
	const most = 160
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
