// Package overhttp carries sms.Sender between services: whoever has codes to send asks the SMS gateway,
// over mutual TLS (package mtls). It is one request per message; a number and a text are in its body,
// and nowhere else.
package overhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/discovery/balance"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/strictjson"
)

// Service is the gateway's name, in discovery and in its certificate.
const Service = "sms-gateway"

const (
	sendPath    = "/send"
	confirmPath = "/confirm"
	// maxBody is far above a text of ten parts, and above a full telling of conversations.
	maxBody = 32 << 10
	// deadline is how long one instance may take to answer, its provider included.
	deadline = 10 * time.Second
)

// What a gateway of an earlier version does not know is in headers, where it does no harm: a member that it
// does not know would make it refuse the message. (It sends as an SMS what was to be spoken.) Likewise, an earlier client reads statusNotSent whatever
// the outcome says.
const (
	conversationHeader = "Popvote-Conversation"
	attemptHeader      = "Popvote-Attempt"
	kindHeader         = "Popvote-Kind"
	outcomeHeader      = "Popvote-Outcome"
	retryHeader        = "Retry-After"
	// maxConversation is what the longest name of a conversation has, in bytes.
	maxConversation = 64
	// maxAttempt is more sendings than any session has.
	maxAttempt = 100
	// maxWait is the longest wait that is believed.
	maxWait = 24 * time.Hour
)

// outcomes are the ways in which a message was certainly not sent, as the header names them.
var outcomes = []struct {
	name string
	err  error
}{
	{"permanent", sms.ErrPermanent},
	{"blocked", sms.ErrBlocked},
	{"throttled", sms.ErrThrottled},
	{"unavailable", sms.ErrUnavailable},
}

// message is sms.Message on the wire; a Number would be written as redacted.
type message struct {
	ID       string    `json:"id"`
	To       string    `json:"to"`
	Text     string    `json:"text"`
	Lang     string    `json:"lang"`
	Deadline time.Time `json:"deadline"`
}

// ErrForbidden is a service that may not have messages sent.
var ErrForbidden = errors.New("this service may not have messages sent")

// ErrUnavailable is a gateway that did not take the message, nor any other.
var ErrUnavailable = errors.New("no SMS gateway takes the message")

// The answers: 204, a provider took it; these two, and everything else that is not understood counts
// as statusUnknown.
const (
	statusUnknown   = http.StatusGatewayTimeout     // a provider may have taken it
	statusNotSent   = http.StatusServiceUnavailable // none has
	statusForbidden = http.StatusForbidden
)

// NewHandler answers for a sender, which is told of confirmed conversations if it is a Confirmer. Only the
// services in allow, by the names in their certificates, may use it. Errors of the sender are logged here:
// across the network goes what they mean, no more.
func NewHandler(sender sms.Sender, allow []string, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	if confirmer, ok := sender.(sms.Confirmer); ok {
		mux.HandleFunc("POST "+confirmPath, only(allow, confirmation(confirmer)))
	}
	mux.HandleFunc("POST "+sendPath, only(allow, func(w http.ResponseWriter, r *http.Request) {
		var m message
		if err := strictjson.Read(w, r, maxBody, &m); err != nil || m.ID == "" || len(m.To) < 2 || m.To[0] != '+' {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conversation, attempt, ok := conversationOf(r.Header)
		kind := sms.Kind(r.Header.Get(kindHeader))
		if !ok || kind != sms.ByText && kind != sms.ByCall {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		err := sender.Send(r.Context(), sms.Message{
			ID: m.ID, Kind: kind, To: sms.Number(m.To), Text: m.Text, Lang: m.Lang, Deadline: m.Deadline,
			Conversation: conversation, Attempt: attempt,
		})
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, sms.ErrUnknown):
			log.WarnContext(r.Context(), "it is not known whether an SMS was sent", slog.Any("error", err))
			w.WriteHeader(statusUnknown)
		default:
			log.WarnContext(r.Context(), "couldn't send an SMS", slog.Any("error", err))
			describe(w.Header(), err)
			w.WriteHeader(statusNotSent)
		}
	}))
	return mux
}

// only answers the services in allow, by the names in their certificates.
func only(allow []string, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(allow, mtls.Caller(r)) {
			w.WriteHeader(statusForbidden)
			return
		}
		answer(w, r)
	}
}

// conversationOf reads what a client of today says of a message; one of yesterday says nothing.
func conversationOf(h http.Header) (conversation string, attempt int, ok bool) {
	conversation = h.Get(conversationHeader)
	if text := h.Get(attemptHeader); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n > maxAttempt {
			return "", 0, false
		}
		attempt = int(n)
	}
	return conversation, attempt, len(conversation) <= maxConversation
}

// describe says how a message was not sent.
func describe(h http.Header, err error) {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			h.Set(outcomeHeader, o.name)
			break
		}
	}
	if throttled, ok := errors.AsType[*sms.Throttled](err); ok && throttled.After > 0 {
		h.Set(retryHeader, strconv.FormatInt(int64((throttled.After+time.Second-1)/time.Second), 10))
	}
}

// outcomeOf is what a gateway says by statusNotSent. One of yesterday doesn't say more: then its providers
// are unavailable.
func outcomeOf(h http.Header) error {
	name := h.Get(outcomeHeader)
	for _, o := range outcomes {
		if o.name != name {
			continue
		}
		if o.err != sms.ErrThrottled { //nolint:errorlint // it is a row of the table
			return o.err
		}
		seconds, err := strconv.ParseUint(h.Get(retryHeader), 10, 32)
		if err != nil {
			return &sms.Throttled{} // it didn't say for how long
		}
		return &sms.Throttled{After: min(time.Duration(seconds)*time.Second, maxWait)}
	}
	return sms.ErrUnavailable
}

// Client is a Sender at the gateways of a Finder. Safe for concurrent use.
type Client struct {
	clock     func() time.Time
	finder    discovery.Finder
	balancer  *balance.Balancer
	transport *http.Transport

	confirmed chan string
	stop      context.CancelFunc
	done      chan struct{} // closed when tell has ended
}

var (
	_ sms.Sender    = (*Client)(nil)
	_ sms.Confirmer = (*Client)(nil)
)

// ClientConfig is how a client reaches the gateways.
type ClientConfig struct {
	// Finder says where they are; required.
	Finder discovery.Finder
	// Cloud is where this program runs: the gateways of it come first. Empty for no preference.
	Cloud string
	// TLS is mtls.Files.Client of Service; required.
	TLS *tls.Config
	// Clock tells the time; required.
	Clock func() time.Time
}

// NewClient returns a client that has not connected yet. Close it.
func NewClient(cfg ClientConfig) *Client {
	balancer := balance.New(balance.Config{Finder: cfg.Finder, Service: Service, Cloud: cfg.Cloud, Clock: cfg.Clock})
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{clock: cfg.Clock, finder: cfg.Finder, balancer: balancer, transport: newTransport(cfg.TLS), confirmed: make(chan string, maxConfirmed), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.tell(ctx)
	}()
	return c
}

// newTransport reaches gateways over mutual TLS.
func newTransport(config *tls.Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 3 * time.Second,
		Protocols:           protocols,
		IdleConnTimeout:     50 * time.Second, // before the other side's 60 s
		DisableCompression:  true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second},
	}
}

// Close lets go of connections that are idle. What the gateways were not told yet is forgotten.
func (c *Client) Close() {
	c.stop()
	<-c.done
	c.transport.CloseIdleConnections()
}

// Send implements sms.Sender. A gateway that certainly did not send the message makes room for the
// next; one that may have is the last to be asked (sms.ErrUnknown), or the voter would get two. No other
// is asked either where the number or the message is at fault (sms.ErrPermanent, sms.ErrBlocked).
func (c *Client) Send(ctx context.Context, m sms.Message) error {
	body, err := json.Marshal(message{ID: m.ID, To: m.To.Reveal(), Text: m.Text, Lang: m.Lang, Deadline: m.Deadline})
	if err != nil {
		return fmt.Errorf("couldn't write a message: %w", err)
	}
	failed := []error{ErrUnavailable}
	var tried []*balance.Instance
	for in := c.balancer.PickAny(tried...); in != nil; in = c.balancer.PickAny(tried...) {
		began := c.clock()
		result, err := c.post(ctx, in.Address, m, body)
		if ctx.Err() != nil && result == balance.Failed {
			result = balance.Refused // whoever asked gave up
		}
		c.balancer.Release(in, result, c.clock().Sub(began))
		if err == nil || errors.Is(err, sms.ErrUnknown) || errors.Is(err, sms.ErrPermanent) || errors.Is(err, sms.ErrBlocked) {
			return err
		}
		tried, failed = append(tried, in), append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("couldn't send an SMS: %w", errors.Join(failed...))
}

// post asks one gateway, and says what that tells of it: that providers don't take a message, or may have,
// is no fault of the gateway's.
func (c *Client) post(ctx context.Context, address string, m sms.Message, body []byte) (balance.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, "https://"+address+sendPath, bytes.NewReader(body))
	if err != nil {
		return balance.Refused, fmt.Errorf("couldn't ask %s: %w", address, err)
	}
	request.Header.Set("Content-Type", "application/json")
	if m.Conversation != "" {
		request.Header.Set(conversationHeader, m.Conversation)
		request.Header.Set(attemptHeader, strconv.Itoa(m.Attempt))
	}
	if m.Kind != sms.ByText {
		request.Header.Set(kindHeader, string(m.Kind))
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		if wrote.Load() {
			return balance.Failed, fmt.Errorf("couldn't hear from %s: %w: %w", address, sms.ErrUnknown, err)
		}
		return balance.Failed, fmt.Errorf("couldn't reach %s: %w", address, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody)) // so that the connection can be used again
	_ = response.Body.Close()
	switch response.StatusCode {
	case http.StatusNoContent:
		return balance.Answered, nil
	case statusUnknown:
		return balance.Refused, fmt.Errorf("couldn't hear from %s's providers: %w", address, sms.ErrUnknown)
	case statusNotSent:
		return balance.Refused, fmt.Errorf("couldn't send at %s: %w", address, outcomeOf(response.Header))
	case statusForbidden:
		return balance.Refused, fmt.Errorf("couldn't send at %s: %w", address, ErrForbidden)
	case http.StatusBadRequest, http.StatusNotFound:
		return balance.Refused, fmt.Errorf("couldn't send at %s: it does not understand the request", address)
	default:
		return balance.Failed, fmt.Errorf("couldn't hear from %s: %w (status %d)", address, sms.ErrUnknown, response.StatusCode)
	}
}
