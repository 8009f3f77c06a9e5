package overhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/wire"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/discovery/balance"
	"github.com/popvote/popvote/libs/problem"
)

// ClientConfig is how a client reaches the ballot servers. Zero values are the defaults.
type ClientConfig struct {
	// Finder says where the instances are; required.
	Finder discovery.Finder
	// Service is their name there ("ballot-server").
	Service string
	// Cloud is where this program runs: the instances of it come first. Empty for no preference.
	Cloud string
	// TLS is mtls.Files.Client of that service; required.
	TLS *tls.Config
	// Queue is how many ballots may wait to be sent (2,048). More are refused at once as overloaded: a
	// longer queue would only add to the waiting for the one in the ballot server.
	Queue int
	// Batch is the most ballots in one request (1,024, which is also the most a handler takes).
	Batch int
	// InFlight is how many batches one instance may have at a time (2): one that it records, and one that
	// waits for it or is on its way. More would only make the batches smaller; only where many ballots wait
	// may it have twice as many.
	InFlight int
	// Deadline is how long a batch, and the beginning of the answer to a read, may take (8 s). It must
	// be less than what the API server lets a cast take, or voters are told "unknown" too early.
	Deadline time.Duration
	// Clock tells the time; time.Now by default.
	Clock func() time.Time
}

func (c ClientConfig) withDefaults() ClientConfig {
	if c.Service == "" {
		c.Service = "ballot-server"
	}
	if c.Queue == 0 {
		c.Queue = 2048
	}
	if c.Batch == 0 {
		c.Batch = maxBallots
	}
	if c.InFlight == 0 {
		c.InFlight = 2
	}
	if c.Deadline == 0 {
		c.Deadline = 8 * time.Second
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // what is injected where nothing is
	}
	return c
}

// Client implements ballotapi.Caster and ballotapi.Admin over the network. Which of them it may use is
// decided by the ballot server. Safe for concurrent use.
type Client struct {
	wire.Remote // the calls of ballotapi.Admin

	cfg       ClientConfig
	balancer  *balance.Balancer
	budget    *budget
	transport *http.Transport
	sent      sent

	// gate is held for reading while something is put into the queue, for writing to close it.
	gate    sync.RWMutex
	closed  bool
	queue   chan item
	sending sync.WaitGroup // the dispatcher and the batches under way
}

var (
	_ ballotapi.Caster = (*Client)(nil)
	_ ballotapi.Admin  = (*Client)(nil)
)

// NewClient returns a client that has not connected yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg = cfg.withDefaults()
	switch {
	case cfg.Finder == nil:
		return nil, errors.New("couldn't make a client: it needs a Finder")
	case cfg.TLS == nil:
		return nil, errors.New("couldn't make a client: it needs a TLS configuration")
	case cfg.Batch < 1 || cfg.Batch > maxBallots || cfg.Queue < 1 || cfg.InFlight < 1 || cfg.Deadline <= 0:
		return nil, fmt.Errorf("couldn't make a client: want a batch of 1 to %d, and a queue, requests in flight and a deadline above 0", maxBallots)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	c := &Client{
		cfg:      cfg,
		balancer: balance.New(balance.Config{Finder: cfg.Finder, Service: cfg.Service, Cloud: cfg.Cloud, Clock: cfg.Clock}),
		budget:   newBudget(),
		sent:     newSent(),
		queue:    make(chan item, cfg.Queue),
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSClientConfig:     cfg.TLS,
			TLSHandshakeTimeout: 3 * time.Second,
			Protocols:           protocols,
			IdleConnTimeout:     50 * time.Second, // before the other side's 60 s: it must not close as we send
			DisableCompression:  true,
			// A peer that is gone without a word is found before the deadline.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second, MaxReadFrameSize: 256 << 10},
		},
	}
	c.Send = c.call
	c.sending.Go(c.dispatch)
	return c, nil
}

// Close takes no more ballots, sends those that wait, and ends when all are answered, at most a deadline
// or two later.
func (c *Client) Close() error {
	c.gate.Lock()
	if !c.closed {
		c.closed = true
		close(c.queue)
	}
	c.gate.Unlock()
	c.sending.Wait()
	c.transport.CloseIdleConnections()
	return nil
}

// post sends a request to an instance. After an error, sent says whether the other side may have seen it.
func (c *Client) post(ctx context.Context, in *balance.Instance, path, contentType string, body []byte) (response *http.Response, sent bool, err error) {
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, "https://"+in.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	request.Header.Set("Content-Type", contentType)
	response, err = c.transport.RoundTrip(request)
	if err != nil {
		return nil, wrote.Load() && !turnedAway(err), fmt.Errorf("couldn't reach %s at %s: %w", c.cfg.Service, in.Address, err)
	}
	return response, true, nil
}

// turnedAway tells a server that did not take our certificate. In TLS 1.3 it says so only after we may
// have sent a request, which it never read.
func turnedAway(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate")
}

// call sends one call of package wire.
func (c *Client) call(ctx context.Context, m *wire.Method, body []byte) (*http.Response, error) {
	c.budget.earn()
	var avoid []*balance.Instance
	for {
		in := c.balancer.Pick(avoid...)
		if in == nil && len(avoid) > 0 {
			in = c.balancer.Again(avoid[0])
		}
		if in == nil {
			return nil, problem.Wrap(problem.Unavailable, errNoInstance).After(jitter())
		}
		response, sent, err := c.callOne(ctx, in, m, body)
		switch {
		case err == nil:
			return response, nil
		case m.Changes && sent:
			return nil, problem.Wrap(problem.OutcomeUnknown, err).Because("the change may have been made: look before you try again")
		case m.Changes, ctx.Err() != nil, len(avoid) > 0, !c.budget.spend():
			return nil, problem.Wrap(problem.Unavailable, err).After(jitter())
		}
		avoid = append(avoid, in)
	}
}

func (c *Client) callOne(ctx context.Context, in *balance.Instance, m *wire.Method, body []byte) (*http.Response, bool, error) {
	trying, cancel := context.WithCancelCause(ctx)
	if !m.Changes { // a count takes as long as it takes
		late := time.AfterFunc(c.cfg.Deadline, func() { cancel(context.DeadlineExceeded) })
		defer late.Stop()
	}
	began := c.cfg.Clock()
	response, sent, err := c.post(trying, in, wire.Prefix+m.Name, "application/json", body)
	if err == nil && !m.Changes && response.Header.Get("Content-Type") == "application/json" {
		err = whole(response)
	}
	took := c.cfg.Clock().Sub(began)
	if m.Changes {
		took = 0
	}
	if err != nil {
		cancel(nil)
		if ctx.Err() != nil { // which is the caller's fault
			c.balancer.Release(in, balance.Refused, 0)
		} else {
			c.balancer.Release(in, balance.Failed, 0)
		}
		return nil, sent, err
	}
	response.Body = &answer{response.Body, sync.OnceFunc(func() {
		cancel(nil)
		switch {
		case response.StatusCode == http.StatusOK:
			c.balancer.Release(in, balance.Answered, took)
		case response.StatusCode >= http.StatusInternalServerError && response.StatusCode != http.StatusServiceUnavailable:
			c.balancer.Release(in, balance.Failed, 0)
		default:
			c.balancer.Release(in, balance.Refused, 0)
		}
	})}
	return response, true, nil
}

// whole reads an answer to its end: one that breaks off can still be asked for again. Those that are not
// JSON may be large, and are handed on as they come.
func whole(response *http.Response) error {
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("couldn't read an answer to its end: %w", err)
	}
	return nil
}

// result is what a try says about the instance.
func result(err error) balance.Result {
	if err != nil {
		return balance.Failed
	}
	return balance.Answered
}

// answer is a response's body that gives the instance back when it is closed.
type answer struct {
	io.ReadCloser
	release func()
}

func (a *answer) Close() error {
	defer a.release()
	return a.ReadCloser.Close()
}
