package wire

import (
	"errors"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// Failure is an error that keeps its type on the way.
type Failure struct {
	Problem *Problem           `json:"problem,omitempty"`
	Refused *ballotapi.Refused `json:"refused,omitempty"`
	Faults  poll.Faults        `json:"faults,omitempty"`
	// Text is any other error's, where the two ends trust each other with it.
	Text string `json:"text,omitempty"`
}

// Problem is what crosses of a problem.Error: never its cause.
type Problem struct {
	Code       problem.Code  `json:"code"`
	Field      string        `json:"field,omitempty"`
	Detail     string        `json:"detail,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

// Typed gives an error its form on the wire; false for an error of no type that crosses, which is
// nobody's business but the process's own.
func Typed(err error) (*Failure, bool) {
	if r, ok := errors.AsType[*ballotapi.Refused](err); ok {
		return &Failure{Refused: r}, true
	}
	if f, ok := errors.AsType[poll.Faults](err); ok {
		return &Failure{Faults: f}, true
	}
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Code != problem.Internal {
		return &Failure{Problem: &Problem{p.Code, p.Field, p.Detail, p.RetryAfter}}, true
	}
	return nil, false
}

// Err is the error again; nil for no failure.
func (f *Failure) Err() error {
	switch {
	case f == nil:
		return nil
	case f.Refused != nil:
		return f.Refused
	case len(f.Faults) > 0:
		return f.Faults
	case f.Problem != nil:
		p := problem.New(f.Problem.Code)
		p.Field, p.Detail, p.RetryAfter = f.Problem.Field, f.Problem.Detail, f.Problem.RetryAfter
		return p
	case f.Text != "":
		return errors.New(f.Text)
	default:
		return problem.New(problem.Internal)
	}
}
