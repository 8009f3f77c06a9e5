package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// read reads the one frame that there is.
func read(t testing.TB, octets []byte) Frame {
	t.Helper()
	f, err := Read(bytes.NewReader(octets))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// deliver is a deliver_sm as it is on the wire.
func deliver(change func(*pdu.DeliverSM)) []byte {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.SourceAddr, _ = pdu.NewAddressWithTonNpiAddr(1, 1, "85291234567")
	d.DestAddr, _ = pdu.NewAddressWithTonNpiAddr(3, 0, "10850")
	change(d)
	return Marshal(d)
}

func TestAShortMessageIsReadWhereverItsTextIs(t *testing.T) {
	const text = "VOTE AB0D1234"
	header8 := []byte{5, 0, 3, 7, 2, 1}
	for name, test := range map[string]struct {
		change func(*pdu.DeliverSM)
		part   Part
	}{
		"short": {func(d *pdu.DeliverSM) { _ = d.Message.SetMessageDataWithEncoding([]byte(text), data.GSM7BIT) }, Part{}},
		"payload": {func(d *pdu.DeliverSM) {
			d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessagePayload, Data: []byte(text)})
		}, Part{}},
		"one byte of reference": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			_ = d.Message.SetMessageDataWithEncoding(append(slices.Clone(header8), text...), data.GSM7BIT)
		}, Part{7, 2, 1}},
		"two bytes of reference": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			d.Message.SetUDH(Part{0x1234, 3, 2}.Header())
			_ = d.Message.SetMessageDataWithEncoding([]byte(text), data.GSM7BIT)
		}, Part{0x1234, 3, 2}},
		"a header in the payload": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessagePayload, Data: append(slices.Clone(header8), text...)})
		}, Part{7, 2, 1}},
		"sar": {func(d *pdu.DeliverSM) {
			_ = d.Message.SetMessageDataWithEncoding([]byte(text), data.GSM7BIT)
			for _, f := range (Part{0x1234, 3, 2}).SAR() {
				d.RegisterOptionalParam(f)
			}
		}, Part{0x1234, 3, 2}},
		"a header that is empty": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			_ = d.Message.SetMessageDataWithEncoding(append([]byte{0}, text...), data.GSM7BIT)
		}, Part{}},
		"a header that is cut off": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			_ = d.Message.SetMessageDataWithEncoding(append([]byte{2, 0, 9}, text...), data.GSM7BIT)
		}, Part{}},
		"something else in the header too": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			_ = d.Message.SetMessageDataWithEncoding(append([]byte{8, 0x24, 1, 1, 0, 3, 7, 2, 1}, text...), data.GSM7BIT)
		}, Part{7, 2, 1}},
		"a part beyond the last": {func(d *pdu.DeliverSM) {
			d.EsmClass = UserDataHeader
			_ = d.Message.SetMessageDataWithEncoding(append([]byte{5, 0, 3, 7, 2, 3}, text...), data.GSM7BIT)
		}, Part{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := read(t, deliver(test.change)).Short()
			if err != nil {
				t.Fatal(err)
			}
			if got := Decode(s.Coding, s.Data); got != text || s.Part != test.part || s.Source.Address() != "85291234567" {
				t.Errorf("%q, %+v", got, s.Part)
			}
		})
	}
}

// gosmpp takes a refusal without a body for a broken stream, and drops a data_coding that it doesn't know.
func TestWhatTheLibraryDoesNotUnderstand(t *testing.T) {
	f := read(t, []byte{0, 0, 0, 16, 0x80, 0, 0, 9, 0, 0, 0, 0x0D, 0, 0, 0, 1})
	if _, err := f.PDU(); err == nil {
		t.Log("gosmpp reads it now")
	}
	if !f.IsResponse() || f.CommandStatus != data.ESME_RBINDFAIL || f.SequenceNumber != 1 || f.MessageID() != "" {
		t.Errorf("the answer to a bind: %+v", f.Header)
	}

	octets := deliver(func(d *pdu.DeliverSM) { _ = d.Message.SetMessageWithEncoding("投", data.UCS2) })
	at := bytes.LastIndex(octets, []byte{8, 0, 2})
	octets[at] = 0x18 // UCS-2, shown at once
	s, err := read(t, octets).Short()
	if err != nil || Decode(s.Coding, s.Data) != "投" {
		t.Errorf("coding %#x, %v", s.Coding, err)
	}
}

func TestAnImpossibleLengthLosesTheStream(t *testing.T) {
	for _, length := range [][]byte{{0, 0, 0, 15}, {0x80, 0, 0, 16}, {0, 1, 0, 1}} {
		if _, err := Read(bytes.NewReader(append(length, make([]byte, 80_000)...))); !errors.Is(err, ErrLength) {
			t.Errorf("%x: %v", length, err)
		}
	}
}

func TestDecodeNeverFails(t *testing.T) {
	for _, test := range []struct {
		coding byte
		octets string
		want   string
	}{
		{0, "VOTE\x00\x1B\x65", "VOTE@€"},
		{0, "VOTE\xFF AB0D1234", "VOTE  AB0D1234"},
		{0, "VOTE\x1B\x01 AB0D1234\x1B", "VOTE  AB0D1234 "},
		{1, "VOTE", "VOTE"},
		{1, "\xFF", "ÿ"},
		{3, "\xE9", "é"},
		{8, "\x62\x95\x79\x68\x00", "投票"},
		{8, "\xD8\x3D", "\uFFFD"},
		{4, "VOTE", "VOTE"},
		{0xF1, "VOTE", "VOTE"},
		{0xF5, "VOTE", "VOTE"},
		{0x19, "\x62\x95", "投"},
		{0x77, "VOTE", "VOTE"},
	} {
		if got := Decode(test.coding, []byte(test.octets)); got != test.want {
			t.Errorf("%#x %q is %q, want %q", test.coding, test.octets, got, test.want)
		}
	}
}

func FuzzTextGoesThere(f *testing.F) {
	for _, text := range []string{"", "123456", strings.Repeat("€", 200), strings.Repeat("投", 71), strings.Repeat("🗳a", 90), "\x1b\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := Encode(text)
		whole, one := ucs2Whole, ucs2Part
		if encoded.Encoding == data.GSM7BIT {
			whole, one = gsmWhole, gsmPart
		}
		var together string
		for _, segment := range encoded.Segments {
			if len(segment) > whole || len(encoded.Segments) > 1 && len(segment) > one {
				t.Fatalf("a segment of %d bytes", len(segment))
			}
			together += Decode(encoded.Encoding.DataCoding(), segment) // so none ends in a character
		}
		if want := strings.ToValidUTF8(text, "\uFFFD"); utf8.ValidString(text) && together != want {
			t.Fatalf("%q became %q", text, together)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(deliver(func(d *pdu.DeliverSM) { _ = d.Message.SetMessageDataWithEncoding([]byte("VOTE"), data.GSM7BIT) }))
	f.Add(deliver(func(d *pdu.DeliverSM) {
		d.EsmClass = UserDataHeader
		d.Message.SetUDH(Part{1, 2, 1}.Header())
		_ = d.Message.SetMessageDataWithEncoding([]byte("VOTE"), data.UCS2)
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: []byte("1A\x00")})
	}))
	f.Add(deliver(func(d *pdu.DeliverSM) {
		d.EsmClass = UserDataHeader
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessagePayload, Data: []byte{5, 0, 3, 1, 2, 1, 'a'}})
	}))
	f.Add(Marshal(pdu.NewBindRequest(pdu.Transceiver)))
	f.Add(Marshal(pdu.NewSubmitMulti()))
	f.Fuzz(func(t *testing.T, octets []byte) {
		frame, err := Read(bytes.NewReader(octets))
		if err != nil {
			return
		}
		if len(frame.MessageID()) > maxID {
			t.Error("too long an id")
		}
		s, err := frame.Short()
		if err != nil {
			return
		}
		if text := Decode(s.Coding, s.Data); !utf8.ValidString(text) {
			t.Errorf("the text %q", text)
		}
		if p := s.Part; p.Total != 0 && (p.Number < 1 || p.Number > p.Total) {
			t.Errorf("part %+v", p)
		}
	})
}
