package webhook

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
)

// Config is a gateway that speaks HTTP in its own way. In the URL, the headers and the body, {to}, {text}
// and so on (see Words) stand for a message's parts, written as each place needs it.
type Config struct {
	Method        string            `koanf:"method" doc:"The method of the request that sends a message: POST, PUT or GET. Default: POST."`
	URL           string            `koanf:"url" doc:"The URL that is asked, with {words} behind the host only. https, unless allow-networks names where it is. A password in it is written {secret}. Required."`
	Headers       map[string]string `koanf:"headers" doc:"Headers of the request, with {words} in their values."`
	Body          string            `koanf:"body" doc:"The body of the request, with {words} in it. They are written as the Content-Type among the headers asks: JSON (within quotation marks), a form, or text. Default: none."`
	SecretFile    string            `koanf:"secret-file" doc:"A file, of mode 0600, with what {secret} stands for. Required if it is used."`
	From          string            `koanf:"from" doc:"What {from} stands for: the number or the registered name that messages come from. Required if it is used."`
	Statuses      []int             `koanf:"success-statuses" doc:"The statuses with which the gateway says that it took a message. Default: 200, 201 and 202."`
	Success       string            `koanf:"success-pattern" doc:"A regular expression that the answer must match besides; if it has a group, that is the message's id. Default: none, the status says it all."`
	IDPath        string            `koanf:"id-path" doc:"Where the message's id is in an answer of JSON: names and indices with dots, as in messages.0.id. Without an id there the message counts as perhaps taken. Default: none; then its receipts can name our own id."`
	Permanent     string            `koanf:"permanent-pattern" doc:"A regular expression for answers, of any status, that say that the number never gets this message. Default: none."`
	Blocked       string            `koanf:"blocked-pattern" doc:"As permanent-pattern, for a message that was taken for fraud. Default: none."`
	Throttled     string            `koanf:"throttled-pattern" doc:"As permanent-pattern, for too many messages; status 429 says so always. Default: none."`
	Unavailable   string            `koanf:"unavailable-pattern" doc:"As permanent-pattern, for a message that certainly was not taken and may go another way; statuses from 400 to 499 but 408 say so always. Other answers count as perhaps taken. Default: none."`
	AllowNetworks []string          `koanf:"allow-networks" doc:"Networks besides the internet where the gateway may be, such as 10.1.2.0/24, separated by commas. Default: none; then an address of ours, or of this machine's, is refused however it is named."`
	SigningFiles  []string          `koanf:"signing-secret-files" doc:"Files, each of mode 0600, with a secret (whsec_ and base64) by which the gateway signs its calls to us; two while one takes the other's place. Default: none; then there are no receipts and no messages of voters, unless call-password-files brings them."`

	CallPasswordFiles []string          `koanf:"call-password-files" doc:"For a gateway that can't sign: files, each of mode 0600, with a password of 24 to 128 letters, digits, - and _, by which it calls us (HTTP Basic, any user); two while one takes the other's place. Whoever reads one can text us from any number: over TLS only. Default: none."`
	ReceiptStates     map[string]string `koanf:"receipt-states" doc:"What such a gateway calls the states of its receipts, each with what it means: accepted, delivered, undelivered, expired or rejected. Others mean that nothing is known. Default: those words themselves."`
}

// The defaults.
var defaultStatuses = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}

// Words are what may stand in braces.
var Words = []string{"to", "to-digits", "from", "text", "id", "lang", "secret", "call-password", "ttl-seconds", "ttl-minutes", "coding", "data-coding"}

// word finds what looks like one: JSON has quotation marks behind its braces.
var word = regexp.MustCompile(`\{[A-Za-z][A-Za-z_-]*\}`)

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	var wrong wire.Faults
	bad := wrong.If
	bad(!slices.Contains([]string{"", http.MethodPost, http.MethodPut, http.MethodGet}, c.Method), "method: it is POST, PUT or GET")
	_, err := wire.ParseNetworks(c.AllowNetworks)
	bad(err != nil, "allow-networks: %w", err)
	err = c.checkURL()
	bad(err != nil, "url: %w", err)
	places := []string{c.URL, c.Body}
	for name, value := range c.Headers {
		bad(!httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value), "headers: %q is no header", name)
		bad(unsafeHeaders[http.CanonicalHeaderKey(name)], "headers: %s is not yours to set", name)
		places = append(places, value)
	}
	_, err = c.place()
	bad(err != nil, "headers: %w", err)
	bad(c.Method == http.MethodGet && c.Body != "", "body: a GET has none")
	all := strings.Join(places, "\n")
	for _, found := range word.FindAllString(all, -1) {
		bad(!slices.Contains(Words, strings.Trim(found, "{}")), "%s stands for nothing", found)
	}
	bad(!strings.Contains(all, "{to}") && !strings.Contains(all, "{to-digits}"), "{to} or {to-digits} is nowhere: nobody would get the message")
	bad(!strings.Contains(all, "{text}"), "{text} is nowhere: the message would be empty")
	bad(strings.Contains(all, "{secret}") != (c.SecretFile != ""), "{secret} and secret-file: one without the other")
	bad(strings.Contains(all, "{from}") != (c.From != ""), "{from} and from: one without the other")
	bad(strings.Contains(all, "{call-password}") && len(c.CallPasswordFiles) == 0, "{call-password} stands for nothing without call-password-files")
	for _, status := range c.Statuses {
		bad(status < 200 || status > 299, "success-statuses: %d means no success in HTTP", status)
	}
	for key, pattern := range c.patterns() {
		_, err := regexp.Compile(pattern)
		bad(err != nil, "%s: %w", key, err)
	}
	bad(c.IDPath != "" && slices.Contains(strings.Split(c.IDPath, "."), ""), "id-path: there is an empty name in it")
	wrong = append(wrong, wire.CheckSecrets(c.SecretFile))
	for _, path := range c.SigningFiles {
		_, err := readKey(path)
		bad(err != nil, "signing-secret-files: %w", err)
	}
	bad(len(c.SigningFiles) > 0 && len(c.CallPasswordFiles) > 0, "signing-secret-files or call-password-files: whoever can sign needs no password")
	for _, path := range c.CallPasswordFiles {
		_, err := readPassword(path)
		bad(err != nil, "call-password-files: %w", err)
	}
	bad(len(c.ReceiptStates) > 0 && len(c.CallPasswordFiles) == 0, "receipt-states: whoever signs says them in our words")
	for theirs, ours := range c.ReceiptStates {
		bad(!states[provider.State(ours)], "receipt-states: %q, of %q, is no state", ours, theirs)
	}
	return errors.Join(wrong...)
}

func (c Config) patterns() map[string]string {
	return map[string]string{
		"success-pattern": c.Success, "permanent-pattern": c.Permanent, "blocked-pattern": c.Blocked,
		"throttled-pattern": c.Throttled, "unavailable-pattern": c.Unavailable,
	}
}

// unsafeHeaders would change what a request is, not what it says.
var unsafeHeaders = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Trailer": true, "Te": true, "Upgrade": true, "Expect": true,
	"Accept-Encoding": true,
}

func (c Config) checkURL() error {
	u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(c.URL))
	switch {
	case err != nil || u.Host == "":
		return errors.New("it is not a URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("it has a user or a fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || len(c.AllowNetworks) == 0):
		return errors.New("it must begin with https://, or be in a network of allow-networks")
	}
	// A word in the host's name would let a message choose who gets it.
	if scheme, rest, _ := strings.Cut(c.URL, "://"); strings.ContainsAny(scheme, "{}") || strings.ContainsAny(rest[:hostEnd(rest)], "{}") {
		return errors.New("there is a {word} in its host")
	}
	return nil
}

func hostEnd(rest string) int {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		return end
	}
	return len(rest)
}

// place is how words are written in the body.
func (c Config) place() (func(string) string, error) {
	kind := ""
	for name, value := range c.Headers {
		if http.CanonicalHeaderKey(name) == "Content-Type" {
			kind = value
		}
	}
	if c.Body == "" {
		return asText, nil
	}
	media, _, err := mime.ParseMediaType(kind)
	switch {
	case err != nil:
		return nil, errors.New("there is a body, and no Content-Type")
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return asJSON, nil
	case media == "application/x-www-form-urlencoded":
		return url.QueryEscape, nil
	case media == "text/plain":
		return asText, nil
	}
	return nil, fmt.Errorf("it is not known how to write a message into %s", media)
}
