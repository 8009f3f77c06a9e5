package main

//go:generate go run ./kindsdoc -o ../../docs/sms-kinds.md

import (
	"net/http"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/aws"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp"
	"github.com/popvote/popvote/apps/sms-gateway/provider/twilio"
	"github.com/popvote/popvote/apps/sms-gateway/provider/vonage"
	"github.com/popvote/popvote/apps/sms-gateway/provider/webhook"
	"github.com/popvote/popvote/apps/sms-gateway/route"
	"github.com/popvote/popvote/apps/sms-gateway/simulator"
)

// simulated is the kind, and the name, of the simulated network.
const simulated = "simulated"

// kinds are those that a route may be of; one of the simulated network only where there is one.
func kinds(network *simulator.Simulator) map[string]route.Kind {
	all := map[string]route.Kind{
		"aws":     route.KindOf(aws.New),
		"smpp":    route.KindOf(smpp.New),
		"twilio":  route.KindOf(twilio.New),
		"vonage":  route.KindOf(vonage.New),
		"webhook": route.KindOf(webhook.New),
	}
	if network != nil {
		all[simulated] = route.KindOf(func(_ struct{}, deps provider.Deps) (provider.Provider, error) {
			return network.Provider(deps), nil
		})
	}
	return all
}

// providerClient asks providers. A redirect is an answer like any other: a credential would go along.
func providerClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   3 * time.Second,
			ResponseHeaderTimeout: 10 * time.Second,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       60 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
}
