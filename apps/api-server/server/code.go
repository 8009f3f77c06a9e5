package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

const (
	codeLength = 6
	// smsRetry is when sending may work again.
	smsRetry = 5 * time.Second
	// smsRetryMost is the longest wait for a provider that a voter is told: others may take its place.
	smsRetryMost = time.Minute
	// sendTimeout bounds one sending: the voter is waiting.
	sendTimeout = 8 * time.Second
)

// codeOf is the session's six-digit code: chance from the session's id under our secret. It is the
// same whenever it is sent again, so an SMS that comes late is still right, and no server needs to
// remember it.
func (s *Server) codeOf(session string) string {
	sum := s.mac("code", session, "")
	return fmt.Sprintf("%0*d", codeLength, binary.BigEndian.Uint64(sum[:])%1_000_000)
}

// codeMAC is what the board compares. Six digits are few, so the key matters: the board's contents
// alone say nothing.
func (s *Server) codeMAC(session, code string) [32]byte { return s.mac("mac", session, code) }

// conversationOf is what the gateway calls the session's messages. It is the same at every server and says
// nothing: not which session it was, nor whose.
func (s *Server) conversationOf(session string) string {
	sum := s.mac("conversation", session, "")
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *Server) mac(use, session, code string) [32]byte {
	h := hmac.New(sha256.New, s.codes[:])
	h.Write([]byte(use + "\x00" + session + "\x00" + code))
	return [32]byte(h.Sum(nil))
}

// callAfter is how many SMS come before a call, which costs more, and which a mailbox may take.
const callAfter = 2

// sendCode sends the session's code if that is allowed now, or calls, and fills in what may be done next.
func (s *Server) sendCode(ctx context.Context, session *token.Session, kind sms.Kind, next *channelsapi.Verification, who ratelimit.Subject) error {
	if s.deps.Sender == nil {
		return problem.Wrap(problem.SMSUnavailable, errors.New("no sender is configured")).After(soon(time.Minute))
	}
	now := s.clock()
	limits := verification.CodeLimits{
		Tries:      s.config.CodeTries,
		SendDelays: s.config.SendDelays,
		CheckDelay: s.config.CheckDelay,
		TTL:        session.Expires.Sub(now),
	}
	if kind == sms.ByCall {
		limits.After = callAfter
	}
	if err := s.limit(routed(ctx), ratelimit.Send, who); err != nil {
		return err
	}
	code := s.codeOf(session.ID)
	state, err := s.deps.Board.NewCode(ctx, session.ID, s.codeMAC(session.ID, code), limits, now)
	if err != nil {
		s.giveBack(ctx, ratelimit.Send, who)
		return boardDown(err)
	}
	s.fillIn(next, state)
	switch state.Result {
	case verification.Accepted:
	case verification.TooSoon:
		s.giveBack(ctx, ratelimit.Send, who)
		return &withVerification{problem.New(problem.ResendTooSoon).After(max(state.NextSend, time.Second)), *next}
	default:
		s.giveBack(ctx, ratelimit.Send, who)
		return &withVerification{problem.New(problem.ResendExhausted), *next}
	}

	text := codeText(session.Lang, code, s.smsHost, limits.TTL)
	if kind == sms.ByCall {
		text = spokenText(session.Lang, code)
	}
	// The sending goes on if the voter's connection breaks: what was counted should arrive.
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	err = s.deps.Sender.Send(sending, sms.Message{
		ID:       newSessionID(),
		Kind:     kind,
		To:       sms.Number(session.SealedPhone),
		Text:     text,
		Lang:     session.Lang,
		Deadline: session.Expires,

		Conversation: s.conversationOf(session.ID),
		Attempt:      max(0, state.Sends-1),
	})
	if err == nil || errors.Is(err, sms.ErrUnknown) {
		return nil // it may have gone out; the code is good if it did, and may be sent again
	}
	if undo := s.deps.Board.Unsent(context.WithoutCancel(ctx), session.ID); undo != nil {
		err = errors.Join(err, undo)
	}
	if errors.Is(err, sms.ErrPermanent) {
		// Counted all the same: who names such numbers one after the other is no voter.
		return problem.Wrap(problem.PhoneUnreachable, fmt.Errorf("couldn't send a code: %w", err))
	}
	s.giveBack(ctx, ratelimit.Send, who)
	retry := smsRetry
	if throttled, ok := errors.AsType[*sms.Throttled](err); ok {
		retry = min(smsRetryMost, max(retry, throttled.After))
	}
	return problem.Wrap(problem.SMSUnavailable, fmt.Errorf("couldn't send a code: %w", err)).After(soon(retry))
}

// fillIn says what the voter may do next, with the waits rounded up.
func (s *Server) fillIn(v *channelsapi.Verification, state verification.CodeState) {
	length, tries := codeLength, state.TriesLeft
	v.CodeLength, v.TriesLeft = &length, &tries
	v.NextSendSeconds, v.NextCheckSeconds = wait(state.NextSend), wait(state.NextCheck)
	if s.config.Calls && state.Sends >= callAfter {
		v.NextCallSeconds = wait(state.NextSend)
	}
}

func wait(d time.Duration) *int {
	if d < 0 {
		return nil
	}
	seconds := waitSeconds(d)
	return &seconds
}

// codeSession returns the session and its poll for the endpoints of voter_receives.
func (s *Server) codeSession(ctx context.Context) (*token.Session, *publicPoll, channelsapi.Verification, error) {
	session := sessionOf(routed(ctx))
	p, err := s.polls.get(ctx, session.Poll)
	if err != nil {
		return nil, nil, channelsapi.Verification{}, err
	}
	if session.SealedPhone == "" {
		return nil, nil, channelsapi.Verification{}, problem.New(problem.WrongMode)
	}
	return session, p, channelsapi.Verification{
		Mode:     channelsapi.VerificationMode(poll.VoterReceives),
		Deadline: session.Expires,
		Seconds:  leftSeconds(session.Expires.Sub(s.clock())),
	}, nil
}

// CheckCode compares the voter's code. The try is counted before it is compared.
func (a api) CheckCode(ctx context.Context, r channelsapi.CheckCodeRequestObject) (channelsapi.CheckCodeResponseObject, error) {
	session, p, next, err := a.codeSession(ctx)
	if err != nil {
		return nil, err
	}
	code, ok := readCode(r.Body.Code)
	if !ok {
		return nil, problem.New(problem.InvalidField).At("/code").Because("A code has %d digits.", codeLength)
	}
	if err := a.canSeal(); err != nil {
		return nil, err
	}
	c := routed(ctx)
	if err := a.limit(c, ratelimit.Check, ratelimit.Subject{Client: client(c), Phone: session.Phone, Poll: session.Poll}); err != nil {
		return nil, err
	}
	state, err := a.deps.Board.TryCode(ctx, session.ID, a.codeMAC(session.ID, code), a.clock())
	if err != nil {
		return nil, boardDown(err)
	}
	a.metrics.codes.WithLabelValues(string(state.Result)).Inc()
	a.guessing.count(ctx, state.Result)
	a.fillIn(&next, state)
	refused := func(p *problem.Error) error { return &withVerification{p, next} }
	switch state.Result {
	case verification.Right:
		if a.deps.Confirmer != nil {
			a.deps.Confirmer.Confirm(a.conversationOf(session.ID))
		}
		verified, err := a.verified(ctx, c.Writer.Header(), client(c), session, p)
		return channelsapi.CheckCode200JSONResponse(verified), err
	case verification.Wrong:
		return nil, refused(problem.New(problem.CodeWrong).At("/code"))
	case verification.TooSoon:
		return nil, refused(problem.New(problem.CodeTooSoon).After(state.NextCheck))
	case verification.Exhausted:
		return nil, refused(problem.New(problem.CodeExhausted))
	default:
		return nil, refused(problem.New(problem.CodeExpired))
	}
}

// readCode reads six digits the way people type them: full width, with spaces or a hyphen.
func readCode(typed string) (string, bool) {
	code := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, norm.NFKC.String(typed))
	return code, len(code) == codeLength && strings.Trim(code, "0123456789") == ""
}

// ResendCode sends the code again, to the number inside the token.
func (a api) ResendCode(ctx context.Context, _ channelsapi.ResendCodeRequestObject) (channelsapi.ResendCodeResponseObject, error) {
	next, err := a.again(ctx, sms.ByText)
	if err != nil {
		return nil, err
	}
	return channelsapi.ResendCode200JSONResponse(next), nil
}

// CallCode has the same code spoken, to the same number.
func (a api) CallCode(ctx context.Context, _ channelsapi.CallCodeRequestObject) (channelsapi.CallCodeResponseObject, error) {
	if !a.config.Calls {
		return nil, problem.New(problem.NotFound)
	}
	next, err := a.again(ctx, sms.ByCall)
	if err != nil {
		return nil, err
	}
	return channelsapi.CallCode200JSONResponse(next), nil
}

// again sends the session's code once more, if that may be.
func (a api) again(ctx context.Context, kind sms.Kind) (channelsapi.Verification, error) {
	session, p, next, err := a.codeSession(ctx)
	if err != nil {
		return next, err
	}
	if _, err := a.polls.open(ctx, session.Poll); err != nil {
		return next, err // it costs money; a vote that cannot be cast is not worth it
	}
	if err := a.canSeal(); err != nil {
		return next, err
	}
	_, phoneKey, err := a.polls.tagKeys(ctx, p)
	if err != nil {
		return next, err
	}
	who := ratelimit.Subject{
		Client: client(routed(ctx)), Voter: session.Voter, Phone: session.Phone,
		Block: identity.TagBlock(phoneKey, sms.Number(session.SealedPhone)), Poll: session.Poll,
	}
	err = a.sendCode(ctx, session, kind, &next, who)
	return next, err
}
