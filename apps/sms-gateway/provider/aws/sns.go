package aws

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// The types of SNS's calls.
const (
	typeNotification = "Notification"
	typeSubscribed   = "SubscriptionConfirmation"
	typeUnsubscribed = "UnsubscribeConfirmation"
)

// envelope is a call of SNS's (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html).
type envelope struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	Timestamp        string
	Token            string
	SubscribeURL     string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// signed is what the signature is over
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
func (e envelope) signed() []byte {
	var b bytes.Buffer
	add := func(name, value string) { fmt.Fprintf(&b, "%s\n%s\n", name, value) }
	add("Message", e.Message)
	add("MessageId", e.MessageID)
	if e.Type == typeNotification {
		if e.Subject != nil {
			add("Subject", *e.Subject)
		}
		add("Timestamp", e.Timestamp)
	} else {
		add("SubscribeURL", e.SubscribeURL)
		add("Timestamp", e.Timestamp)
		add("Token", e.Token)
	}
	add("TopicArn", e.TopicARN)
	add("Type", e.Type)
	return b.Bytes()
}

var topicARN = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}$`)

// hostOf is the only host that speaks for a topic: that of SNS in its region.
func hostOf(arn string) (string, error) {
	parts := topicARN.FindStringSubmatch(arn)
	if parts == nil || !region.MatchString(parts[2]) {
		return "", fmt.Errorf("%q is no ARN of a topic", arn)
	}
	return "sns." + parts[2] + suffix(parts[1]), nil
}

func suffix(partition string) string {
	if partition == "aws-cn" {
		return ".amazonaws.com.cn"
	}
	return ".amazonaws.com"
}

// read implements wire.Reader. The signature is over the members of the call, so it has to be taken apart before
// it can hold; until then nothing is done but to fetch a certificate from Amazon, now and then.
func (p *Provider) read(r *http.Request, body []byte) (wire.Call, error) {
	var e envelope
	if json.Unmarshal(body, &e) != nil || e.SignatureVersion != "2" || !slices.Contains(p.config.Topics, e.TopicARN) {
		return wire.Call{}, wire.ErrForged
	}
	host, err := hostOf(e.TopicARN)
	if err != nil {
		return wire.Call{}, wire.ErrForged
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return wire.Call{}, wire.ErrForged
	}
	certificate, err := p.keys.certificate(r.Context(), e.SigningCertURL, host)
	if err != nil {
		return wire.Call{}, err
	}
	if certificate.CheckSignature(x509.SHA256WithRSA, e.signed(), signature) != nil {
		return wire.Call{}, wire.ErrForged
	}
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil || !wire.Fresh(at, p.deps.Clock()) {
		return wire.Call{}, wire.ErrStale
	}
	return p.told(r.Context(), e, at, host)
}

// told reads a call that is SNS's.
func (p *Provider) told(ctx context.Context, e envelope, at time.Time, host string) (wire.Call, error) {
	call := wire.Call{Key: e.MessageID}
	switch e.Type {
	case typeNotification:
		if err := notified(&call, e.Message, at); err != nil {
			return wire.Call{}, err
		}
	case typeSubscribed:
		u, err := url.Parse(e.SubscribeURL)
		if err != nil || u.Scheme != "https" || u.Host != host || u.User != nil || u.Query().Get("Action") != "ConfirmSubscription" ||
			u.Query().Get("TopicArn") != e.TopicARN || u.Query().Get("Token") != e.Token {
			return wire.Call{}, wire.ErrMalformed
		}
		call.Then = func(ctx context.Context) error { return p.confirm(ctx, e.SubscribeURL) }
	case typeUnsubscribed:
		// Whoever did that may have wanted to; it is not for us to undo.
		p.deps.Log.WarnContext(ctx, "a topic does not bring SMS and receipts any more", slog.String("route", p.deps.Name))
	default:
		return wire.Call{}, wire.ErrMalformed
	}
	return call, nil
}

var errConfirm = errors.New("couldn't confirm the subscription of a topic")

func (p *Provider) confirm(ctx context.Context, url string) error {
	answer, err := p.client.Get(ctx, url)
	if err != nil {
		return fmt.Errorf("%w: %w", errConfirm, err)
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("%w: status %d", errConfirm, answer.Status)
	}
	return nil
}

// notice is what a topic brings: an event of a message of ours, or a message of a voter
// (https://docs.aws.amazon.com/sms-voice/latest/userguide/configuration-sets-event-format.html and
// two-way-sms-payload.html).
type notice struct {
	EventType      string `json:"eventType"`
	EventTimestamp int64  `json:"eventTimestamp"` // milliseconds
	MessageID      string `json:"messageId"`
	Recipient      string `json:"destinationPhoneNumber"`
	Origination    string `json:"originationNumber"`
	Destination    string `json:"destinationNumber"`
	Body           string `json:"messageBody"`
	InboundID      string `json:"inboundMessageId"`
}

// states are what the types of events mean
// (https://docs.aws.amazon.com/sms-voice/latest/userguide/configuration-sets-event-types.html).
var states = map[string]provider.State{
	"TEXT_QUEUED": provider.Accepted, "TEXT_PENDING": provider.Accepted, "TEXT_SENT": provider.Accepted,
	"TEXT_SUCCESSFUL": provider.Delivered, "TEXT_DELIVERED": provider.Delivered,
	"TEXT_TTL_EXPIRED": provider.Expired,
	"TEXT_UNREACHABLE": provider.Undelivered, "TEXT_CARRIER_UNREACHABLE": provider.Undelivered,
	"TEXT_BLOCKED": provider.Rejected, "TEXT_CARRIER_BLOCKED": provider.Rejected, "TEXT_SPAM": provider.Rejected,
	"TEXT_INVALID": provider.Rejected, "TEXT_INVALID_MESSAGE": provider.Rejected, "TEXT_PROTECT_BLOCKED": provider.Rejected,
	"TEXT_UNKNOWN": provider.Unknown,
}

func notified(call *wire.Call, message string, at time.Time) error {
	var n notice
	if json.Unmarshal([]byte(message), &n) != nil {
		return wire.ErrMalformed
	}
	switch {
	case n.EventType != "":
		state, known := states[n.EventType]
		if !known {
			return nil // of voice, or of a kind that is not known yet: heard, and nothing to us
		}
		if n.MessageID == "" || len(n.MessageID) > maxRef {
			return wire.ErrMalformed
		}
		if n.EventTimestamp > 0 {
			at = time.UnixMilli(n.EventTimestamp).UTC()
		}
		call.Receipts = []provider.Receipt{{Ref: n.MessageID, To: wire.Number(n.Recipient), State: state, Code: n.EventType, At: at}}
	case n.Origination != "" && n.InboundID != "":
		call.Messages = []sms.Inbound{{
			From: wire.Number(n.Origination), To: wire.Number(n.Destination), Text: n.Body, ReceivedAt: at, ProviderID: n.InboundID,
		}}
	default:
		return wire.ErrMalformed
	}
	return nil
}

const (
	// fetchEvery is how often a certificate that is not known may be fetched: whoever knows a topic's ARN can
	// name as many as there are names.
	fetchEvery = 5 * time.Second
	// keepFor is how long one is believed without being fetched again.
	keepFor = 24 * time.Hour
	// maxKept is more than SNS uses at a time in all regions of one account.
	maxKept = 16
)

var (
	certificatePath = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{32}\.pem$`)
	errTooOften     = errors.New("another certificate was fetched a moment ago")
	errFetch        = errors.New("couldn't fetch the certificate of SNS")
)

// keys are the certificates by which SNS signs. Safe for concurrent use.
type keys struct {
	client *wire.Client
	clock  func() time.Time

	mu    sync.Mutex // guards those below
	known map[string]kept
	next  time.Time // when one may be fetched again
}

type kept struct {
	certificate *x509.Certificate
	until       time.Time
}

func newKeys(client *wire.Client, clock func() time.Time) *keys {
	return &keys{client: client, clock: clock, known: map[string]kept{}}
}

// certificate returns what is at the URL, which must be one of SNS's certificates at that host. Amazon signs them
// for SNS's name, but does not send along who signed: that it comes by TLS from the host itself is what makes it
// SNS's, as Amazon's own libraries have it.
func (k *keys) certificate(ctx context.Context, at, host string) (*x509.Certificate, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" || u.Host != host || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !certificatePath.MatchString(u.Path) {
		return nil, wire.ErrForged
	}
	if c, err := k.mayFetch(at); c != nil || err != nil {
		return c, err
	}
	answer, err := k.client.Get(ctx, at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errFetch, err)
	case answer.Status/100 == 4:
		return nil, wire.ErrForged // there is none of that name
	case answer.Status != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d", errFetch, answer.Status)
	}
	now := k.clock()
	c, err := parse(answer.Body, host, now)
	if err != nil {
		return nil, err
	}
	until := now.Add(keepFor)
	if c.NotAfter.Before(until) {
		until = c.NotAfter
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxKept {
		clear(k.known)
	}
	k.known[at] = kept{c, until}
	return c, nil
}

// mayFetch returns a certificate that is known, or nil for one that may be fetched now.
func (k *keys) mayFetch(at string) (*x509.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	if one, ok := k.known[at]; ok && now.Before(one.until) {
		return one.certificate, nil
	}
	if now.Before(k.next) {
		return nil, fmt.Errorf("%w: %w", errFetch, errTooOften)
	}
	k.next = now.Add(fetchEvery)
	return nil, nil
}

// parse reads a certificate that must be good now, for a name that SNS signs by in its regions.
func parse(text []byte, host string, now time.Time) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, wire.ErrForged
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, wire.ErrForged
	}
	if _, ok := c.PublicKey.(*rsa.PublicKey); !ok || now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil, wire.ErrForged
	}
	rest := strings.TrimPrefix(host, "sns.")
	for _, name := range []string{"sns.amazonaws.com", host, "sns-signing." + rest, "sns-" + rest, "sns-us-gov-west-1.amazonaws.com"} {
		if c.VerifyHostname(name) == nil {
			return c, nil
		}
	}
	return nil, wire.ErrForged
}
