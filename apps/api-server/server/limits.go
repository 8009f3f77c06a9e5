package server

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/token"
)

// limit counts an action, and says on the answer how much is left. Where the limiter cannot say,
// the action goes on, except for sending SMS: that costs money.
func (s *Server) limit(c *gin.Context, action ratelimit.Action, who ratelimit.Subject) error {
	return s.take(c.Request.Context(), c.Writer.Header(), action, who)
}

// take is limit for who has no context of the router; what it says of the limit goes into h.
func (s *Server) take(ctx context.Context, h http.Header, action ratelimit.Action, who ratelimit.Subject) error {
	d, err := s.deps.Limiter.Take(ctx, action, who)
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
	h["Ratelimit-Policy"] = []string{d.Policy()} // as Set would write the name, after some work
	h["Ratelimit"] = []string{d.Header()}
	if d.Allowed {
		return nil
	}
	s.metrics.limited.WithLabelValues(d.Limit.Name).Inc()
	return problem.New(problem.RateLimited).After(d.RetryAfter)
}

var errPhoneUsedUp = problem.New(problem.PhoneUsedUp)

// countProved counts that a session has proved its phone, once, however often it asks for what it won. It comes
// after the proof, so that nobody can use up somebody else's phone, or learn that it is.
func (s *Server) countProved(ctx context.Context, h http.Header, session *token.Session) error {
	who := ratelimit.Subject{Phone: session.Phone, Poll: session.Poll}
	refused := s.take(ctx, h, ratelimit.Verify, who)
	ctx = context.WithoutCancel(ctx) // what is counted is marked, whether or not the client is still there
	mark := "proved " + session.ID
	if refused == nil {
		// Marked only once it is counted: of many who ask at once none gets past the count. Without a board the
		// session may be counted again, which is better than that the voter loses what was won.
		fresh, err := s.deps.Board.Spend(ctx, mark, session.Expires.Sub(s.clock())+2*lateRead)
		if err == nil && !fresh {
			s.giveBack(ctx, ratelimit.Verify, who)
		}
		return nil
	}
	counted, err := s.deps.Board.Spent(ctx, mark)
	switch {
	case err != nil:
		return boardDown(err)
	case counted:
		return nil
	}
	return errPhoneUsedUp.After(problem.From(refused).RetryAfter)
}

// giveBack returns what was counted and did not happen.
func (s *Server) giveBack(ctx context.Context, action ratelimit.Action, who ratelimit.Subject) {
	if err := s.deps.Limiter.Return(context.WithoutCancel(ctx), action, who); err != nil {
		s.metrics.limiterDown.Inc()
	}
}
