// Package wire is what both ends of SMPP 3.4 need beyond gosmpp's pdu package: frames whose answer is
// known before their body is understood, the text of a short message, and its parts. It is also where
// gosmpp is kept from panicking, and from dropping what it does not know.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

const (
	headerSize = 16
	// maxFrame is gosmpp's own limit: a text of ten parts and its options are a tenth of it.
	maxFrame = data.MAX_PDU_LEN
	// maxID is the longest message id, without its NUL (SMPP 3.4, 5.2.23).
	maxID = 64
)

// ErrLength is a stream that cannot be followed any more: a command_length that no PDU has.
var ErrLength = errors.New("a PDU's length is impossible")

// errBody is a PDU whose body is not what its command says. What follows it can still be read.
var errBody = errors.New("a PDU's body can't be read")

// Frame is one PDU as it came, its header read and its body not. A response is judged by its header
// alone: SMSCs leave out the body of one that says no, which gosmpp takes for a broken stream.
type Frame struct {
	pdu.Header
	// raw is the whole PDU.
	raw []byte
}

// Read reads one PDU's bytes. After any error but none of them, the stream is lost.
func Read(r io.Reader) (Frame, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Header: pdu.ParseHeader(header)}
	if f.CommandLength < headerSize || f.CommandLength > maxFrame {
		return f, ErrLength
	}
	f.raw = append(make([]byte, 0, f.CommandLength), header[:]...)[:f.CommandLength]
	if _, err := io.ReadFull(r, f.raw[headerSize:]); err != nil {
		return f, err
	}
	return f, nil
}

// IsResponse is whether it answers another PDU.
func (f Frame) IsResponse() bool { return uint32(f.CommandID)&0x8000_0000 != 0 } //nolint:gosec // the sign is the bit

// Body is everything after the header.
func (f Frame) Body() []byte { return f.raw[headerSize:] }

// PDU reads the body. It never panics, whatever the bytes.
func (f Frame) PDU() (p pdu.PDU, err error) {
	defer func() {
		if recover() != nil {
			p, err = nil, errBody
		}
	}()
	if p, err = pdu.Parse(bytes.NewReader(f.raw)); err != nil {
		// The library's errors may quote what it read.
		return nil, errBody
	}
	return p, nil
}

// MessageID is the id in a response to a submit_sm: what stands before the first NUL, if anything does.
func (f Frame) MessageID() string {
	id, _, _ := bytes.Cut(f.Body(), []byte{0})
	if len(id) > maxID {
		return ""
	}
	return string(id)
}

// Marshal writes a PDU.
func Marshal(p pdu.PDU) []byte {
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	return b.Bytes()
}

// Short is a short message as submit_sm and deliver_sm carry it (SMPP 3.4, 4.4.1 and 4.6.1).
type Short struct {
	Source, Dest pdu.Address
	// Class is esm_class, Registered registered_delivery.
	Class, Registered byte
	Validity          string
	// Coding is data_coding as it came: gosmpp knows only some.
	Coding byte
	// Data is the message without its user data header, wherever it was.
	Data []byte
	// Part is which of a longer text it is.
	Part    Part
	Options map[pdu.Tag]pdu.Field
}

// Part is a short message's place in a longer text; Total is 0 if it is whole.
type Part struct {
	Ref           uint16
	Total, Number byte
}

// UserDataHeader says in esm_class that a header comes before the text.
const UserDataHeader = data.SM_UDH_GSM

// Short returns the short message in a submit_sm or deliver_sm. The library reads neither a data_coding it
// does not know nor every user data header, and fails for the whole message: both are read here.
func (f Frame) Short() (Short, error) {
	class, coding, ok := offsets(f.Body())
	if !ok {
		return Short{}, errBody
	}
	plain := Frame{f.Header, bytes.Clone(f.raw)}
	plain.Body()[class] &^= UserDataHeader
	p, err := plain.PDU()
	if err != nil {
		return Short{}, err
	}
	var s Short
	var m *pdu.ShortMessage
	switch p := p.(type) {
	case *pdu.SubmitSM:
		s = Short{Source: p.SourceAddr, Dest: p.DestAddr, Registered: p.RegisteredDelivery, Validity: p.ValidityPeriod, Options: p.OptionalParameters}
		m = &p.Message
	case *pdu.DeliverSM:
		s = Short{Source: p.SourceAddr, Dest: p.DestAddr, Registered: p.RegisteredDelivery, Validity: p.ValidityPeriod, Options: p.OptionalParameters}
		m = &p.Message
	default:
		return Short{}, errBody
	}
	s.Class, s.Coding = f.Body()[class], f.Body()[coding]
	if s.Data, err = m.GetMessageData(); err != nil {
		return Short{}, errBody
	}
	if len(s.Data) == 0 {
		s.Data = s.Options[pdu.TagMessagePayload].Data
	}
	var header pdu.UDH
	if s.Class&UserDataHeader != 0 {
		header, s.Data = cutHeader(s.Data)
	}
	s.Part = part(header, s.Options)
	return s, nil
}

// offsets walks to esm_class and to data_coding, before which there are strings of any length.
func offsets(body []byte) (class, coding int, ok bool) {
	at := 0
	skip := func(fixed, strings int) bool {
		at += fixed
		for range strings {
			if at > len(body) {
				return false
			}
			end := bytes.IndexByte(body[at:], 0)
			if end < 0 {
				return false
			}
			at += end + 1
		}
		return at < len(body)
	}
	// service_type; two addresses with type and plan.
	if !skip(0, 1) || !skip(2, 1) || !skip(2, 1) {
		return 0, 0, false
	}
	class = at
	// Class, protocol and priority; two times; two flags.
	ok = skip(3, 2) && skip(2, 0)
	return class, at, ok
}

// cutHeader takes the user data header off a message (3GPP TS 23.040, 9.2.3.24). One that makes no sense
// says nothing, and a length that is not there leaves the message as it is.
func cutHeader(message []byte) (header pdu.UDH, rest []byte) {
	if len(message) == 0 || len(message) < 1+int(message[0]) {
		return nil, message
	}
	end := 1 + int(message[0])
	if _, err := header.UnmarshalBinary(message[:end]); err != nil {
		header = nil
	}
	return header, message[end:]
}

// part finds a message's place in its header, which has it with a reference of one byte or two, or in the
// sar_ options. One that makes no sense is of no longer text.
func part(header pdu.UDH, options map[pdu.Tag]pdu.Field) Part {
	var p Part
	if e, ok := header.FindInfoElement(data.UDH_CONCAT_MSG_8_BIT_REF); ok && len(e.Data) == 3 {
		p = Part{Ref: uint16(e.Data[0]), Total: e.Data[1], Number: e.Data[2]}
	} else if e, ok := header.FindInfoElement(data.UDH_CONCAT_MSG_16_BIT_REF); ok && len(e.Data) == 4 {
		p = Part{Ref: binary.BigEndian.Uint16(e.Data), Total: e.Data[2], Number: e.Data[3]}
	} else if ref, total, number := options[pdu.TagSarMsgRefNum].Data, options[pdu.TagSarTotalSegments].Data, options[pdu.TagSarSegmentSeqnum].Data; len(ref) == 2 && len(total) == 1 && len(number) == 1 {
		p = Part{Ref: binary.BigEndian.Uint16(ref), Total: total[0], Number: number[0]}
	}
	if p.Total < 2 || p.Number < 1 || p.Number > p.Total {
		return Part{}
	}
	return p
}

// Header is a part's user data header, with a reference of two bytes: with one, the 257th text to a phone
// is taken for the first.
func (p Part) Header() pdu.UDH {
	ref := binary.BigEndian.AppendUint16(nil, p.Ref)
	return pdu.UDH{{ID: data.UDH_CONCAT_MSG_16_BIT_REF, Data: append(ref, p.Total, p.Number)}}
}

// SAR is the same as options, for an SMSC that makes the header itself (SMPP 3.4, 5.3.2.22 to 24).
func (p Part) SAR() []pdu.Field {
	return []pdu.Field{
		{Tag: pdu.TagSarMsgRefNum, Data: binary.BigEndian.AppendUint16(nil, p.Ref)},
		{Tag: pdu.TagSarTotalSegments, Data: []byte{p.Total}},
		{Tag: pdu.TagSarSegmentSeqnum, Data: []byte{p.Number}},
	}
}

// String leaves out what was said to whom.
func (s Short) String() string {
	return fmt.Sprintf("a short message of %d bytes, coding %d", len(s.Data), s.Coding)
}
