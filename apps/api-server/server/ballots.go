package server

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
)

var (
	errKeyMissing      = problem.New(problem.IdempotencyKeyMissing)
	errKeyInvalid      = problem.New(problem.IdempotencyKeyInvalid)
	errBallotInvalid   = problem.New(problem.BallotInvalid).At("/sealed")
	errBallotWrongSize = problem.New(problem.BallotWrongSize).At("/sealed")
)

// pointSize is an uncompressed P-256 point, the encapsulated key a sealed ballot begins with.
const pointSize = 65

// recorded is a receipt on its way out. The contract's type and the API's have the same JSON form
// (a test holds them to it), so it is written as it came.
type recorded struct {
	Receipt *ballotapi.Receipt `json:"receipt"`
}

// VisitCastBallotResponse writes it.
func (r recorded) VisitCastBallotResponse(w http.ResponseWriter) error {
	text, err := r.json()
	if err != nil {
		return fmt.Errorf("couldn't write a receipt: %w", err)
	}
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(text)
	return err
}

var jsonType = []string{"application/json"}

// json is what encoding/json writes, in a third of its time: every vote has one.
func (r recorded) json() ([]byte, error) {
	absent := func(b []byte) bool { return b == nil }
	if r.Receipt == nil || !literal(r.Receipt.Poll) || !literal(r.Receipt.Code) || !literal(r.Receipt.Batch) ||
		r.Receipt.Path == nil || absent(r.Receipt.Leaf) || slices.ContainsFunc(r.Receipt.Path, absent) {
		return json.Marshal(r)
	}
	b := make([]byte, 0, 256+len(r.Receipt.Batch)+48*len(r.Receipt.Path))
	b = append(append(b, `{"receipt":{"poll":"`...), r.Receipt.Poll...)
	b = append(append(b, `","code":"`...), r.Receipt.Code...)
	b = append(b, `","leaf":"`...)
	b = base64.StdEncoding.AppendEncode(b, r.Receipt.Leaf)
	b = strconv.AppendInt(append(b, `","index":`...), r.Receipt.Index, 10)
	b = append(b, `,"path":[`...)
	for i, hash := range r.Receipt.Path {
		if i > 0 {
			b = append(b, ',')
		}
		b = base64.StdEncoding.AppendEncode(append(b, '"'), hash)
		b = append(b, '"')
	}
	b = append(append(b, `],"batch":"`...), r.Receipt.Batch...)
	return append(b, `"}}`...), nil
}

// literal says whether a text is the same in JSON: codes, poll ids and signatures are.
func literal(text string) bool {
	for i := range len(text) {
		if b := text[i]; b != '-' && b != '_' && b != '.' && (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

// CastBallot is step 3. Whether the poll is open and whether the voter has voted is decided in the
// ballot box alone: even a closed poll gives the same receipt again for the same ballot.
func (a api) CastBallot(ctx context.Context, r channelsapi.CastBallotRequestObject) (channelsapi.CastBallotResponseObject, error) {
	c := routed(ctx)
	session := sessionOf(c)
	key := r.Params.IdempotencyKey
	switch {
	case key == nil || *key == "":
		return nil, errKeyMissing
	case !idempotencyKey(*key):
		return nil, errKeyInvalid
	}
	p, err := a.polls.get(ctx, session.Poll)
	if err != nil {
		return nil, err
	}
	sealed, err := readBallot(r.Body.Sealed, p.sealedSize)
	if err != nil {
		return nil, err
	}
	if err := a.limit(c, ratelimit.Cast, ratelimit.Subject{Client: client(c), Voter: session.Voter, Poll: session.Poll}); err != nil {
		return nil, err
	}
	took := max(0, a.clock().Sub(session.Started))
	waiting, cancel := context.WithTimeout(c.Request.Context(), a.config.CastTimeout)
	defer cancel()
	outcomes, err := a.deps.Caster.Cast(waiting, []ballotapi.Ballot{{
		Poll:    session.Poll,
		Voter:   session.Voter,
		Sealed:  sealed,
		Key:     *key,
		Channel: ballotapi.Channel(session.Channel),
		Took:    took,
	}})
	done, err := outcomeOf(outcomes, err)
	if err != nil {
		a.metrics.casts.WithLabelValues(session.Poll, string(problem.From(err).Code)).Inc()
		return nil, err
	}
	a.metrics.casts.WithLabelValues(session.Poll, "recorded").Inc()
	if took < toll.TooFast {
		a.metrics.hurried.Inc()
		a.toll.Hurried(ratelimit.NetworkOf(client(c)), tollSession(session, p))
	}
	return recorded{done}, nil
}

// outcomeOf reads what became of the one ballot. A call that failed says nothing about it.
func outcomeOf(outcomes []ballotapi.Outcome, err error) (*ballotapi.Receipt, error) {
	if err == nil && len(outcomes) != 1 {
		err = fmt.Errorf("couldn't read the outcome: there are %d of them for one ballot", len(outcomes))
	}
	if err == nil && outcomes[0].Receipt == nil && outcomes[0].Err == nil {
		err = errors.New("couldn't read the outcome: it holds neither a receipt nor an error")
	}
	if err != nil {
		return nil, problem.Wrap(problem.OutcomeUnknown, err).After(soon(time.Second))
	}
	if refused := outcomes[0].Err; refused != nil {
		p := problem.From(refused)
		if p.Row().Status == http.StatusServiceUnavailable && p.RetryAfter == 0 {
			p = p.After(soon(time.Second))
		}
		return nil, p
	}
	return outcomes[0].Receipt, nil
}

// readBallot reads base64url without padding, in its one canonical form, of exactly the size.
func readBallot(text string, size int) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil, base64.RawURLEncoding.EncodedLen(len(sealed)) != len(text): // the decoder skips line ends
		return nil, errBallotInvalid
	case len(sealed) != size:
		return nil, errBallotWrongSize.Because("Want %d bytes, there are %d.", size, len(sealed))
	}
	if _, err := ecdh.P256().NewPublicKey(sealed[:pointSize]); err != nil {
		return nil, errBallotInvalid.Because("It does not begin with a P-256 point.")
	}
	return sealed, nil
}

// idempotencyKey checks the form: 16 to 64 of A-Z a-z 0-9 - _.
func idempotencyKey(key string) bool {
	if len(key) < 16 || len(key) > 64 {
		return false
	}
	return literal(key) && !strings.Contains(key, ".")
}
