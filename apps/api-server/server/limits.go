package server

import (
	"context"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

// limit counts an action, and says on the answer how much is left. Where the limiter cannot say,
// the action goes on, except for sending SMS: that costs money.
func (s *Server) limit(c *gin.Context, action ratelimit.Action, who ratelimit.Subject) error {
	d, err := s.deps.Limiter.Take(c.Request.Context(), action, who)
	if err != nil {
		s.metrics.limiterDown.Inc()
		if action == ratelimit.Send {
			return problem.Wrap(problem.SMSUnavailable, err).After(soon(smsRetry))
		}
		return nil
	}
	if d.Limit.Name == "" {
		return nil
	}
	h := c.Writer.Header()
	h["Ratelimit-Policy"] = []string{d.Policy()} // as Set would write the name, after some work
	h["Ratelimit"] = []string{d.Header()}
	if d.Allowed {
		return nil
	}
	s.metrics.limited.WithLabelValues(d.Limit.Name).Inc()
	return problem.New(problem.RateLimited).After(d.RetryAfter)
}

// giveBack returns what was counted and did not happen.
func (s *Server) giveBack(ctx context.Context, action ratelimit.Action, who ratelimit.Subject) {
	if err := s.deps.Limiter.Return(context.WithoutCancel(ctx), action, who); err != nil {
		s.metrics.limiterDown.Inc()
	}
}
