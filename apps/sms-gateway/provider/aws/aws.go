// Package aws sends by AWS End User Messaging SMS, and takes what it tells by Amazon SNS. It signs and reads with
// Amazon's own module, whose clients are well kept, less its tries again: an SMS is asked for once.
package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2"
	"github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2/types"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// Config is an account at AWS, in one region.
type Config struct {
	URL              string   `koanf:"url" doc:"Where the API is. Default: the region's own; a VPC endpoint has another."`
	Region           string   `koanf:"region" doc:"The region, such as ap-east-1. Required."`
	CredentialsFile  string   `koanf:"credentials-file" doc:"A file, of mode 0600, with credentials as a credential_process of the AWS CLI writes them: JSON with Version, AccessKeyId, SecretAccessKey, and perhaps SessionToken and Expiration. Read at each message. Required."`
	Origination      string   `koanf:"origination" doc:"What messages come from: a number, a sender id, a pool, or the ARN of one. Required."`
	ConfigurationSet string   `koanf:"configuration-set" doc:"The configuration set whose event destination, an SNS topic, gets the receipts. Default: none."`
	MaxPrice         string   `koanf:"max-price" doc:"The most that one message may cost, in US dollars, such as 0.09; a dearer one is refused as fraud. Default: none."`
	Topics           []string `koanf:"topics" doc:"The ARNs of the SNS topics, with signature version 2 and without raw delivery, that bring receipts and what voters text, separated by commas. Subscriptions of these to us are confirmed. Default: none; then nothing is brought."`
}

var (
	region = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`)
	price  = regexp.MustCompile(`^\d{1,2}\.\d{2,5}$`) // as the API wants it
)

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	var wrong wire.Faults
	bad := wrong.If
	if c.URL != "" {
		err := wire.CheckURL(c.URL)
		bad(err != nil, "url: %w", err)
	}
	bad(!region.MatchString(c.Region), "region: it is none such as ap-east-1")
	_, err := credentials(c.CredentialsFile).Retrieve(context.Background())
	bad(err != nil && !errors.Is(err, errExpired), "credentials-file: %w", err)
	bad(c.Origination == "", "origination is missing")
	bad(c.MaxPrice != "" && !price.MatchString(c.MaxPrice), "max-price: it is none such as 0.09")
	for _, arn := range c.Topics {
		_, err := hostOf(arn)
		bad(err != nil, "topics: %w", err)
	}
	return errors.Join(wrong...)
}

// credentials is a file of them.
type credentials string

var (
	errCredentials = errors.New("the file holds no credentials as a credential_process writes them")
	errExpired     = errors.New("the credentials have expired")
)

// Retrieve implements aws.CredentialsProvider.
func (path credentials) Retrieve(context.Context) (sdk.Credentials, error) {
	text, err := wire.ReadSecret(string(path))
	if err != nil {
		return sdk.Credentials{}, err
	}
	var c struct {
		Version         int
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      time.Time
	}
	if json.Unmarshal([]byte(text), &c) != nil || c.Version != 1 || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return sdk.Credentials{}, errCredentials
	}
	out := sdk.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, CanExpire: !c.Expiration.IsZero(), Expires: c.Expiration}
	if out.Expired() {
		return sdk.Credentials{}, errExpired
	}
	return out, nil
}

// Provider is one account. Safe for concurrent use.
type Provider struct {
	config  Config
	deps    provider.Deps
	client  *wire.Client
	api     *pinpointsmsvoicev2.Client
	keys    *keys
	handler http.Handler
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Webhooks = (*Provider)(nil)
)

// New returns a provider that has asked for nothing yet.
func New(c Config, d provider.Deps) (*Provider, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("couldn't use AWS: %w", err)
	}
	client := wire.NewClient(d.HTTP, d.Clock)
	options := pinpointsmsvoicev2.Options{
		Region: c.Region, Credentials: credentials(c.CredentialsFile), HTTPClient: client.HTTP(), Retryer: sdk.NopRetryer{},
	}
	if c.URL != "" {
		options.BaseEndpoint = &c.URL
	}
	p := &Provider{
		config: c, deps: d, client: client, api: pinpointsmsvoicev2.New(options),
		keys: newKeys(client, d.Clock), handler: http.NotFoundHandler(),
	}
	if len(c.Topics) > 0 {
		p.handler = wire.NewHandler(d, p.read)
	}
	return p, nil
}

// Handler implements provider.Webhooks: the endpoint of all topics' HTTPS subscriptions.
func (p *Provider) Handler() http.Handler { return p.handler }

// maxRef is the longest id that is taken for one of a message.
const maxRef = 128

// Send implements provider.Provider.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	ctx, sending, err := p.client.Begin(ctx, m)
	if err != nil {
		return "", err
	}
	defer sending.End()
	number := m.To.Reveal()
	in := &pinpointsmsvoicev2.SendTextMessageInput{
		DestinationPhoneNumber: &number, MessageBody: &m.Text, MessageType: types.MessageTypeTransactional, OriginationIdentity: &p.config.Origination,
		ConfigurationSetName: given(p.config.ConfigurationSet), MaxPrice: given(p.config.MaxPrice),
	}
	if ttl := p.client.TTL(m, 5*time.Second, 72*time.Hour); ttl > 0 {
		in.TimeToLive = sdk.Int32(int32(ttl)) //nolint:gosec // three days fit
	}
	out, err := p.api.SendTextMessage(ctx, in)
	switch {
	case err == nil && out.MessageId != nil && *out.MessageId != "" && len(*out.MessageId) <= maxRef:
		return *out.MessageId, nil
	case err == nil:
		return "", fmt.Errorf("couldn't read AWS's answer: %w", sms.ErrUnknown)
	}
	word, header, outcome := outcomeOf(err)
	if outcome == nil {
		return "", sending.Failed(err)
	}
	if errors.Is(outcome, sms.ErrThrottled) {
		outcome = p.client.Throttled(header)
	}
	return "", fmt.Errorf("couldn't send by AWS: %w (%s)", outcome, word)
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
