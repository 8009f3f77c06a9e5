package smpp

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
)

// The message types in esm_class that tell of a message of ours (SMPP 3.4, 5.2.12).
const (
	typeMask         = 0x3C
	typeReceipt      = 0x04
	typeIntermediate = 0x20
)

// stateOf are the values of message_state (SMPP 3.4, 5.2.28), statOf those of stat: in a receipt's text
// (appendix B).
var (
	stateOf = map[byte]provider.State{
		1: provider.Accepted, 2: provider.Delivered, 3: provider.Expired, 4: provider.Undelivered,
		5: provider.Undelivered, 6: provider.Accepted, 7: provider.Unknown, 8: provider.Rejected,
	}
	statOf = map[string]provider.State{
		"ENROUTE": provider.Accepted, "DELIVRD": provider.Delivered, "EXPIRED": provider.Expired,
		"DELETED": provider.Undelivered, "UNDELIV": provider.Undelivered, "ACCEPTD": provider.Accepted,
		"UNKNOWN": provider.Unknown, "REJECTD": provider.Rejected,
	}
)

// isReceipt is whether a short message tells of one of ours. Its text says nothing of that: a voter can
// type what a receipt looks like.
func isReceipt(s wire.Short) bool {
	if kind := s.Class & typeMask; kind == typeReceipt || kind == typeIntermediate {
		return true
	}
	_, named := s.Options[pdu.TagReceiptedMessageID]
	return named
}

// report is what a receipt says: which message, as the receipt names it, and what became of it.
type report struct {
	id    string
	state provider.State
	code  string
	// at is the zero time if it says none.
	at time.Time
}

// readReceipt reads a receipt's options, and for what they leave out its text. It is not ok without an id
// and a state.
func readReceipt(s wire.Short, zone *time.Location) (r report, ok bool) {
	if coding := s.Coding; coding != data.UCS2Coding {
		r = readReceiptText(string(s.Data), zone)
	} else {
		r = readReceiptText(wire.Decode(coding, s.Data), zone)
	}
	if f, ok := s.Options[pdu.TagReceiptedMessageID]; ok {
		if id, _, _ := bytes.Cut(f.Data, []byte{0}); len(id) > 0 && len(id) <= maxReceiptID {
			r.id = string(id)
		}
	}
	if f, ok := s.Options[pdu.TagMessageStateOption]; ok && len(f.Data) == 1 {
		if state, ok := stateOf[f.Data[0]]; ok {
			r.state = state
		}
	}
	if f, ok := s.Options[pdu.TagNetworkErrorCode]; ok && len(f.Data) == 3 && r.code == "" {
		r.code = fmt.Sprintf("%d:%d", f.Data[0], int(f.Data[1])<<8|int(f.Data[2]))
	}
	return r, r.id != "" && r.state != ""
}

const (
	maxReceiptID = 64
	// maxCode is far above err:'s three characters, which some SMSCs exceed.
	maxCode = 16
)

// readReceiptText reads "id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…", in any order
// and case, up to the text, which is ours and may hold anything.
func readReceiptText(text string, zone *time.Location) (r report) {
	lower := strings.ToLower(strings.ToValidUTF8(text, "?"))
	if len(lower) != len(text) {
		return r // a letter that changes its length is in no receipt
	}
	if end := strings.Index(lower, "text:"); end >= 0 {
		lower, text = lower[:end], text[:end]
	}
	value := func(key string) string {
		for from := 0; ; {
			at := strings.Index(lower[from:], key)
			if at < 0 {
				return ""
			}
			at += from
			if at > 0 && lower[at-1] != ' ' { // "id:" also ends "msgid:"
				from = at + len(key)
				continue
			}
			v, _, _ := strings.Cut(text[at+len(key):], " ")
			return v
		}
	}
	if id := value("id:"); len(id) <= maxReceiptID {
		r.id = id
	}
	r.state = statOf[strings.ToUpper(value("stat:"))]
	if code := value("err:"); len(code) <= maxCode && isPrintable(code) && strings.Trim(code, "0") != "" {
		r.code = code
	}
	done := value("done date:")
	for _, layout := range []string{"0601021504", "060102150405"} {
		if at, err := time.ParseInLocation(layout, done, zone); err == nil {
			r.at = at
		}
	}
	return r
}
