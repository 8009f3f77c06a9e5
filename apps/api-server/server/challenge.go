package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/ratelimit"
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

// GetChallenge issues a proof-of-work challenge; nothing is remembered of it until it is spent.
func (a api) GetChallenge(ctx context.Context, _ channelsapi.GetChallengeRequestObject) (channelsapi.GetChallengeResponseObject, error) {
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Challenge, ratelimit.Subject{Client: client(c)}); err != nil {
		return nil, err
	}
	text, err := json.Marshal(a.challenges.Issue(a.config.ChallengeCost))
	if err != nil {
		return nil, fmt.Errorf("couldn't write a challenge: %w", err)
	}
	return challengeText(text), nil
}
