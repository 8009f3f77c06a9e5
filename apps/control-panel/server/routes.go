package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/sms/overhttp"
)

// Gateway is one SMS gateway, with what it says of its routes. Nothing of it decides anything about a vote.
type Gateway struct {
	Address string `json:"address,omitempty"`
	// Cloud is the provider's site, where there are several.
	Cloud string `json:"cloud,omitempty"`
	// Silent says why there is no Report; empty where there is one.
	Silent Silence     `json:"silent,omitempty"`
	Report *sms.Report `json:"report,omitempty"`
}

// Silence is why a gateway's report is missing.
type Silence string

// It did not answer in time, or not as a gateway does; it refuses; its version makes no reports.
const (
	NoAnswer Silence = "no_answer"
	Refusing Silence = "refused"
	Older    Silence = "older"
)

// silences are the reasons that say themselves; any other is NoAnswer.
var silences = []struct {
	err error
	is  Silence
}{{overhttp.ErrNotTold, Refusing}, {overhttp.ErrNoReport, Older}}

// GatewaysBy asks the gateways of a reporter, all at once and for two seconds at most. What a gateway that falls
// silent met is logged once, until it answers again.
func GatewaysBy(reporter *overhttp.Reporter, log *slog.Logger) func(context.Context) []Gateway {
	var mu sync.Mutex
	silent := map[string]bool{} // by address; guarded by mu
	return func(ctx context.Context) []Gateway {
		reports := reporter.Reports(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil // whoever looked has gone, and nobody is silent for that
		}
		mu.Lock()
		defer mu.Unlock()
		var gateways []Gateway
		now := map[string]bool{}
		for _, one := range reports {
			g := Gateway{Address: one.Address, Cloud: one.Cloud}
			if one.Err == nil {
				g.Report = &one.Report
			} else {
				g.Silent, now[one.Address] = silenceOf(one.Err), true
				if !silent[one.Address] {
					log.WarnContext(ctx, "an SMS gateway makes no report", slog.String("cloud", one.Cloud), slog.Any("error", one.Err))
				}
			}
			gateways = append(gateways, g)
		}
		silent = now
		return gateways
	}
}

func silenceOf(err error) Silence {
	for _, row := range silences {
		if errors.Is(err, row.err) {
			return row.is
		}
	}
	return NoAnswer
}

// routesView is the event "routes".
type routesView struct {
	Now      time.Time `json:"now"`
	Gateways []Gateway `json:"gateways"`
}

// readRoutes is what the live stream shows of the gateways.
func (s *Server) readRoutes(ctx context.Context) (*routesView, error) {
	gateways := s.gateways(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &routesView{s.clock(), some(gateways)}, nil
}
