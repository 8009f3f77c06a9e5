// Package voter goes a voter's way through the Public Channels API, with the generated client, and
// texts from the simulated phone.
package voter

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/poll"
)

// Person is somebody with an identity number and a phone. N is its label in histories.
type Person struct {
	N     string
	HKID  string
	Phone string
}

// NewPerson makes up the n-th person of a run; different runs use different people.
func NewPerson(run, n int) Person {
	id := run*1000 + n
	return Person{N: fmt.Sprintf("v%d", id), HKID: hkid(id), Phone: fmt.Sprintf("+852%d", 62_700_000+id%3_000_000)}
}

// hkid computes the check digit: weights 9 to 2, a space before a one-letter prefix counts 36.
func hkid(n int) string {
	letter, digits := n/1_000_000%26, n%1_000_000
	sum := 36*9 + (letter+10)*8
	for i, rest := 0, digits; i < 6; i++ {
		sum += rest % 10 * (i + 2)
		rest /= 10
	}
	return fmt.Sprintf("%c%06d(%c)", 'A'+rune(letter), digits, "0123456789A"[(11-sum%11)%11])
}

// World is where voters vote.
type World struct {
	// Origin is where the API is, also for who reads it by hand.
	Origin   string
	API      *channelsapi.ClientWithResponses
	Phone    string
	HTTP     *http.Client
	Manifest *poll.Manifest
}

// Problem is a problem document as a Go error.
type Problem struct {
	Status int
	Code   string
	Effect string
	// After is the wait that the answer asks for; 0: none.
	After time.Duration
	// Ticket is a place in the waiting room, to begin with instead of a challenge; empty: none.
	Ticket string
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s (%s)", p.Status, p.Code, p.Effect) }

// NotApplied is whether the answer promises that nothing was recorded.
func (p *Problem) NotApplied() bool { return p.Effect == "not_applied" }

// NewWorld connects to an instance and reads the poll's manifest, checked against its own key.
func NewWorld(ctx context.Context, voters, phone, pollID string, client *http.Client) (*World, error) {
	api, err := channelsapi.NewClientWithResponses(voters, channelsapi.WithHTTPClient(client))
	if err != nil {
		return nil, err
	}
	w := &World{Origin: voters, API: api, Phone: phone, HTTP: client}
	res, err := api.GetPollWithResponse(ctx, pollID)
	if err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault))
	}
	w.Manifest = &poll.Manifest{}
	var doc struct{ Document json.RawMessage }
	if err := errors.Join(json.Unmarshal(res.Body, &doc), json.Unmarshal(doc.Document, w.Manifest)); err != nil {
		return nil, err
	}
	return w, nil
}

func problemOf(res *http.Response, p *channelsapi.Problem) error {
	if p == nil {
		return fmt.Errorf("an answer that is no problem document: %s", res.Status)
	}
	after, _ := strconv.Atoi(res.Header.Get("Retry-After")) // none: 0
	out := &Problem{Status: p.Status, Code: string(p.Code), Effect: string(p.Effect), After: time.Duration(after) * time.Second}
	if p.WaitingRoom != nil {
		out.Ticket = p.WaitingRoom.Ticket
	}
	return out
}

func bearer(token string) channelsapi.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

// Identify takes step 1.
func (w *World) Identify(ctx context.Context, p Person) (*channelsapi.Session, error) {
	issued, err := w.Challenge(ctx)
	if err != nil {
		return nil, err
	}
	solved, err := challenge.Solve(ctx, issued)
	if err != nil {
		return nil, err
	}
	return w.Begin(ctx, p, solved)
}

// Text sends an SMS from the person's handset.
func (w *World) Text(ctx context.Context, p Person, to, text string) error {
	body, err := json.Marshal(map[string]string{"from": p.Phone, "to": to, "text": text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Phone+"/sms", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := w.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the simulated phone answered %s", res.Status)
	}
	return nil
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// Code waits for an SMS on the person's handset and returns the code in it.
func (w *World) Code(ctx context.Context, p Person) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Phone+"/sms?wait=10&to="+url.QueryEscape(p.Phone), nil)
	if err != nil {
		return "", err
	}
	res, err := w.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var got struct{ Messages []struct{ Text string } }
	if err := json.Unmarshal(body, &got); err != nil {
		return "", err
	}
	if len(got.Messages) == 0 {
		return "", errors.New("no SMS came")
	}
	code := sixDigits.FindString(got.Messages[len(got.Messages)-1].Text)
	if code == "" {
		return "", errors.New("no code in the SMS")
	}
	return code, nil
}

// Verify takes step 2 in the poll's own mode and returns the verified token.
func (w *World) Verify(ctx context.Context, p Person, s *channelsapi.Session) (string, error) {
	if w.Manifest.Verification.Mode == poll.VoterReceives {
		code, err := w.Code(ctx, p)
		if err != nil {
			return "", err
		}
		res, err := w.API.CheckCodeWithResponse(ctx, channelsapi.CodeRequest{Code: code}, bearer(s.AccessToken))
		if err != nil {
			return "", err
		}
		if res.JSON200 == nil {
			return "", problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault)
		}
		return res.JSON200.AccessToken, nil
	}
	if err := w.Text(ctx, p, *s.Verification.Number, *s.Verification.Text); err != nil {
		return "", err
	}
	return w.Await(ctx, s.AccessToken)
}

// Await holds a long poll until the phone is verified.
func (w *World) Await(ctx context.Context, token string) (string, error) {
	res, err := w.API.AwaitVerificationWithResponse(ctx, bearer(token))
	if err != nil {
		return "", err
	}
	if res.JSON200 == nil {
		return "", problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault)
	}
	if res.JSON200.Verified == nil {
		return "", errors.New("still waiting")
	}
	return res.JSON200.Verified.AccessToken, nil
}

// Cast takes step 3.
func (w *World) Cast(ctx context.Context, token, key string, sealed []byte) (*ballotapi.Receipt, int, error) {
	res, err := w.API.CastBallotWithResponse(ctx, &channelsapi.CastBallotParams{IdempotencyKey: &key},
		channelsapi.BallotRequest{Sealed: base64.RawURLEncoding.EncodeToString(sealed)}, bearer(token))
	if err != nil {
		return nil, 0, err
	}
	if res.JSON201 == nil {
		return nil, res.StatusCode(), problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault)
	}
	var got struct{ Receipt ballotapi.Receipt }
	if err := json.Unmarshal(res.Body, &got); err != nil {
		return nil, res.StatusCode(), err
	}
	return &got.Receipt, res.StatusCode(), nil
}

// Answers is a valid ballot drawn at random.
func (w *World) Answers() ballot.Answers {
	answers := make(ballot.Answers, len(w.Manifest.Questions))
	for i, q := range w.Manifest.Questions {
		answers[i] = []string{}
		picks := q.Min + rand.IntN(q.Max-q.Min+1)
		for _, n := range rand.Perm(len(q.Options)) {
			o := q.Options[n]
			if len(answers[i]) == picks {
				break
			}
			if o.Kind == poll.Abstain || o.Kind == poll.Blank {
				if len(answers[i]) == 0 && picks > 0 {
					answers[i] = []string{o.ID}
					break
				}
				continue
			}
			answers[i] = append(answers[i], o.ID)
		}
	}
	return answers
}

// Patiently calls do until it succeeds, a problem is final, or the time is up: what a page does while
// a server is away.
func Patiently[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for {
		got, err := do()
		if err == nil || ctx.Err() != nil {
			return got, err
		}
		if p, ok := errors.AsType[*Problem](err); ok && p.Status < 500 && p.Status != http.StatusTooManyRequests {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-time.After(time.Duration(20+rand.IntN(60)) * time.Millisecond):
		}
	}
}
