// Package wire is what providers that speak HTTP have in common: asking them so that it is known what may
// have gone out, and believing what they tell us.
package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/popvote/popvote/libs/sms"
)

const (
	// maxAnswer is far above what any provider answers to one message.
	maxAnswer = 64 << 10
	// maxAsk is how long a provider may take, whatever whoever asks would wait: the others come after it.
	maxAsk = 8 * time.Second
	// maxRetryAfter bounds the wait that a provider asks for: it must not be able to switch itself off for a day.
	maxRetryAfter = time.Hour
)

// Client asks a provider. Safe for concurrent use.
type Client struct {
	http  http.Client
	clock func() time.Time
}

// NewClient returns one that asks as the given one does, but follows no redirect: a credential would go
// with it, and an answer of another host's would count as the provider's.
func NewClient(base *http.Client, clock func() time.Time) *Client {
	c := &Client{http: *base, clock: clock}
	c.http.Jar = nil
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// HTTP is the client by which it asks, for libraries that want one.
func (c *Client) HTTP() *http.Client { return &c.http }

// Answer is what a provider answered.
type Answer struct {
	Status int
	Header http.Header
	// Body is nil if it broke off, or was too long to be read.
	Body []byte
}

// Sending is one message's way out: its time, and whether anything may have left.
type Sending struct {
	wrote atomic.Bool
	end   context.CancelFunc
}

// Begin returns the context in which a message is handed over: it ends with the message's deadline. If that
// has passed, the error is sms.ErrUnavailable. Call End.
func (c *Client) Begin(ctx context.Context, m sms.Message) (context.Context, *Sending, error) {
	wait := maxAsk
	if !m.Deadline.IsZero() {
		wait = min(wait, m.Deadline.Sub(c.clock()))
	}
	if wait <= 0 {
		return nil, nil, fmt.Errorf("couldn't send in time: %w", sms.ErrUnavailable)
	}
	s := &Sending{}
	ctx, s.end = context.WithTimeout(ctx, wait)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// A request gets another connection only if nothing of it went through the last.
		GetConn:      func(string) { s.wrote.Store(false) },
		WroteHeaders: func() { s.wrote.Store(true) },
	}), s, nil
}

// End lets go of the context.
func (s *Sending) End() { s.end() }

// Failed says what it means that no answer came: sms.ErrUnknown once a request may have left, else
// sms.ErrUnavailable. Of the error it repeats only its kind: its text may quote the request or the answer.
func (s *Sending) Failed(err error) error {
	if s.wrote.Load() {
		return fmt.Errorf("couldn't hear from the provider: %w: %w", sms.ErrUnknown, kind(err))
	}
	return fmt.Errorf("couldn't reach the provider: %w: %w", sms.ErrUnavailable, kind(err))
}

// Ask hands a message over by one request, made in the context that it is given.
func (c *Client) Ask(ctx context.Context, m sms.Message, request func(context.Context) (*http.Request, error)) (Answer, error) {
	ctx, sending, err := c.Begin(ctx, m)
	if err != nil {
		return Answer{}, err
	}
	defer sending.End()
	r, err := request(ctx)
	if err != nil {
		return Answer{}, err
	}
	// What is called idempotent is sent again by net/http when a connection that was kept breaks; an SMS is not.
	if r.Method != http.MethodPost || r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil {
		r.Close = true
	}
	return c.do(r, sending)
}

// Get fetches a page of the provider's.
func (c *Client) Get(ctx context.Context, url string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, errors.New("couldn't make a request of the URL")
	}
	return c.do(r, &Sending{})
}

func (c *Client) do(r *http.Request, sending *Sending) (Answer, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return Answer{}, sending.Failed(err)
	}
	defer response.Body.Close()
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err == nil && len(body) <= maxAnswer {
		answer.Body = body
	}
	return answer, nil
}

// Refused is what a status says by itself: throttled, or certainly not taken. Any other, a 5xx too, is nil: it does
// not say that nothing was done.
func Refused(status int) error {
	switch {
	case status == http.StatusTooManyRequests:
		return sms.ErrThrottled
	case status/100 == 4 && status != http.StatusRequestTimeout:
		return sms.ErrUnavailable
	}
	return nil
}

// Outcome is what an answer means that is no message on its way: what the provider's own code does, nil if it has
// none that is known, else what its status does.
func (c *Client) Outcome(got Answer, code error) error {
	outcome := cmp.Or(code, Refused(got.Status), sms.ErrUnknown)
	if errors.Is(outcome, sms.ErrThrottled) {
		return c.Throttled(got.Header)
	}
	return outcome
}

// Throttled is sms.ErrThrottled with the wait that the header asks for, if it does.
func (c *Client) Throttled(h http.Header) error {
	return &sms.Throttled{After: retryAfter(h.Get("Retry-After"), c.clock())}
}

// retryAfter reads RFC 9110, section 10.2.3: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// TTL is how many whole seconds a message has until its deadline, within what the provider allows; 0 if it
// has none.
func (c *Client) TTL(m sms.Message, least, most time.Duration) int {
	if m.Deadline.IsZero() {
		return 0
	}
	return int(min(max(m.Deadline.Sub(c.clock()), least), most) / time.Second)
}

// The kinds of failure, which hold nothing of what was said.
var (
	errName        = errors.New("its name does not resolve")
	errTimeout     = errors.New("it took too long")
	errCertificate = errors.New("its certificate is not valid")
	errConnection  = errors.New("the connection failed")
)

func kind(err error) error {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var number syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, ErrAddress):
		return ErrAddress
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &name):
		return errName
	case errors.As(err, &certificate):
		return errCertificate
	case errors.As(err, &number):
		return number
	case errors.As(err, &timeout) && timeout.Timeout():
		return errTimeout
	}
	return errConnection
}

// CheckURL says whether a provider may be asked, or may call, there: https, and nothing in it that is a
// credential or that we add.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "https":
		return errors.New("it must begin with https://")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("it is a host and a path, without a user, a query or a fragment")
	}
	return nil
}
