package consultest

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// has says whether the agent answers, and what it knows of a service.
func (a *Agent) has(t *testing.T, service string) (n int, answers bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	found, _, err := a.client.Health().Service(service, "", true, new(api.QueryOptions).WithContext(ctx))
	return len(found), err == nil
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("it never came: " + what)
}

func TestAnAgentIsKilledFrozenAndStartedAgain(t *testing.T) {
	a := Start(t)
	where := a.Addr()
	a.Register(&api.AgentServiceRegistration{ID: "one", Name: "redis", Port: 1})
	eventually(t, "the service", func() bool { n, _ := a.has(t, "redis"); return n == 1 })
	a.Stop()
	if _, answers := a.has(t, "redis"); answers {
		t.Error("frozen, it answers")
	}
	a.Continue()
	eventually(t, "an answer", func() bool { n, _ := a.has(t, "redis"); return n == 1 })
	a.Kill()
	if _, answers := a.has(t, "redis"); answers {
		t.Error("killed, it answers")
	}
	a.Restart()
	eventually(t, "what it knew", func() bool { n, _ := a.has(t, "redis"); return n == 1 })
	a.Deregister("one")
	eventually(t, "the end of the service", func() bool { n, answers := a.has(t, "redis"); return answers && n == 0 })
	a.Register(&api.AgentServiceRegistration{ID: "two", Name: "redis", Port: 2})
	eventually(t, "the service", func() bool { n, _ := a.has(t, "redis"); return n == 1 })
	a.RestartEmpty()
	if n, answers := a.has(t, "redis"); n != 0 || !answers || a.Addr() != where {
		t.Errorf("it was to be empty, where it was: %d services, answers: %v", n, answers)
	}
}

func TestServersAreOneCluster(t *testing.T) {
	agents := StartWith(t, Config{Servers: 3, Cloud: "a"})
	agents[0].Register(&api.AgentServiceRegistration{Name: "redis", Port: 1})
	for _, a := range agents {
		eventually(t, "the service at every agent", func() bool { n, _ := a.has(t, "redis"); return n == 1 })
	}
}
