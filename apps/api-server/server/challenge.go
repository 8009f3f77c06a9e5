package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/token"
)

// challengeText is an issued challenge as the client gets it.
type challengeText []byte

// VisitGetChallengeResponse writes it.
func (t challengeText) VisitGetChallengeResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(t)
	return err
}

// challengeSet is a challenge, and what is asked beside it.
type challengeSet struct {
	challenge.Challenge
	HumanCheck *channelsapi.HumanCheck `json:"human_check,omitempty"`
}

// GetChallenge issues a proof-of-work challenge, dearer by the load and by what the client's network has done;
// nothing is remembered of it until it is spent.
func (a api) GetChallenge(ctx context.Context, _ channelsapi.GetChallengeRequestObject) (channelsapi.GetChallengeResponseObject, error) {
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Challenge, ratelimit.Subject{Client: client(c)}); err != nil {
		return nil, err
	}
	network := ratelimit.NetworkOf(client(c))
	times := a.toll.Step(network).Times()
	set := challengeSet{HumanCheck: a.humanCheck()}
	if a.deps.Human == nil || set.HumanCheck != nil {
		set.Challenge = a.challenges.Set(challenge.Usual(a.config.ChallengeCost).Times(times), network)
	} else {
		times = max(times, min(timesAlone, a.config.ChallengeMost))
		set.Challenge = a.challenges.SetAlone(challenge.Usual(a.config.ChallengeCost).Times(times), network)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("couldn't write a challenge: %w", err)
	}
	a.metrics.challenges.WithLabelValues(strconv.Itoa(times)).Inc()
	return challengeText(text), nil
}

var errFromElsewhere = errors.New("the challenge was set for another network, and is cheaper than this one's")

// worked says whether a solved challenge is worth what its sender's network is asked. One that was set for this
// network always is, whatever it costs by now: no voter is refused because of what a neighbour did meanwhile. One
// that was fetched from elsewhere is if it is no cheaper, so that whoever moves to another network is not held up,
// and whoever fetches from a network with a good name gains nothing.
func (s *Server) worked(solved challenge.Solved, network netip.Prefix) error {
	asked := challenge.Usual(s.config.ChallengeCost).Times(s.toll.Own(network).Times())
	if solved.Work() >= asked.Work() || solved.SetFor(network) {
		return nil
	}
	return errFromElsewhere
}

// tollSession is what the toll counts of a session.
func tollSession(session *token.Session, p *publicPoll) toll.Session {
	return toll.Session{
		ID: session.ID, Started: session.Started, Allowed: time.Duration(p.manifest.Verification.Seconds) * time.Second,
	}
}

// tollMetrics shows what is asked, and of how many networks.
type tollMetrics struct {
	toll  *toll.Toll
	usual challenge.Puzzle
}

var (
	workMetric     = prometheus.NewDesc("popvote_api_challenge_work", "PBKDF2 iterations that a challenge takes on average now, of networks that nothing speaks against.", nil, nil)
	networksMetric = prometheus.NewDesc("popvote_api_challenge_networks", "Networks whose sessions come to nothing, by what their challenges' work is multiplied by.", []string{"times"}, nil)
)

// Describe implements prometheus.Collector.
func (m *tollMetrics) Describe(to chan<- *prometheus.Desc) { to <- workMetric; to <- networksMetric }

// Collect implements prometheus.Collector.
func (m *tollMetrics) Collect(to chan<- prometheus.Metric) {
	work := m.usual.Times(m.toll.Load().Times()).Work()
	to <- prometheus.MustNewConstMetric(workMetric, prometheus.GaugeValue, float64(work))
	for step, n := range m.toll.Raised() {
		if step > 0 {
			times := strconv.Itoa(toll.Step(step).Times())
			to <- prometheus.MustNewConstMetric(networksMetric, prometheus.GaugeValue, float64(n), times)
		}
	}
}
