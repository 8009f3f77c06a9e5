package overhttp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// TestInstancesComeAndGo: under load, instances are stopped and started, and some die, also while Consul
// does not answer. Nobody who casts or reads notices.
func TestInstancesComeAndGo(t *testing.T) {
	w, box, agent, log := newWorld(t), newMemory(), consultest.Start(t), new(servicetest.Output)
	found, err := discovery.NewConsul(discovery.ConsulConfig{Address: agent.Addr(), Services: []string{"ballot-server"}},
		discovery.ConsulDeps{Clock: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
	w.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	working.Go(func() { found.Follow(ctx) })

	handler := NewHandler(box, Production())
	certificate := w.files("ballot-server").Server()
	type instance struct {
		address string
		server  *http.Server
	}
	var up []instance
	start := func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		w.ok(err)
		s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
		go s.Serve(tls.NewListener(l, certificate))
		t.Cleanup(func() { s.Close() })
		one := instance{l.Addr().String(), s}
		up = append(up, one)
		agent.Register(&api.AgentServiceRegistration{ID: one.address, Name: "ballot-server", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port})
	}
	knows := func(address string) bool {
		return slices.ContainsFunc(found.Find("ballot-server"), func(in discovery.Instance) bool { return in.Address == address })
	}
	all := func() bool {
		return len(found.Find("ballot-server")) == len(up) && !slices.ContainsFunc(up, func(in instance) bool { return !knows(in.address) })
	}
	for range 3 {
		start()
	}
	w.eventually("all instances", all)

	c := w.client("api-server", ClientConfig{Finder: found})
	var next, done atomic.Int64
	var failed sync.Map
	load := func(one func() error) {
		working.Go(func() {
			for ctx.Err() == nil {
				if err := one(); err != nil && ctx.Err() == nil {
					failed.Store(err.Error(), true)
				}
				done.Add(1)
			}
		})
	}
	for range 4 {
		load(func() error {
			outcomes, err := c.Cast(context.Background(), []ballotapi.Ballot{vote(int(next.Add(1)))})
			if err == nil {
				err = outcomes[0].Err
			}
			return err
		})
	}
	for range 2 {
		load(func() error {
			_, err := c.Polls(context.Background())
			return err
		})
	}
	goOn := func() { // a while of work, in which everybody is asked
		n := done.Load()
		w.eventually("more work", func() bool { return done.Load() > n+200 })
	}
	for round := range 5 {
		start()
		goOn()
		first := up[0]
		up = up[1:]
		switch round {
		case 1: // it dies, and Consul hears of it later
			first.server.Close()
			goOn()
			agent.Deregister(first.address)
		case 3: // as before, and Consul doesn't answer either
			agent.Stop()
			first.server.Close()
			goOn()
			agent.Continue()
			agent.Deregister(first.address)
		default: // it stops in order, and the clients hear of it while it does
			agent.Deregister(first.address)
			stopping, late := context.WithTimeout(ctx, 10*time.Second)
			w.ok(first.server.Shutdown(stopping))
			late()
		}
		w.eventually(fmt.Sprint("the set of round ", round), all)
		goOn()
	}
	cancel()
	working.Wait()
	failed.Range(func(err, _ any) bool { t.Error(err); return true })
	if n := strings.Count(log.String(), "instances changed"); n < 6 {
		t.Errorf("the log tells of %d changes", n)
	}
}
