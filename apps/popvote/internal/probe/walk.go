package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	chance "math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
)

// Step is one thing that a voter does.
type Step string

// The steps, in their order.
const (
	Connect   Step = "connect" // TCP, and TLS with a certificate that browsers would take
	Page      Step = "page"
	Polls     Step = "polls"
	Manifest  Step = "manifest"
	Handset   Step = "handset" // a simulated phone is there
	Challenge Step = "challenge"
	Work      Step = "work" // the proof of work, which this machine does
	Session   Step = "session"
	Phone     Step = "phone"
	Cast      Step = "cast" // and the receipt proves it
)

// patience is how long one step may take: more than a page would wait for anything but an SMS.
const patience = 10 * time.Second

// Walk is what became of one synthetic voter.
type Walk struct {
	Edge string `json:"edge"`
	// Steps are those that succeeded.
	Steps []Taken `json:"steps"`
	// Failed is the step that did not, and Code why; empty if all did.
	Failed Step   `json:"failed,omitempty"`
	Code   string `json:"code,omitempty"`
	Err    error  `json:"-"`

	expires time.Time // of the certificate; zero without one
}

// Taken is a step and how long it took.
type Taken struct {
	Step    Step    `json:"step"`
	Seconds float64 `json:"seconds"`
}

// visit is a walk that is under way.
type visit struct {
	*Prober
	edge   Edge
	walk   *Walk
	client *http.Client
	world  *voter.World

	person  voter.Person
	issued  []byte
	solved  string
	session *channelsapi.Session
	token   string
}

type action struct {
	step Step
	do   func(context.Context) error
}

// walk goes one voter's way, as far as it may.
func (p *Prober) walk(ctx context.Context, e Edge) *Walk {
	v := &visit{Prober: p, edge: e, walk: &Walk{Edge: e.Name}}
	transport := v.transport()
	defer transport.CloseIdleConnections()
	v.client = &http.Client{Transport: transport}
	arriving := []action{{Connect, v.connect}, {Page, v.page}, {Polls, v.polls}}
	if p.config.Poll == "" {
		v.take(ctx, append(arriving, action{Challenge, v.challenge}, action{Session, v.refused})...)
		return v.walk
	}
	knowing := []action{{Manifest, v.manifest}, {Handset, v.handset}}
	voting := []action{{Challenge, v.challenge}, {Work, v.work}, {Session, v.begin}, {Phone, v.phone}, {Cast, v.cast}}
	v.take(ctx, slices.Concat(arriving, knowing, voting)...)
	if v.walk.Failed == Cast && v.walk.Code == string(problem.AlreadyVoted) {
		// Made up at random, somebody is made up twice in the end. Twice running is a fault.
		before := len(arriving) + len(knowing)
		v.walk.Steps, v.walk.Failed, v.walk.Code, v.walk.Err = v.walk.Steps[:before], "", "", nil
		v.take(ctx, voting...)
	}
	return v.walk
}

// take takes steps up to the first that fails.
func (v *visit) take(ctx context.Context, actions ...action) {
	for _, a := range actions {
		began := time.Now()
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return a.do(ctx)
		}()
		if err != nil {
			v.walk.Failed, v.walk.Code, v.walk.Err = a.step, codeOf(err), err
			return
		}
		v.walk.Steps = append(v.walk.Steps, Taken{a.step, time.Since(began).Seconds()})
	}
}

func (v *visit) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if v.edge.Address != "" {
		address = v.edge.Address
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// page fetches the voter's page.
func (v *visit) page(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.config.Origin.String()+"/", nil)
	if err != nil {
		return err
	}
	res, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("couldn't read the page: %w", err)
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode != http.StatusOK || kind != "text/html" || !strings.Contains(string(body), "</html>") {
		return fmt.Errorf("%s with %d bytes of %q is no page", res.Status, len(body), kind)
	}
	return nil
}

// polls reads the list, and takes the first poll that is open for who may not vote.
func (v *visit) polls(ctx context.Context) error {
	api, err := channelsapi.NewClientWithResponses(v.config.Origin.String(), channelsapi.WithHTTPClient(v.client))
	if err != nil {
		return err
	}
	v.world = &voter.World{Origin: v.config.Origin.String(), API: api}
	list, err := v.world.Polls(ctx)
	if err != nil {
		return err
	}
	for _, p := range list.Polls {
		if p.State == channelsapi.PollState(poll.Open) {
			v.world.Manifest = &poll.Manifest{ID: p.Id}
			break
		}
	}
	return nil
}

// manifest reads the poll to vote in, and makes sure that it may.
func (v *visit) manifest(ctx context.Context) error {
	world, err := voter.NewWorld(ctx, v.config.Origin.String(), "", v.config.Poll, v.client)
	if err != nil {
		return err
	}
	// The phone is not behind the edge.
	world.HTTP, v.world = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, world
	switch m := world.Manifest; {
	case m.Kind != poll.Rehearsal && m.Kind != poll.Demo:
		return &fault{"poll_counts", fmt.Errorf("the votes of %s count (its kind is %q): a prober may not vote there", m.ID, m.Kind)}
	case m.State != poll.Open:
		return &fault{"poll_not_open", fmt.Errorf("%s is not open, but %s", m.ID, m.State)}
	}
	return nil
}

// handset picks a phone for a made-up person. Without one that is simulated no session begins: the server might
// send a real SMS to whoever has that number.
func (v *visit) handset(ctx context.Context) error {
	phones, err := v.deps.Phones()
	if err != nil || len(phones) == 0 {
		return &fault{"no_phone", errors.Join(errors.New("no simulated phone is known"), err)}
	}
	v.world.Phone = phones[chance.IntN(len(phones))]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.world.Phone+"/sms?to="+url.QueryEscape(nobody.Phone), nil)
	if err != nil {
		return err
	}
	res, err := v.world.HTTP.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // whose messages there are is not the question
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulated phone answered %s", res.Status)
	}
	return nil
}

func (v *visit) challenge(ctx context.Context) (err error) {
	v.issued, err = v.world.Challenge(ctx)
	return err
}

func (v *visit) work(ctx context.Context) (err error) {
	v.solved, err = challenge.Solve(ctx, v.issued)
	return err
}

// nobody has a wrong check digit. The server refuses it before it asks for anything, counts anything or sends
// an SMS, and without looking at the proof of work.
var nobody = voter.Person{HKID: "A123456(4)", Phone: "+85262700000"}

// refused shows that sessions begin where a poll is open: by one that must not.
func (v *visit) refused(ctx context.Context) error {
	if v.world.Manifest == nil {
		return nil // nobody could vote now
	}
	_, err := v.world.Begin(ctx, nobody, "none")
	if p, ok := errors.AsType[*voter.Problem](err); ok && p.Code == string(problem.IdentityInvalid) {
		return nil
	}
	if err == nil {
		err = errors.New("an identity number with a wrong check digit was taken")
	}
	return err
}

func (v *visit) begin(ctx context.Context) (err error) {
	v.person = voter.NewPerson(chance.IntN(26_000), chance.IntN(1000))
	v.session, err = v.world.Begin(ctx, v.person, v.solved)
	return err
}

func (v *visit) phone(ctx context.Context) (err error) {
	v.token, err = v.world.Verify(ctx, v.person, v.session)
	return err
}

// cast votes, and holds the receipt against the ballot as the page does.
func (v *visit) cast(ctx context.Context) error {
	m := v.world.Manifest
	sealed, err := ballot.Seal(m, v.world.Answers())
	if err != nil {
		return err
	}
	got, _, err := v.world.Cast(ctx, v.token, rand.Text(), sealed)
	if err != nil {
		return err
	}
	if err := receipt.VerifyBallot(*got, sealed, m.SigningKey); err != nil {
		return &fault{"receipt", fmt.Errorf("the receipt proves nothing: %w", err)}
	}
	return nil
}

// fault is an error that has a code of its own.
type fault struct {
	code  string
	cause error
}

func (f *fault) Error() string { return f.cause.Error() }
func (f *fault) Unwrap() error { return f.cause }

// codeOf is one of a few words for an error, fit for a label: a problem's code only if it is one of ours,
// whatever stands between.
func codeOf(err error) string {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.code
	}
	if p, ok := errors.AsType[*voter.Problem](err); ok {
		if known := problem.Lookup(problem.Code(p.Code)); string(known.Code) == p.Code {
			return p.Code
		}
		return "answer"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate"
	}
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNetwork && network.Timeout():
		return "timeout"
	case isNetwork, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "no_connection"
	default:
		return "answer"
	}
}
