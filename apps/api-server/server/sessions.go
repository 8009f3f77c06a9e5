package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/popvote/popvote/apps/api-server/captcha"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

// CreateSession is step 1. It checks in order of cost, and never asks whether the identity has
// voted: the answer cannot tell what was not looked up.
func (a api) CreateSession(ctx context.Context, r channelsapi.CreateSessionRequestObject) (channelsapi.CreateSessionResponseObject, error) {
	p, err := a.polls.open(ctx, r.Poll)
	if err != nil {
		return nil, err
	}
	c := routed(ctx)
	network := ratelimit.NetworkOf(client(c))
	person, err := whoAsks(r.Body, p)
	if err != nil {
		if problem.From(err).Code == problem.IdentityInvalid {
			a.toll.Junk(network)
		}
		return nil, err
	}
	done, err := a.readProof(r.Body.Challenge, r.Poll, client(c))
	if err != nil {
		return nil, a.challengeProblem(err, network)
	}
	if err := a.humanSaid(r.Body, &done); err != nil {
		return nil, err
	}
	number, err := a.phoneOf(r.Body)
	if err != nil {
		return nil, err
	}
	if err := a.canSeal(); err != nil {
		return nil, err
	}
	if err := a.limit(c, ratelimit.Attempt, ratelimit.Subject{Client: client(c), Poll: r.Poll}); err != nil {
		return nil, err
	}
	if err := done.work(); err != nil {
		return nil, a.challengeProblem(err, network)
	}
	voterKey, phoneKey, err := a.polls.tagKeys(ctx, p)
	if err != nil {
		return nil, err
	}
	who := ratelimit.Subject{
		Client: client(c),
		Voter:  identity.TagVoter(voterKey, person),
		Phone:  identity.TagPhone(phoneKey, number),
		Block:  identity.TagBlock(phoneKey, number),
		Poll:   r.Poll,
	}
	if err := a.enter(ctx, c, p, &done, who); err != nil {
		return nil, err
	}

	now := a.clock()
	seconds := p.manifest.Verification.Seconds
	session := token.Session{
		ID:      newSessionID(),
		Poll:    r.Poll,
		Step:    token.Identified,
		Voter:   who.Voter,
		Phone:   who.Phone,
		Channel: channel(r.Body),
		Lang:    lang(r.Body, p),
		Started: now.UTC().Truncate(time.Second),
		Expires: wholeSecond(now.Add(time.Duration(seconds) * time.Second)),
	}
	next := channelsapi.Verification{
		Mode:     channelsapi.VerificationMode(p.manifest.Verification.Mode),
		Deadline: session.Expires,
		Seconds:  seconds,
	}
	switch p.manifest.Verification.Mode {
	case poll.VoterSends:
		err = a.askForText(&session, &next, number)
	case poll.VoterReceives:
		session.SealedPhone = number.Reveal()
		err = a.sendCode(ctx, &session, sms.ByText, &next, who)
		if p, ok := errors.AsType[*problem.Error](err); ok && p.Code == problem.PhoneUnreachable {
			err = p.At("/phone")
		}
	default:
		err = fmt.Errorf("poll %s verifies phones in an unknown way", r.Poll)
	}
	if err != nil {
		if done.counted {
			a.giveBack(ctx, ratelimit.Session, who) // there is no session
		}
		return nil, a.keepPlace(err, p, done, who)
	}
	sealed, err := a.seal(session)
	if err != nil {
		return nil, err
	}
	a.toll.Began(network, tollSession(&session, p))
	a.metrics.sessions.WithLabelValues(r.Poll, string(p.manifest.Verification.Mode)).Inc()
	return channelsapi.CreateSession201JSONResponse{Body: channelsapi.Session{
		AccessToken:  sealed,
		ExpiresAt:    session.Expires,
		Verification: next,
	}}, nil
}

// whoAsks reads the identity number.
func whoAsks(body *channelsapi.SessionRequest, p *publicPoll) (identity.ID, error) {
	scheme, ok := identity.Lookup(string(body.Identity.Type))
	if !ok || scheme.Type() != p.manifest.Identity.Type {
		return "", problem.New(problem.InvalidField).At("/identity/type").Because("This poll knows its voters by another kind of number.")
	}
	person, err := scheme.Canonical(body.Identity.Number)
	if err != nil {
		return "", problem.New(problem.IdentityInvalid).At("/identity/number")
	}
	return person, nil
}

// phoneOf reads the phone number: of all forms that are checked, the dearest to check. Where it is of no country
// that takes part, nothing has been counted or spent.
func (s *Server) phoneOf(body *channelsapi.SessionRequest) (sms.Number, error) {
	number, err := identity.ParsePhone(body.Phone, s.config.PhoneRegion)
	switch {
	case errors.Is(err, identity.ErrPhoneNotMobile):
		return "", problem.New(problem.PhoneNotMobile).At("/phone")
	case err != nil:
		return "", problem.New(problem.PhoneInvalid).At("/phone")
	case !s.countries.Have(number):
		return "", problem.New(problem.PhoneCountry).At("/phone")
	}
	return number, nil
}

// proof is what a client did for a session, work or a captcha, of which only the dear part is not yet checked; or the
// ticket it was given for that.
type proof struct {
	id      string
	expires time.Time
	// work is checked before the id is spent.
	work func() error
	// read is what was read in a picture, checked after the id is spent: six digits could otherwise be guessed at
	// leisure. Nil for all but a captcha.
	read   func() error
	ticket *token.Session
	// alone needs no human check beside it.
	alone bool
	// human is the response of one, as it was sent.
	human string
	// counted is whether the limits count this request as a session.
	counted bool
}

// readProof reads what a client did, and checks what costs little.
func (s *Server) readProof(payload, pollID string, from netip.Addr) (proof, error) {
	right := func() error { return nil }
	if answered, typed, asked := captcha.CutAnswer(payload); asked {
		question, err := s.captchas.Open(answered, pollID, from)
		if err != nil {
			return proof{}, err
		}
		return proof{id: question.ID, expires: question.Expires, work: right, alone: true, read: func() error {
			if !question.Answered(typed) {
				return captcha.ErrInvalid
			}
			return nil
		}}, nil
	}
	if ticket, is, err := s.readTicket(payload, pollID); is {
		return proof{id: ticket.ID, expires: ticket.Expires, work: right, alone: true, ticket: &ticket}, err
	}
	solved, err := s.challenges.Read(payload)
	if err != nil {
		return proof{}, err
	}
	network := ratelimit.NetworkOf(from)
	return proof{id: solved.ID, expires: solved.Expires, work: solved.Check, alone: solved.Alone(network)}, s.worked(solved, network)
}

// spend uses a proof up: it is good once.
func (s *Server) spend(ctx context.Context, done proof, network netip.Prefix) error {
	fresh, err := s.deps.Board.Spend(ctx, done.id, done.expires.Sub(s.clock())+time.Second)
	if err != nil {
		return boardDown(err)
	}
	if !fresh {
		return problem.New(problem.ChallengeSpent).At("/challenge")
	}
	if done.read == nil {
		return nil
	}
	if err := done.read(); err != nil {
		return s.challengeProblem(err, network)
	}
	return nil
}

// challengeProblem says what is wrong with a proof, and has the toll know of what no page sends: people mistype
// digits, come late and change networks, but do no wrong work.
func (s *Server) challengeProblem(err error, network netip.Prefix) error {
	if errors.Is(err, challenge.ErrInvalid) {
		s.toll.Junk(network)
	}
	if errors.Is(err, challenge.ErrExpired) || errors.Is(err, captcha.ErrExpired) {
		return problem.New(problem.ChallengeExpired).At("/challenge")
	}
	return problem.New(problem.ChallengeInvalid).At("/challenge")
}

// boardDown is a verification board that cannot answer: nothing is lost, and nothing goes on.
func boardDown(err error) error {
	return problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't ask the verification board: %w", err)).After(soon(time.Second))
}

// askForText has the voter send a text of our choosing from their phone.
func (s *Server) askForText(session *token.Session, next *channelsapi.Verification, from sms.Number) error {
	if s.config.InboundNumber == "" {
		return problem.Wrap(problem.Unavailable, errors.New("no inbound_number is configured")).After(soon(time.Minute))
	}
	text := sms.NewText(rand.Reader)
	session.Await = verification.KeyOf(s.notices, from, text)
	link := smsLink(s.config.InboundNumber, text)
	next.Number, next.Text, next.SmsLink = &s.config.InboundNumber, &text, &link
	return nil
}

func channel(body *channelsapi.SessionRequest) string {
	if body.Channel != nil {
		return string(*body.Channel)
	}
	return "web"
}

// lang is the voter's language, or the first of the poll's.
func lang(body *channelsapi.SessionRequest, p *publicPoll) string {
	if body.Lang != nil {
		return string(*body.Lang)
	}
	if len(p.manifest.Languages) > 0 {
		return p.manifest.Languages[0]
	}
	return "en"
}
