package smpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/libs/sms"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestAReceiptIsReadAsSMSCsWriteIt(t *testing.T) {
	hongKong, err := time.LoadLocation("Asia/Hong_Kong")
	if err != nil {
		t.Fatal(err)
	}
	option := func(tag pdu.Tag, content ...byte) pdu.Field { return pdu.Field{Tag: tag, Data: content} }
	for name, test := range map[string]struct {
		text    string
		options []pdu.Field
		want    report
		ok      bool
	}{
		"appendix B": {
			"id:0000006699 sub:001 dlvrd:001 submit date:2611231159 done date:2611232000 stat:DELIVRD err:000 text:Your code",
			nil,
			report{"0000006699", provider.Delivered, "", noon},
			true,
		},
		"with seconds, in capitals, with a reason": {
			"ID:1a2b SUB:001 DLVRD:000 SUBMIT DATE:261123195900 DONE DATE:261123200000 STAT:undeliv ERR:001 TEXT:",
			nil,
			report{"1a2b", provider.Undelivered, "001", noon},
			true,
		},
		"the text is ours":    {"id:1 stat:EXPIRED err:0 text:id:2 stat:DELIVRD", nil, report{"1", provider.Expired, "", time.Time{}}, true},
		"another id":          {"msgid:7 id:1 stat:REJECTD", nil, report{"1", provider.Rejected, "", time.Time{}}, true},
		"no state of ours":    {"id:1 stat:WHATEVER", nil, report{id: "1"}, false},
		"no id":               {"stat:DELIVRD", nil, report{state: provider.Delivered}, false},
		"nothing":             {"", nil, report{}, false},
		"options":             {"", []pdu.Field{option(pdu.TagReceiptedMessageID, '7', 'f', 0), option(pdu.TagMessageStateOption, 8), option(pdu.TagNetworkErrorCode, 3, 1, 2)}, report{"7f", provider.Rejected, "3:258", time.Time{}}, true},
		"options over text":   {"id:1 stat:ENROUTE err:5", []pdu.Field{option(pdu.TagReceiptedMessageID, '7', 0), option(pdu.TagMessageStateOption, 2), option(pdu.TagNetworkErrorCode, 3, 0, 0)}, report{"7", provider.Delivered, "5", time.Time{}}, true},
		"options of no sense": {"id:1 stat:ACCEPTD", []pdu.Field{option(pdu.TagReceiptedMessageID, 0), option(pdu.TagMessageStateOption, 99)}, report{"1", provider.Accepted, "", time.Time{}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := wire.Short{Class: typeReceipt, Data: []byte(test.text), Options: map[pdu.Tag]pdu.Field{}}
			for _, f := range test.options {
				s.Options[f.Tag] = f
			}
			got, ok := readReceipt(s, hongKong)
			if ok != test.ok || got.id != test.want.id || got.state != test.want.state || got.code != test.want.code || !got.at.Equal(test.want.at) {
				t.Errorf("%+v, %v; want %+v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

// A voter who types a receipt's text has not delivered anything.
func TestOnlyTheNetworkSaysWhatIsAReceipt(t *testing.T) {
	text := []byte("id:1 sub:001 dlvrd:001 submit date:2611231159 done date:2611231200 stat:DELIVRD err:000 text:")
	for class, want := range map[byte]bool{0: false, 0x40: false, 0x08: false, 0x04: true, 0x20: true, 0x44: true} {
		if got := isReceipt(wire.Short{Class: class, Data: text}); got != want {
			t.Errorf("class %#x: %v", class, got)
		}
	}
	if !isReceipt(wire.Short{Options: map[pdu.Tag]pdu.Field{pdu.TagReceiptedMessageID: {}}}) {
		t.Error("it names a message of ours")
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add([]byte("id:0000006699 sub:001 dlvrd:001 submit date:2611231159 done date:2611232000 stat:DELIVRD err:000 text:Your code"), byte(0), []byte("1a\x00"), []byte{2})
	f.Add([]byte("ID:İ stat:\xff"), byte(8), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, text []byte, coding byte, id, state []byte) {
		s := wire.Short{Class: typeReceipt, Coding: coding, Data: text, Options: map[pdu.Tag]pdu.Field{
			pdu.TagReceiptedMessageID: {Data: id}, pdu.TagMessageStateOption: {Data: state},
		}}
		r, ok := readReceipt(s, time.UTC)
		if len(r.id) > maxReceiptID || len(r.code) > maxCode {
			t.Errorf("too long: %+v", r)
		}
		if ok && (r.id == "" || r.state == "") {
			t.Errorf("taken: %+v", r)
		}
		newRefs(1).find(r.id, true, "85291234567")
	})
}

func TestAnIDIsFoundInAnyNotation(t *testing.T) {
	const one, other = sms.Number("+85291234567"), sms.Number("+85261234567")
	r := newRefs(3)
	r.add("1A2B", one)
	r.add("10", one)
	r.add("16", other) // 10 is 16 in hexadecimal, and 16 is 10
	for _, test := range []struct {
		id, number, want string
		news             bool
	}{
		{"0000006699", "85291234567", "1A2B", true},
		{"1a2b", "85291234567", "1A2B", false},
		{"16", "91234567", "10", true},
		{"16", "61234567", "16", true},
		{"unheard-of", "91234567", "unheard-of", true},
	} {
		if ref, news := r.find(test.id, true, "", test.number); ref != test.want || news != test.news {
			t.Errorf("%s of %s is %s, %v; want %s, %v", test.id, test.number, ref, news, test.want, test.news)
		}
	}
	r.add("1A2C", one)
	if ref, _ := r.find("6699", false, "91234567"); ref != "6699" {
		t.Errorf("the oldest of four is still known as %s", ref)
	}
	for i := range 10 {
		r.add("same", one)
		if i == 5 {
			r.add("1", other)
		}
	}
	if ref, news := r.find("SAME", false, "91234567"); ref != "same" || !news || len(r.sent) > 3 {
		t.Errorf("an id that was given out again is %s, %v, of %d", ref, news, len(r.sent))
	}
}

// text takes the parts of a text in some order, and returns what the receiver got.
func text(t *testing.T, p *parts, now time.Time, ref uint16, order []byte, of ...string) (whole []string) {
	t.Helper()
	key := partsKey{"+85291234567", "10850", ref, byte(len(of))}
	for _, number := range order {
		part := of[number-1]
		err := p.add(t.Context(), key, number, []byte(part), part, now, func(octets []byte, ids string) error {
			if string(octets) != ids {
				t.Errorf("the ids of %q are %q", octets, ids)
			}
			whole = append(whole, string(octets))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return whole
}

func TestPartsBecomeOneTextOnce(t *testing.T) {
	p := newParts()
	if got := text(t, p, noon, 1, []byte{3, 1, 1, 2, 2, 3}, "VOTE ", "AB0D", "1234"); !slices.Equal(got, []string{"VOTE AB0D1234"}) {
		t.Errorf("out of order and again: %q", got)
	}
	if got := text(t, p, noon, 1, []byte{1, 2, 3}, "VOTE ", "ZZZZ", "1234"); len(got) != 0 {
		t.Errorf("the second part alone began another: %q", got)
	}
	if got := text(t, p, noon, 2, []byte{1}, "VOTE ", "AB0D1234"); len(got) != 0 {
		t.Errorf("of one part: %q", got)
	}
	if got := text(t, p, noon.Add(partsKept+time.Second), 2, []byte{2}, "VOTE ", "AB0D1234"); len(got) != 0 {
		t.Errorf("of parts that are far apart: %q", got)
	}
	if got := text(t, p, noon.Add(partsKept+time.Second), 2, []byte{1}, "VOTE ", "AB0D1234"); len(got) != 1 {
		t.Errorf("after all: %q", got)
	}
}

func TestAReferenceThatComesRoundBeginsAnotherText(t *testing.T) {
	p := newParts()
	if got := text(t, p, noon, 7, []byte{1, 2}, "one, ", "two"); len(got) != 1 {
		t.Fatal(got)
	}
	if got := text(t, p, noon, 7, []byte{1, 2}, "ONE, ", "TWO"); !slices.Equal(got, []string{"ONE, TWO"}) {
		t.Errorf("%q", got)
	}
}

func TestTheLastPartComesAgainIfTheWholeWasNotTaken(t *testing.T) {
	p, key := newParts(), partsKey{"+85291234567", "10850", 1, 2}
	down := errors.New("the board is away")
	take := func(err error) func([]byte, string) error { return func([]byte, string) error { return err } }
	if err := p.add(t.Context(), key, 1, []byte("a"), "", noon, take(down)); err != nil {
		t.Errorf("the first part: %v", err)
	}
	for range 2 {
		if err := p.add(t.Context(), key, 2, []byte("b"), "", noon, take(down)); !errors.Is(err, down) {
			t.Errorf("the last part: %v", err)
		}
	}
	if err := p.add(t.Context(), key, 2, []byte("b"), "", noon, take(nil)); err != nil {
		t.Error(err)
	}
	if err := p.add(t.Context(), key, 2, []byte("b"), "", noon, take(down)); err != nil {
		t.Errorf("after it was taken: %v", err)
	}
}

func TestUnfinishedTextsAreBounded(t *testing.T) {
	p := newParts()
	for i := range 3 * maxTexts {
		text(t, p, noon.Add(time.Duration(i)*time.Millisecond), uint16(i), []byte{1}, "a", "b")
	}
	if len(p.texts) > maxTexts {
		t.Errorf("%d are kept", len(p.texts))
	}
	if got := text(t, p, noon.Add(time.Minute), uint16(3*maxTexts-1), []byte{2}, "a", "b"); len(got) != 1 {
		t.Error("the newest was forgotten")
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{"": "0/0/", "+85264500000": "1/1/85264500000", "10850": "3/0/10850", "PopVote": "5/0/PopVote", "#PopVote": "5/0/#PopVote"} {
		a, err := sender(text)
		if got := fmt.Sprintf("%d/%d/%s", a.Ton(), a.Npi(), a.Address()); err != nil || got != want {
			t.Errorf("from %q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"+", "+852x", "+1234567890123456", "twelve chars", "投票", "1234567890123456"} {
		if _, err := sender(text); err == nil {
			t.Errorf("%q is a sender", text)
		}
	}
	for _, test := range []struct {
		ton         byte
		typed, want string
	}{
		{1, "85291234567", "+85291234567"},
		{1, "+85291234567", "+85291234567"},
		{0, "85291234567", "+85291234567"},
		{0, "91234567", "+85291234567"},
		{0, "447911123456", "+447911123456"},
		{2, "91234567", "+85291234567"},
		{2, "1", ""},
		{5, "BigBank", ""},
		{5, "85291234567", ""},
		{1, "", ""},
		{1, "1234567890123456", ""},
	} {
		a, err := pdu.NewAddressWithTonNpiAddr(test.ton, 1, test.typed)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := voter(a, "HK"); n.Reveal() != test.want || ok != (test.want != "") {
			t.Errorf("%d %s is %s, want %s", test.ton, test.typed, n.Reveal(), test.want)
		}
	}
	for _, n := range []sms.Number{"", "+", "85291234567", "+8529123x567", "+1234567890123456"} {
		if _, ok := recipient(n); ok {
			t.Errorf("%s is a recipient", n.Reveal())
		}
	}
}

func TestValidityIsWhatIsLeft(t *testing.T) {
	for left, want := range map[time.Duration]string{
		2 * time.Minute: "000000000200000R", 1999 * time.Millisecond: "000000000001000R", 999 * time.Millisecond: "",
		-time.Hour: "", 26*time.Hour + 3*time.Minute + 4*time.Second: "000001020304000R", 1e6 * time.Hour: "000028000000000R",
	} {
		if got, ok := validity(noon.Add(left), noon); got != want || ok != (want != "") {
			t.Errorf("%s is %q, want %q", left, got, want)
		}
	}
	if got, ok := validity(time.Time{}, noon); got != "" || !ok {
		t.Error("without a deadline it is not bounded")
	}
}

func TestThePauseGrowsAndEnds(t *testing.T) {
	var p pause
	now := noon
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		want *= time.Second
		if got := p.begin(now); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := p.begin(now.Add(time.Millisecond)); got != want-time.Millisecond {
			t.Errorf("the next answer of the same window made it %s", got)
		}
		now = now.Add(want)
		if got := p.left(now); got != 0 {
			t.Errorf("%s left at its end", got)
		}
	}
	p.end()
	if got := p.begin(now); got != time.Second {
		t.Errorf("after a good one: %s", got)
	}
}

func TestBindingAgainTakesLongerEachTimeUntilItHolds(t *testing.T) {
	b := backoff{first: time.Second, most: 5 * time.Second}
	for i, test := range []struct {
		held    time.Duration
		refused bool
		want    time.Duration
	}{
		{0, false, 1}, {1, false, 2}, {1, false, 4}, {1, false, 5}, {5, false, 5}, {6, false, 1}, {0, true, 5}, {0, false, 5}, {9, false, 1},
	} {
		if got := b.after(test.held*time.Second, test.refused); got != test.want*time.Second {
			t.Errorf("%d: %s, want %ds", i, got, test.want)
		}
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := Config{Address: "smsc.example:2775", SystemID: "popvote", PasswordFile: write("password", "s3cret\n", 0o600)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for key, spoil := range map[string]func(*Config){
		"address":        func(c *Config) { c.Address = "smsc.example" },
		"bind":           func(c *Config) { c.Bind = "tranceiver" },
		"system-id":      func(c *Config) { c.SystemID = "" },
		"system-type":    func(c *Config) { c.SystemType = "more than twelve" },
		"password-file":  func(c *Config) { c.PasswordFile = write("open", "s3cret", 0o644) },
		"password-file:": func(c *Config) { c.PasswordFile = write("long", "muchtoolong", 0o600) },
		"ca and":         func(c *Config) { c.ServerName = "smsc.example" },
		"ca:":            func(c *Config) { c.TLS, c.CA = true, write("ca.pem", "nothing", 0o600) },
		"sender":         func(c *Config) { c.Sender = "much too long a name" },
		"long":           func(c *Config) { c.Long = "payload" },
		"window":         func(c *Config) { c.Window = -1 },
		"answer-within":  func(c *Config) { c.AnswerWithin = -1 },
		"rebind-at-most": func(c *Config) { c.RebindAfter, c.RebindAtMost = 2, 1 },
		"receipt-zone":   func(c *Config) { c.ReceiptZone = "Hong Kong" },
		"permanent":      func(c *Config) { c.Permanent = []string{"0"} },
		"blocked":        func(c *Config) { c.Blocked = []string{"fraud"} },
	} {
		c := good
		spoil(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), key) || strings.Contains(err.Error(), "muchtoolong") {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := New(c, provider.Deps{}); err == nil {
			t.Errorf("%s: there is a provider of it", key)
		}
	}
}

// A sender that is nobody's phone does not come again, and more parts than anybody reads neither.
func TestWhatNoReceiverTakesIsRejectedForGood(t *testing.T) {
	p, err := New(Config{Address: "127.0.0.1:1", SystemID: "x"}, provider.Deps{Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	bank, _ := pdu.NewAddressWithTonNpiAddr(data.GSM_TON_ALPHANUMERIC, 0, "BigBank")
	phone, _ := pdu.NewAddressWithTonNpiAddr(data.GSM_TON_INTERNATIONAL, 1, "85291234567")
	for _, m := range []wire.Short{
		{Source: bank},
		{Source: phone, Part: wire.Part{Total: maxParts + 1, Number: 1}},
		{Source: phone, Data: make([]byte, maxOctets+1)},
		{Source: phone, Data: make([]byte, maxOctets), Part: wire.Part{Total: 2, Number: 1}},
	} {
		if got := p.inbound(context.Background(), m, nil); got != data.ESME_RX_R_APPN {
			t.Errorf("%v", got)
		}
	}
	if a, b := p.idOf("one"), p.idOf("two"); a == b || a != p.idOf("one") || bytes.Contains([]byte(a), []byte("one")) {
		t.Errorf("ids %s and %s", a, b)
	}
}
