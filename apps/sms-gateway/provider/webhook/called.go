package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/strictjson"
)

// The headers of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

const (
	// leastKey and mostKey are the bytes that a secret has by the standard.
	leastKey, mostKey = 24, 64
	// maxSignatures bounds the work for one call.
	maxSignatures = 8
)

// What a gateway tells of.
const (
	typeMessage = "sms.received"
	typeReceipt = "sms.receipt"
)

// event is the body of a call, as the standard recommends it: its type, when it happened, and of what.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		// ID is the gateway's id of the message, of either kind.
		ID string `json:"id"`
		// From, To and Text are of a message that a voter sent; numbers in E.164.
		From string `json:"from"`
		To   string `json:"to"`
		Text string `json:"text"`
		// State and Code are of a receipt: provider.State, and the gateway's own reason.
		State provider.State `json:"state"`
		Code  string         `json:"code"`
	} `json:"data"`
}

var states = map[provider.State]bool{
	provider.Accepted: true, provider.Delivered: true, provider.Undelivered: true,
	provider.Expired: true, provider.Rejected: true, provider.Unknown: true,
}

// readKey returns the key in a file: whsec_ and base64.
func readKey(path string) ([]byte, error) {
	text, err := wire.ReadSecret(path)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
	if err != nil || len(key) < leastKey || len(key) > mostKey {
		return nil, fmt.Errorf("couldn't use %s: a secret is whsec_ and base64 of %d to %d bytes", path, leastKey, mostKey)
	}
	return key, nil
}

// read implements wire.Reader.
func (p *Provider) read(r *http.Request, body []byte) (wire.Call, error) {
	var keys [][]byte
	for _, path := range p.config.SigningFiles {
		key, err := readKey(path)
		if err != nil {
			return wire.Call{}, err
		}
		keys = append(keys, key)
	}
	id := r.Header.Get(headerID)
	if err := Verify(keys, r.Header, body, p.deps.Clock()); err != nil {
		return wire.Call{}, err
	}
	return told(id, body)
}

// Verify says whether a call was signed with one of the keys, not long ago: "v1," and base64 of
// HMAC-SHA256 over id.timestamp.body.
func Verify(keys [][]byte, h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get(headerID), h.Get(headerTimestamp)
	// A dot in an id would let it and the time stamp be cut elsewhere.
	if id == "" || strings.Contains(id, ".") || len(id) > maxID {
		return wire.ErrForged
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return wire.ErrForged
	}
	signed := false
	for i, signature := range strings.Fields(h.Get(headerSignature)) {
		text, v1 := strings.CutPrefix(signature, "v1,")
		given, err := base64.StdEncoding.Strict().DecodeString(text)
		if i >= maxSignatures {
			break
		}
		if !v1 || err != nil {
			continue
		}
		for _, key := range keys {
			if wire.Equal(sign(key, id, stamp, body), given) {
				signed = true
			}
		}
	}
	switch {
	case !signed:
		return wire.ErrForged
	case !wire.Fresh(time.Unix(seconds, 0), now):
		return wire.ErrStale
	}
	return nil
}

func sign(key []byte, id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// told reads a call that is the gateway's.
func told(id string, body []byte) (wire.Call, error) {
	var e event
	if err := strictjson.Decode(body, &e); err != nil {
		return wire.Call{}, fmt.Errorf("%w: %w", wire.ErrMalformed, errJSON)
	}
	call := wire.Call{Key: id}
	d := e.Data
	switch {
	case d.ID == "" || len(d.ID) > maxID || e.Timestamp.IsZero():
		return wire.Call{}, wire.ErrMalformed
	case e.Type == typeMessage && d.From != "" && d.State == "" && d.Code == "":
		call.Messages = []sms.Inbound{{From: wire.Number(d.From), To: wire.Number(d.To), Text: d.Text, ReceivedAt: e.Timestamp, ProviderID: d.ID}}
	case e.Type == typeReceipt && states[d.State] && d.From == "" && d.To == "" && d.Text == "":
		call.Receipts = []provider.Receipt{{Ref: d.ID, State: d.State, Code: d.Code, At: e.Timestamp}}
	default:
		return wire.Call{}, wire.ErrMalformed
	}
	return call, nil
}

// errJSON stands for whatever is wrong with it, which could quote a text.
var errJSON = errors.New("it is not the JSON that is wanted")
