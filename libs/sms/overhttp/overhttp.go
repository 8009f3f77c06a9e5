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
	sendPath = "/send"
	// maxBody is far above a text of ten parts.
	maxBody = 16 << 10
	// deadline is how long one instance may take to answer, its provider included.
	deadline = 10 * time.Second
)

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

// NewHandler answers for a sender. Only the services in allow, by the names in their certificates, may
// use it. Errors of the sender are logged here: across the network goes what they mean, no more.
func NewHandler(sender sms.Sender, allow []string, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+sendPath, func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(allow, mtls.Caller(r)) {
			w.WriteHeader(statusForbidden)
			return
		}
		var m message
		if err := strictjson.Read(w, r, maxBody, &m); err != nil || m.ID == "" || len(m.To) < 2 || m.To[0] != '+' {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		err := sender.Send(r.Context(), sms.Message{ID: m.ID, To: sms.Number(m.To), Text: m.Text, Lang: m.Lang, Deadline: m.Deadline})
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, sms.ErrUnknown):
			log.WarnContext(r.Context(), "it is not known whether an SMS was sent", slog.Any("error", err))
			w.WriteHeader(statusUnknown)
		default:
			log.WarnContext(r.Context(), "couldn't send an SMS", slog.Any("error", err))
			w.WriteHeader(statusNotSent)
		}
	})
	return mux
}

// Client is a Sender at the gateways of a Finder. Safe for concurrent use.
type Client struct {
	clock     func() time.Time
	balancer  *balance.Balancer
	transport *http.Transport
}

var _ sms.Sender = (*Client)(nil)

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

// NewClient returns a client that has not connected yet.
func NewClient(cfg ClientConfig) *Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	balancer := balance.New(balance.Config{Finder: cfg.Finder, Service: Service, Cloud: cfg.Cloud, Clock: cfg.Clock})
	return &Client{clock: cfg.Clock, balancer: balancer, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSClientConfig:     cfg.TLS,
		TLSHandshakeTimeout: 3 * time.Second,
		Protocols:           protocols,
		IdleConnTimeout:     50 * time.Second, // before the other side's 60 s
		DisableCompression:  true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second},
	}}
}

// Close lets go of connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Send implements sms.Sender. A gateway that certainly did not send the message makes room for the
// next; one that may have is the last to be asked (sms.ErrUnknown), or the voter would get two.
func (c *Client) Send(ctx context.Context, m sms.Message) error {
	body, err := json.Marshal(message{ID: m.ID, To: m.To.Reveal(), Text: m.Text, Lang: m.Lang, Deadline: m.Deadline})
	if err != nil {
		return fmt.Errorf("couldn't write a message: %w", err)
	}
	failed := []error{ErrUnavailable}
	var tried []*balance.Instance
	for in := c.balancer.PickAny(tried...); in != nil; in = c.balancer.PickAny(tried...) {
		began := c.clock()
		result, err := c.post(ctx, in.Address, body)
		if ctx.Err() != nil && result == balance.Failed {
			result = balance.Refused // whoever asked gave up
		}
		c.balancer.Release(in, result, c.clock().Sub(began))
		if err == nil || errors.Is(err, sms.ErrUnknown) {
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
func (c *Client) post(ctx context.Context, address string, body []byte) (balance.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, "https://"+address+sendPath, bytes.NewReader(body))
	if err != nil {
		return balance.Refused, fmt.Errorf("couldn't ask %s: %w", address, err)
	}
	request.Header.Set("Content-Type", "application/json")
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
		return balance.Refused, fmt.Errorf("couldn't send at %s: its providers did not take the message", address)
	case statusForbidden:
		return balance.Refused, fmt.Errorf("couldn't send at %s: %w", address, ErrForbidden)
	case http.StatusBadRequest, http.StatusNotFound:
		return balance.Refused, fmt.Errorf("couldn't send at %s: it does not understand the request", address)
	default:
		return balance.Failed, fmt.Errorf("couldn't hear from %s: %w (status %d)", address, sms.ErrUnknown, response.StatusCode)
	}
}
