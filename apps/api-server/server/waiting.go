package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/room"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/token"
)

const (
	// ticketLife is how long a ticket of the waiting room is good, if its poll does not close before.
	ticketLife = 6 * time.Hour
	// answerLife is how long after its use a ticket is good once more: a client that hears nothing asks again within it.
	answerLife = 2 * time.Minute
	// roomTurns is how often the room calls up, and roomTold how often the log says how it is in use.
	roomTurns = 100 * time.Millisecond
	roomTold  = time.Minute
)

// readTicket reads a ticket of the waiting room where a challenge could be; ok is false for what is none. Neither
// base64 nor the answer to a captcha has a dot in it.
func (s *Server) readTicket(text, pollID string) (t token.Session, ok bool, err error) {
	if !strings.Contains(text, ".") {
		return token.Session{}, false, nil
	}
	t, err = s.tokens.Open(text, s.clock())
	switch {
	case errors.Is(err, token.ErrExpired):
		return t, true, challenge.ErrExpired
	case err != nil:
		return t, true, fmt.Errorf("%w: %w", challenge.ErrInvalid, err)
	case t.Step != token.Waiting || t.Poll != pollID:
		return t, true, fmt.Errorf("%w: a token, and no ticket of this poll", challenge.ErrInvalid)
	}
	return t, true, nil
}

// enter is the waiting room: it lets a request go on to begin a session, or tells it where and how long it waits.
// Nobody else is asked before it is let in, but for a captcha or a human check, whose answer is good only once it is
// used up. What has been let in is spent: a challenge, or the ticket that came of it, which has its name.
func (s *Server) enter(ctx context.Context, c *gin.Context, p *publicPoll, done *proof, who ratelimit.Subject) error {
	if t := done.ticket; t != nil {
		if t.Voter != who.Voter || t.Phone != who.Phone {
			return problem.New(problem.ChallengeInvalid).At("/challenge").Because("The ticket is for another identity or phone.")
		}
		answer := s.room.Return(room.Place{ID: t.ID, At: t.Started})
		if !answer.In {
			s.entries.WithLabelValues("not_yet").Inc()
			return s.waits(p, who, answer)
		}
		return s.spendTicket(ctx, c, done, who)
	}
	if err := s.limit(c, ratelimit.Session, who); err != nil {
		return err
	}
	done.counted = true
	err := s.enterAnew(ctx, p, done, who)
	if err != nil && problem.From(err).Code != problem.WaitingRoom { // who waits comes back without being counted again
		s.giveBack(ctx, ratelimit.Session, who)
	}
	return err
}

// spendTicket uses a ticket up. The answer to that may be lost on the way, and a place that was waited for is not to
// be lost with it: for answerLife the ticket is good once more, for the same voter and phone, because one challenge can
// have given tickets to several. What comes of it is another session to the limits.
func (s *Server) spendTicket(ctx context.Context, c *gin.Context, done *proof, who ratelimit.Subject) error {
	network := ratelimit.NetworkOf(who.Client)
	entered := enteredMark(done.id, who)
	err := s.spend(ctx, *done, network)
	if err == nil {
		// Whoever can't be marked has no second time, and loses nothing else.
		_, _ = s.deps.Board.Spend(ctx, entered, answerLife)
		s.entries.WithLabelValues("ticket").Inc()
		return nil
	}
	if problem.From(err).Code != problem.ChallengeSpent {
		return err
	}
	if same, failed := s.deps.Board.Spent(ctx, entered); failed != nil || !same {
		return err
	}
	if err := s.limit(c, ratelimit.Session, who); err != nil {
		return err
	}
	again := *done
	again.id = "again " + done.id
	if err := s.spend(ctx, again, network); err != nil {
		s.giveBack(ctx, ratelimit.Session, who)
		return err
	}
	done.counted = true
	s.entries.WithLabelValues("again").Inc()
	return nil
}

// enteredMark names who was let in by a ticket. Without the ticket it tells nobody anything.
func enteredMark(id string, who ratelimit.Subject) string {
	h := sha256.New()
	_, _ = h.Write(who.Voter[:])
	_, _ = h.Write(who.Phone[:])
	_, _ = h.Write([]byte(id))
	return "entered " + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// enterAnew is enter for who has no ticket.
func (s *Server) enterAnew(ctx context.Context, p *publicPoll, done *proof, who ratelimit.Subject) error {
	id, early := done.id, done.read != nil || s.deps.Human != nil && !done.alone
	network := ratelimit.NetworkOf(who.Client)
	if early {
		// Before the human check: another company is asked once for one piece of work, or anybody could keep it busy.
		if err := s.spend(ctx, *done, network); err != nil {
			return err
		}
		id = "place-" + id
	}
	if err := s.checkHuman(ctx, *done, p.manifest.ID, network); err != nil {
		return err
	}
	answer := s.room.Come(id)
	if !answer.In {
		s.entries.WithLabelValues("waits").Inc()
		return s.waits(p, who, answer)
	}
	if !early {
		if err := s.spend(ctx, *done, network); err != nil {
			return err
		}
	}
	s.entries.WithLabelValues("straight").Inc()
	return nil
}

// waits gives a place to who is not let in yet.
func (s *Server) waits(p *publicPoll, who ratelimit.Subject, answer room.Answer) error {
	place, err := s.place(p, who, answer)
	if err != nil {
		return err
	}
	return &withPlace{problem.New(problem.WaitingRoom).After(answer.Wait), place}
}

// keepPlace leaves a place to who was let in by a ticket, which is spent, and then failed through no fault of theirs:
// it has the same time on it, so they are let in again before those who wait.
func (s *Server) keepPlace(failed error, p *publicPoll, done proof, who ratelimit.Subject) error {
	if done.ticket == nil {
		return failed
	}
	place, err := s.place(p, who, room.Answer{Place: room.Place{ID: newSessionID(), At: done.ticket.Started}})
	if err != nil {
		return failed
	}
	return &withPlace{failed, place}
}

// place is a ticket and what is said beside it.
func (s *Server) place(p *publicPoll, who ratelimit.Subject, answer room.Answer) (channelsapi.WaitingRoom, error) {
	expires := answer.Place.At.Add(ticketLife)
	if p.manifest.ClosesAt.Before(expires) {
		expires = p.manifest.ClosesAt
	}
	t := token.Session{
		ID: answer.Place.ID, Poll: p.manifest.ID, Step: token.Waiting, Voter: who.Voter, Phone: who.Phone,
		Started: answer.Place.At, Expires: wholeSecond(expires),
	}
	sealed, err := s.seal(t)
	if err != nil {
		return channelsapi.WaitingRoom{}, err
	}
	return channelsapi.WaitingRoom{
		Ticket: sealed, IssuedAt: t.Started, ExpiresAt: t.Expires, Seconds: waitSeconds(answer.Wait),
	}, nil
}

// GetQueue answers from memory. Every poll of this server has the same queue.
func (a api) GetQueue(ctx context.Context, r channelsapi.GetQueueRequestObject) (channelsapi.GetQueueResponseObject, error) {
	if _, err := a.polls.get(ctx, r.Poll); err != nil {
		return nil, err
	}
	found, err := a.answers.get(ctx, "queue", roomTurns, func(context.Context) (answer, error) {
		now := a.room.Now()
		q := channelsapi.Queue{Called: now.Called, Since: now.Since, Rate: float32(now.Rate), Waiting: now.Waiting}
		q.Steps = make([]channelsapi.QueueStep, len(now.Steps))
		for i, step := range now.Steps {
			q.Steps[i] = channelsapi.QueueStep{Until: step.Until, Seconds: waitSeconds(step.Wait)}
		}
		return jsonAnswer(q, cacheSecond)
	})
	if err != nil {
		return nil, err
	}
	return reading{found, routed(ctx).Request}, nil
}

// keepRoom calls up whose turn it is until the context ends.
func (s *Server) keepRoom(ctx context.Context) {
	tick := time.NewTicker(roomTurns)
	defer tick.Stop()
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			told = s.tellRoom(ctx, told)
		}
	}
}

// tellRoom has the log say when the room comes into use and when it is empty again, and each minute between how it is
// used. It returns when that was told last; never, while nobody waits.
func (s *Server) tellRoom(ctx context.Context, told time.Time) time.Time {
	now, at := s.room.Now(), s.clock()
	log := s.log.With(slog.Int("waiting", now.Waiting), slog.Int("called", now.Out),
		slog.Duration("wait", now.Wait.Round(time.Second)), slog.Float64("rate", now.Rate))
	switch {
	case told.IsZero() && now.Waiting > 0:
		log.WarnContext(ctx, "more voters come than are let in: they wait their turn")
	case told.IsZero(), now.Waiting+now.Out > 0 && at.Sub(told) < roomTold:
		return told
	case now.Waiting+now.Out > 0:
		log.InfoContext(ctx, "voters wait their turn")
	default:
		log.InfoContext(ctx, "the waiting room is empty again")
		return time.Time{}
	}
	return at
}

// newEntries makes the waiting room's metrics.
func newEntries(registerer prometheus.Registerer, r *room.Room) (*prometheus.CounterVec, error) {
	gauge := func(name, help string, of func(room.State) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "popvote", Subsystem: "api", Name: name, Help: help}, func() float64 { return of(r.Now()) })
	}
	entries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "popvote", Subsystem: "api", Name: "room_requests_total",
		Help: "Requests for a session at the waiting room: let in straight, by ticket, or by the same again, given a ticket (waits), or back before their turn (not_yet).",
	}, []string{"outcome"})
	for _, c := range []prometheus.Collector{
		entries,
		gauge("room_waiting", "Tickets of the waiting room whose turn has not come, of those that this server knows.", func(s room.State) float64 { return float64(s.Waiting) }),
		gauge("room_called", "Tickets whose turn has come, and which have not come back yet.", func(s room.State) float64 { return float64(s.Out) }),
		gauge("room_wait_seconds", "How long who comes now will wait at most, as far as is known; 0 while nobody waits.", func(s room.State) float64 { return s.Wait.Seconds() }),
	} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("couldn't register the metrics: %w", err)
		}
	}
	return entries, nil
}
