package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/token"
)

// hkid is the n-th made-up identity number, with a valid check digit.
func hkid(n int64) string {
	letter := n / 1_000_000 % 26
	digits := n % 1_000_000
	sum := 36*9 + (letter+10)*8 // a space counts 36 (one-letter prefixes have one in front)
	weight, rest := int64(2), digits
	for range 6 {
		sum += rest % 10 * weight
		rest /= 10
		weight++
	}
	check := "0123456789A"[(11-sum%11)%11]
	return fmt.Sprintf("%c%06d%c", 'A'+rune(letter), digits, check)
}

// mobile is the n-th made-up mobile number.
func mobile(n int64) string { return "+852" + strconv.FormatInt(62_700_000+n%3_000_000, 10) }

// randomID is a fresh Idempotency-Key or session id.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// answersOf picks a valid ballot: the n-th voter takes the n-th option of each question.
func answersOf(m *poll.Manifest, n int64) ballot.Answers {
	answers := make(ballot.Answers, len(m.Questions))
	for i, q := range m.Questions {
		answers[i] = []string{q.Options[n%int64(len(q.Options))].ID}
	}
	return answers
}

func castRequest(host, path, accessToken string, sealed []byte) []byte {
	body := make([]byte, 0, len(sealed)*4/3+16)
	body = append(body, `{"sealed":"`...)
	body = base64.RawURLEncoding.AppendEncode(body, sealed)
	body = append(body, `"}`...)
	return post(host, path, "Authorization: Bearer "+accessToken+"\r\nIdempotency-Key: "+randomID()+"\r\n", body)
}

// prepareCasts makes requests of distinct verified voters, each with a ballot really sealed. It does
// what the first two steps and the voters' own devices would have done.
func prepareCasts(ctx context.Context, host string, m *poll.Manifest, codec *token.Codec, count int64, done func(int64)) ([][]byte, error) {
	requests := make([][]byte, count)
	var next, finished atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := next.Add(1) - 1; n < count && ctx.Err() == nil; n = next.Add(1) - 1 {
				request, err := prepareCast(host, m, codec, n)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				requests[n] = request
				finished.Add(1)
			}
		})
	}
	stop := make(chan struct{})
	go func() { all.Wait(); close(stop) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			done(finished.Load())
		case <-stop:
			return requests, errors.Join(failed, ctx.Err())
		}
	}
}

func prepareCast(host string, m *poll.Manifest, codec *token.Codec, n int64) ([]byte, error) {
	sealed, err := ballot.Seal(m, answersOf(m, n))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := token.Session{
		ID: randomID(), Poll: m.ID, Step: token.Verified, Channel: "web", Lang: "en",
		Started: now.Add(-40 * time.Second), Expires: now.Add(time.Hour),
	}
	_, _ = rand.Read(s.Voter[:])
	_, _ = rand.Read(s.Phone[:])
	accessToken, err := codec.Seal(s)
	if err != nil {
		return nil, err
	}
	return castRequest(host, "/v1/ballots", accessToken, sealed), nil
}

// caster is a client that only casts what was prepared.
func caster(to face, requests [][]byte) worker {
	return func() (work, func()) {
		c := dial(to.address, to.tls)
		_ = c.connect() // or else the first request does
		return func(n int64) string {
			status, body, err := c.do(requests[n])
			return outcome(status, body, err, 201)
		}, c.hangUp
	}
}

// outcome names what became of a request.
func outcome(status int, body []byte, err error, want int) string {
	switch {
	case err != nil:
		return "broken connection"
	case status == want:
		return ok
	}
	var p struct{ Code string }
	if json.Unmarshal(body, &p) == nil && p.Code != "" {
		return p.Code
	}
	return "status " + strconv.Itoa(status)
}

// journey is what voters' whole ways need.
type journey struct {
	api, phone string
	manifest   *poll.Manifest
	// first is the number of the phase's first voter: no two phases share any.
	first int64
}

// client walks one voter after the other through all three steps.
func (j *journey) client() (work, func()) {
	api, phone := dial(j.api, nil), dial(j.phone, nil)
	do := func(n int64) string { return j.walk(api, phone, j.first+n) }
	return do, func() { api.hangUp(); phone.hangUp() }
}

func (j *journey) walk(api, phone *conn, n int64) string {
	status, body, err := api.do(get(j.api, "/v1/challenge", ""))
	if o := outcome(status, body, err, 200); o != ok {
		return "challenge: " + o
	}
	solved, err := solve(body)
	if err != nil {
		return "challenge: not solved"
	}
	number := mobile(n)
	status, body, err = api.do(post(j.api, "/v1/polls/"+j.manifest.ID+"/sessions", "", fmt.Appendf(nil,
		`{"identity":{"type":"hkid","number":"%s"},"phone":"%s","lang":"en","challenge":"%s"}`, hkid(n), number, solved)))
	if o := outcome(status, body, err, 201); o != ok {
		return "session: " + o
	}
	var session struct {
		AccessToken  string `json:"access_token"`
		Verification struct{ Number, Text string }
	}
	if err := json.Unmarshal(body, &session); err != nil {
		return "session: unreadable"
	}
	// The stream is open before the SMS is sent, as a waiting page's is.
	stream := get(j.api, "/v1/verification", "Accept: text/event-stream\r\nAuthorization: Bearer "+session.AccessToken+"\r\n")
	if err := api.send(stream); err != nil {
		api.hangUp()
		return "verification: broken connection"
	}
	status, body, err = phone.do(post(j.phone, "/sms", "", fmt.Appendf(nil,
		`{"from":"%s","to":"%s","text":"%s"}`, number, session.Verification.Number, session.Verification.Text)))
	if err != nil || status/100 != 2 {
		api.hangUp()
		return "sms: " + outcome(status, body, err, 0)
	}
	status, body, err = api.receive()
	if o := outcome(status, body, err, 200); o != ok {
		return "verification: " + o
	}
	verified, found := field(body, `"access_token":"`)
	if !found || !bytes.Contains(body, []byte("event: verified")) {
		return "verification: no event"
	}
	sealed, err := ballot.Seal(j.manifest, answersOf(j.manifest, n))
	if err != nil {
		return "ballot: not sealed"
	}
	status, body, err = api.do(castRequest(j.api, "/v1/ballots", verified, sealed))
	if o := outcome(status, body, err, 201); o != ok {
		return "cast: " + o
	}
	return ok
}

// field finds a JSON string that needs no unescaping.
func field(body []byte, before string) (string, bool) {
	_, rest, found := bytes.Cut(body, []byte(before))
	value, _, ended := bytes.Cut(rest, []byte(`"`))
	return string(value), found && ended
}
