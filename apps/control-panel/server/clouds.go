package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/apps/control-panel/clouds"
	"github.com/popvote/popvote/libs/problem"
)

// Clouds is the clouds that all this runs in. Safe for concurrent use.
//
// Map returns at once what was last known, and says how old that is. The others look at how things are now, and do
// what they are named after or return why not: a clouds.Refused, and nothing was done; or a *clouds.Unanswered.
type Clouds interface {
	Map() *clouds.Map
	Drain(ctx context.Context, cloud string, change clouds.Change) error
	Undrain(ctx context.Context, cloud string, change clouds.Change) error
	Promote(ctx context.Context, job, deployment string) error
	Fail(ctx context.Context, job, deployment string) error
	Scale(ctx context.Context, job, group string, from, to int, change clouds.Change) error
	MoveOne(ctx context.Context, job, group, from string) error
}

// deed is something that an operator had done to the clouds. It has no place in a poll's audit chain: the chain is one
// poll's, anybody may check it, and it is kept in the database, which clouds are drained to save. It is a line in
// the log, and Nomad keeps who drained and scaled, and why, by itself.
type deed struct {
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	What   string    `json:"what"`
	To     string    `json:"to"`
	Detail string    `json:"detail,omitempty"`
	Reason string    `json:"reason"`
}

// deeds are the last ones since the panel was started, the newest first, for whoever else looks.
type deeds struct {
	mu  sync.Mutex
	all []deed
}

const keptDeeds = 20

func (d *deeds) add(one deed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = slices.Insert(d.all, 0, one)
	d.all = d.all[:min(len(d.all), keptDeeds)]
}

func (d *deeds) list() []deed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return some(slices.Clone(d.all))
}

// cloudsView is the event "clouds".
type cloudsView struct {
	*clouds.Map
	Deeds []deed `json:"deeds"`
}

// readClouds is what the live stream shows of the clouds.
func (s *Server) readClouds(context.Context) (*cloudsView, error) {
	return &cloudsView{s.clouds.Map(), s.deeds.list()}, nil
}

// The clouds' own problems.
var (
	refusals = map[clouds.Refused]*trouble{
		clouds.NotThere:        tell(http.StatusNotFound, "cloud-not-there", "There is no such cloud, job or group."),
		clouds.SomebodyFaster:  tell(http.StatusConflict, "cloud-changed", "It has changed since you looked at it. Nothing was done."),
		clouds.CanaryWaits:     tell(http.StatusConflict, "cloud-canary-waits", "A canary waits for a decision. Promote it or take it back first. Nothing was done."),
		clouds.CanaryUnhealthy: tell(http.StatusConflict, "cloud-canary-unhealthy", "Not all canaries are healthy. Nothing was done."),
		clouds.OtherCloudAway:  tell(http.StatusConflict, "cloud-other-away", "Another cloud is away, and one alone is too small for everything. Nothing was done."),
		clouds.NothingToDo:     tell(http.StatusConflict, "cloud-nothing-to-do", "It is so already. Nothing was done."),
		clouds.OutOfBounds:     tell(http.StatusUnprocessableEntity, "cloud-out-of-bounds", "The job allows no such number of copies. Nothing was done."),
		clouds.NotSettled:      tell(http.StatusConflict, "cloud-not-settled", "The job is being changed, or not all of its copies run. Nothing was done."),
	}
	errTarget     = tell(http.StatusUnprocessableEntity, "name-wrong", "The name you typed is not the one meant. Nothing was done.")
	errNomad      = tell(http.StatusServiceUnavailable, "nomad-unavailable", "Nomad does not answer, or refuses. Nothing was done.")
	errNomadMaybe = func() *trouble {
		t := tell(http.StatusServiceUnavailable, "nomad-unknown", "Nomad's answer was lost.")
		t.Effect = problem.Unknown
		return t
	}()
)

// cloudTrouble finds the problem for what a Clouds returned.
func cloudTrouble(err error) error {
	if r, ok := errors.AsType[clouds.Refused](err); ok && refusals[r] != nil {
		return refusals[r]
	}
	if u, ok := errors.AsType[*clouds.Unanswered](err); ok {
		if u.Begun {
			return errNomadMaybe
		}
		return errNomad
	}
	return err
}

// cloudRequest is what each deed asks for: the cloud's or the job's name typed, a reason, and what was looked at.
type cloudRequest struct {
	decision
	// Deployment is the one that is promoted or failed.
	Deployment string `json:"deployment,omitempty"`
	// Group, From and To are of scaling; Group and Cloud of moving.
	Group string `json:"group,omitempty"`
	From  int    `json:"from,omitempty"`
	To    int    `json:"to,omitempty"`
	Cloud string `json:"cloud,omitempty"`
}

// cloudDeeds are by their path; each says what it did in few words, for the log.
var cloudDeeds = map[string]struct {
	what string
	do   func(ctx context.Context, c Clouds, to string, r cloudRequest, by clouds.Change) (detail string, err error)
}{
	"/clouds/:name/drain": {"drain", func(ctx context.Context, c Clouds, to string, _ cloudRequest, by clouds.Change) (string, error) {
		return "", c.Drain(ctx, to, by)
	}},
	"/clouds/:name/undrain": {"undrain", func(ctx context.Context, c Clouds, to string, _ cloudRequest, by clouds.Change) (string, error) {
		return "", c.Undrain(ctx, to, by)
	}},
	"/jobs/:name/promote": {"promote", func(ctx context.Context, c Clouds, to string, r cloudRequest, _ clouds.Change) (string, error) {
		return r.Deployment, c.Promote(ctx, to, r.Deployment)
	}},
	"/jobs/:name/fail": {"fail", func(ctx context.Context, c Clouds, to string, r cloudRequest, _ clouds.Change) (string, error) {
		return r.Deployment, c.Fail(ctx, to, r.Deployment)
	}},
	"/jobs/:name/scale": {"scale", func(ctx context.Context, c Clouds, to string, r cloudRequest, by clouds.Change) (string, error) {
		return fmt.Sprintf("%s %d → %d", r.Group, r.From, r.To), c.Scale(ctx, to, r.Group, r.From, r.To, by)
	}},
	"/jobs/:name/move": {"move", func(ctx context.Context, c Clouds, to string, r cloudRequest, _ clouds.Change) (string, error) {
		return r.Cloud, c.MoveOne(ctx, to, r.Group, r.Cloud)
	}},
}

// change the clouds, and say what was done.
func (s *Server) changeClouds(path string) gin.HandlerFunc {
	one := cloudDeeds[path]
	return func(c *gin.Context) {
		var body cloudRequest
		if err := s.decode(c, &body, smallBody); err != nil {
			s.fail(c, err)
			return
		}
		to := c.Param("name")
		if body.Confirm != to {
			s.fail(c, errTarget.at("/confirm"))
			return
		}
		if err := checkReason(body.Reason); err != nil {
			s.fail(c, err)
			return
		}
		actor := operator(c).actor
		detail, err := one.do(c, s.clouds, to, body, clouds.Change{By: actor, Why: body.Reason})
		log := s.log.With(slog.String("what", one.what), slog.String("to", to), slog.String("detail", detail), slog.String("reason", body.Reason), slogActor(actor))
		if err != nil {
			log.WarnContext(c, "clouds not changed", slog.Any("error", err))
			s.fail(c, cloudTrouble(err))
			return
		}
		log.InfoContext(c, "clouds changed")
		done := deed{At: s.clock(), Actor: actor, What: one.what, To: to, Detail: detail, Reason: body.Reason}
		s.deeds.add(done)
		s.live.nudge()
		c.JSON(http.StatusOK, gin.H{"deed": done})
	}
}
