package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

// timesAlone is what the usual work is multiplied by at least, within ChallengeMost, while it stands in for a human
// check whose service is down: as much as load alone may ask.
const timesAlone = 4

// newHuman makes what a human check needs, if there is one.
func (s *Server) newHuman() (*humancheck.Frame, *prometheus.CounterVec, error) {
	checker := s.deps.Human
	if checker == nil {
		return nil, nil, nil
	}
	if s.config.PublicOrigin == "" {
		return nil, nil, errors.New("couldn't ask for a human check without public_origin: only that origin's page may frame it")
	}
	frame, err := humancheck.NewFrame(checker, append([]string{s.config.PublicOrigin}, s.config.AllowedOrigins...))
	if err != nil {
		return nil, nil, err
	}
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "popvote", Subsystem: "api", Name: "human_checks_total",
		Help: "Sessions asked for where a human check is configured, by what came of it: passed, refused, stale, missing, down (the service could not say), or alone (work or digits stood in for it).",
	}, []string{"outcome"})
	down := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "popvote", Subsystem: "api", Name: "human_check_down", Help: "1 while the human check's service is down, and work stands in for it.",
	}, func() float64 {
		if checker.Down() {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{checks, down} {
		if err := s.deps.Metrics.Register(c); err != nil {
			return nil, nil, fmt.Errorf("couldn't register the metrics: %w", err)
		}
	}
	return frame, checks, nil
}

// humanCheck is what clients are told of the check: nil where there is none, or its service is down.
func (s *Server) humanCheck() *channelsapi.HumanCheck {
	if s.deps.Human == nil || s.deps.Human.Down() {
		return nil
	}
	return &channelsapi.HumanCheck{Provider: channelsapi.HumanCheckProvider(s.deps.Human.Name()), Page: s.deps.Human.Origin() + humancheck.Path}
}

// humanSaid takes a human check's response from a request, if one is wanted beside what was done, and refuses what can't
// be one. Who has none may be unable to load the check, so the server looks whether it is there.
func (s *Server) humanSaid(body *channelsapi.SessionRequest, done *proof) error {
	if s.deps.Human == nil || done.alone {
		return nil
	}
	if body.HumanCheck == nil {
		s.human.WithLabelValues("missing").Inc()
		s.deps.Human.Doubt()
		return problem.New(problem.HumanCheckRequired).At("/human_check")
	}
	if !s.deps.Human.Plausible(*body.HumanCheck) {
		s.human.WithLabelValues("refused").Inc()
		return problem.New(problem.HumanCheckFailed).At("/human_check")
	}
	done.human = *body.HumanCheck
	return nil
}

// checkHuman has the service judge a response for a poll, and uses it up. What the service can't say is held against nobody, and
// proves nothing either: the client then fetches a challenge whose work is enough alone.
func (s *Server) checkHuman(ctx context.Context, done proof, poll string, network netip.Prefix) error {
	if s.deps.Human == nil {
		return nil
	}
	if done.alone {
		s.human.WithLabelValues("alone").Inc()
		return nil
	}
	err := humancheck.ErrDown
	if !s.deps.Human.Down() {
		err = s.deps.Human.Check(ctx, done.human, poll)
	}
	switch {
	case errors.Is(err, humancheck.ErrDown):
		s.human.WithLabelValues("down").Inc()
		return problem.Wrap(problem.HumanCheckUnavailable, err).After(soon(time.Second))
	case errors.Is(err, humancheck.ErrStale):
		s.human.WithLabelValues("stale").Inc()
		return problem.Wrap(problem.HumanCheckFailed, err).At("/human_check")
	case err != nil:
		s.human.WithLabelValues("refused").Inc()
		s.toll.Junk(network)
		return problem.Wrap(problem.HumanCheckFailed, err).At("/human_check")
	}
	// Both services take a response once. That they do is their word; this is ours.
	sum := sha256.Sum256([]byte(done.human))
	fresh, err := s.deps.Board.Spend(ctx, "human-"+hex.EncodeToString(sum[:]), humancheck.Goodness)
	if err != nil {
		return boardDown(err)
	}
	if !fresh {
		s.human.WithLabelValues("stale").Inc()
		return problem.New(problem.HumanCheckFailed).At("/human_check")
	}
	s.human.WithLabelValues("passed").Inc()
	return nil
}
