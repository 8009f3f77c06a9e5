package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/apps/api-server/page"
	apiserver "github.com/popvote/popvote/apps/api-server/server"
	panelserver "github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/route"
	smsgateway "github.com/popvote/popvote/apps/sms-gateway/server"
	"github.com/popvote/popvote/apps/sms-gateway/simulator"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/verification"
)

// listeners are an instance's open listeners.
type listeners struct{ public, panel, phone, admin, local net.Listener }

// listen opens every address, or none.
func listen(ctx context.Context, c *upConfig) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, one := range []struct {
		name, address string
		into          *net.Listener
	}{
		{"the voter page", c.Listen, &l.public},
		{"the control panel", c.PanelListen, &l.panel},
		{"the simulated phone", c.PhoneListen, &l.phone},
		{"probes and metrics", c.AdminListen, &l.admin},
	} {
		if *one.into, err = service.Listen(ctx, one.name, one.address); err != nil {
			return nil, err
		}
	}
	if l.local, err = local.Listen(c.Data); err != nil {
		return nil, exit.With(exit.BadData, err)
	}
	return l, nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.public, l.panel, l.phone, l.admin, l.local} {
		if one != nil {
			_ = one.Close() // Serve may have closed it
		}
	}
}

// addresses are where the network reaches this process.
func (l *listeners) addresses() []string {
	var out []string
	for _, one := range []net.Listener{l.public, l.panel, l.phone, l.admin} {
		out = append(out, one.Addr().String())
	}
	return out
}

// node is every part of PopVote in one process.
type node struct {
	listeners *listeners
	box       *box
	api       *apiserver.Server
	panel     *panelserver.Server
	phone     *simulator.Simulator
	sender    *route.Router
	metrics   *prometheus.Registry
	health    *service.Health
	config    *upConfig
}

// newNode joins the parts: what is a network in a cluster is a method call here.
func newNode(ctx context.Context, c *upConfig, b *box, l *listeners, metrics *prometheus.Registry, log *slog.Logger) (_ *node, err error) {
	n := &node{listeners: l, box: b, metrics: metrics, health: &service.Health{}, config: c}
	part := func(name string) *slog.Logger { return log.With(slog.String("part", name)) }
	tuning := ratelimit.Config{Scale: c.Limits.Scale, Override: c.Limits.Override, Polls: c.Limits.Polls}
	if tuning.Changed() {
		log.WarnContext(ctx, "the limits are not those of the table", slog.Any("limits", tuning))
	}
	limiter, err := ratelimit.NewLocal(tuning, time.Now)
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	board := verification.NewMemory(time.Now)
	gateway := smsgateway.New(smsgateway.Config{}, smsgateway.Deps{
		Board: board, Secrets: n.box.keys, Clock: time.Now, Log: part("sms-gateway"), Metrics: n.metrics,
	})
	n.phone, err = simulator.New(simulator.Config{
		Embedded: true, Addresses: l.addresses(), InboundNumber: sms.Number(c.InboundSMS),
	}, simulator.Deps{Receiver: gateway, Clock: time.Now, Log: part("sms-gateway"), Metrics: n.metrics})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	network := route.KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) { return n.phone.Provider(deps), nil })
	n.sender, err = route.New(route.Free("simulated", "simulated", true), map[string]route.Kind{"simulated": network}, route.Deps{
		Receiver: gateway, Clock: time.Now, Log: part("sms-gateway"), Metrics: n.metrics,
	})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	human, err := humancheck.New(c.Human, humancheck.Deps{Clock: time.Now, Log: part("api-server")})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	n.api, err = apiserver.New(ctx, apiserver.Config{
		TrustedProxies: c.Proxies,
		PublicOrigin:   c.PublicOrigin,
		AllowedOrigins: c.AllowOrigin,
		InboundNumber:  c.InboundSMS,
		PhoneCountries: c.Countries,
		ChallengeCost:  c.Cost,
		ChallengeMost:  c.Most,
		AdmissionRate:  c.Admission,
		Security:       c.Security,
		Calls:          true, // the simulated network makes them
	}, apiserver.Deps{
		Caster: n.box, Reader: n.box, Tokens: n.box.keys, Secrets: n.box.keys, Board: board, Sender: n.sender, Confirmer: n.sender,
		Limiter: limiter, Clock: time.Now, Log: part("api-server"), Metrics: n.metrics,
		Human: human,
		Page:  page.New(page.Config{Secure: strings.HasPrefix(c.PublicOrigin, "https://"), FrameOrigin: c.Human.Origin}),
	})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	origin := c.PanelOrigin
	if origin == "" {
		origin = "http://" + l.panel.Addr().String()
	}
	n.panel, err = panelserver.New(panelserver.Config{PublicOrigin: origin, RequirePasskey: c.RequireKey, OperatorsNeeded: c.Needed}, panelserver.Deps{
		Admin: n.box, Parts: n.parts, Gateways: n.gateways, Clock: time.Now, Log: part("control-panel"), Metrics: n.metrics,
	})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	n.health.Need("ballot-server", func(ctx context.Context) error {
		_, err := n.box.Health(ctx)
		return err
	})
	n.health.Need("api-server", n.api.Ready)
	n.health.Want("keys", func(context.Context) error { return n.box.keys.Err() })
	return n, nil
}

// services are the listeners with what answers there. The command line's socket comes last.
func (n *node) services() []service.Listener {
	return []service.Listener{
		{Name: "voters", Open: n.listeners.public, Handler: n.api.Handler(), WriteTime: apiserver.WriteTime, Connections: apiserver.MaxConnections},
		{Name: "panel", Open: n.listeners.panel, Handler: n.panel.Handler()},
		{Name: "phone", Open: n.listeners.phone, Handler: n.phone.Handler()},
		{Name: "admin", Open: n.listeners.admin, Handler: n.adminHandler()},
		{Name: "command line", Open: n.listeners.local, Handler: local.Handler(n.box)},
	}
}

func (n *node) adminHandler() http.Handler {
	probes := service.AdminHandler(n.health, n.metrics)
	if !n.config.Pprof {
		return probes
	}
	return service.Profiles(probes)
}

// close stops the parts that ask the ballot server, which stays open.
func (n *node) close() {
	if n.panel != nil {
		n.panel.Close()
	}
	if n.api != nil {
		n.api.Close()
	}
}
