package main

import (
	"context"

	panelserver "github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service"
)

// parts is what operators see beside the ballot server, which answers for itself.
func (n *node) parts(ctx context.Context) []panelserver.Part {
	version := service.Version().Version
	api := panelserver.Part{
		Name: "api-server", State: panelserver.OK, Version: version,
		Facts: []panelserver.Fact{{Name: "address", Value: n.listeners.public.Addr().String()}},
	}
	if n.api.Ready(ctx) != nil {
		api.State, api.Note = panelserver.Down, "It has not read the polls yet, and sends voters away."
	}
	gateway := panelserver.Part{
		Name: "sms-gateway", State: panelserver.OK, Version: version,
		Facts: []panelserver.Fact{{Name: "phone_network", Value: "simulated"}},
	}
	if n.realPoll(ctx) {
		gateway.State = panelserver.Degraded
		gateway.Note = "A public poll is open, but no real phone reaches it: the phone network is simulated."
	}
	return []panelserver.Part{api, gateway}
}

// gateways is what operators see of the SMS routes: those of the one gateway that is part of this process.
func (n *node) gateways(ctx context.Context) []panelserver.Gateway {
	report := n.sender.Report(ctx)
	return []panelserver.Gateway{{Report: &report}}
}

// realPoll reports whether a poll is open whose votes are meant to count.
func (n *node) realPoll(ctx context.Context) bool {
	polls, err := n.box.AllPolls(ctx)
	if err != nil {
		return false // the ballot server says so itself
	}
	for _, p := range polls {
		if p.Kind == poll.Public && p.State == poll.Open {
			return true
		}
	}
	return false
}
