package wire

import (
	"unicode/utf16"
	"unicode/utf8"

	"github.com/linxGnu/gosmpp/data"
)

// The limits of one short message, in bytes as SMPP carries them: GSM's septets each in a byte of its own,
// 160 of which make 140 on the air (3GPP TS 23.038, 6.1). A part with a header of two bytes' reference has
// 7 bytes less, which are 8 septets.
const (
	gsmWhole, gsmPart   = 160, 152
	ucs2Whole, ucs2Part = 140, 132

	escape = 0x1B
)

// Text is a text as its segments' bytes, all in one coding.
type Text struct {
	Encoding data.Encoding
	Segments [][]byte
}

// InGSM says whether GSM's alphabet has all of a text; else it goes out in UCS-2.
func InGSM(text string) bool {
	_, err := data.GSM7BIT.Encode(text)
	return err == nil
}

// Encode puts a text into GSM's alphabet if that has all of it, else into UCS-2, and cuts it into
// segments: one if it fits, else none that ends inside a character.
func Encode(text string) Text {
	// The library fails exactly where the alphabet lacks a character. Its own splitting counts
	// characters, of which some take two places, and makes segments that are too long.
	if octets, err := data.GSM7BIT.Encode(text); err == nil {
		return Text{data.GSM7BIT, cut(octets, gsmWhole, gsmPart, func(before []byte) bool { return before[len(before)-1] != escape })}
	}
	units := utf16.Encode([]rune(text))
	octets := make([]byte, 0, 2*len(units))
	for _, unit := range units {
		octets = append(octets, byte(unit>>8), byte(unit))
	}
	return Text{data.UCS2, cut(octets, ucs2Whole, ucs2Part, func(before []byte) bool {
		high := before[len(before)-2]
		return high < 0xD8 || high > 0xDB
	})}
}

// cut makes segments; a place is good to cut at if whole says so of what is before it.
func cut(octets []byte, one, part int, whole func(before []byte) bool) (segments [][]byte) {
	if len(octets) <= one {
		return [][]byte{octets}
	}
	step := 1
	if one == ucs2Whole {
		step = 2
	}
	for len(octets) > part {
		at := part
		if !whole(octets[:at]) {
			at -= step
		}
		segments, octets = append(segments, octets[:at]), octets[at:]
	}
	return append(segments, octets)
}

// Decode reads a text in a data_coding (SMPP 3.4, 5.2.19; from 0x10, 3GPP TS 23.038, 4). It never fails:
// a code with one wrong character around it is still a code.
func Decode(coding byte, octets []byte) string {
	switch {
	case coding == data.UCS2Coding, coding >= 0x10 && coding < 0x40 && coding&0x0C == 0x08:
		units := make([]uint16, 0, len(octets)/2)
		for i := 0; i+1 < len(octets); i += 2 {
			units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
		}
		return string(utf16.Decode(units))
	case coding == data.GSM7BITCoding, coding >= 0x10 && coding < 0x40 && coding&0x0C == 0, coding >= 0xF0 && coding&0x04 == 0:
		return decodeGSM(octets)
	}
	if encoding := data.FromDataCoding(coding); encoding != nil {
		if text, err := encoding.Decode(octets); err == nil && utf8.ValidString(text) {
			return text
		}
	}
	text, err := data.LATIN1.Decode(octets)
	if err != nil {
		return ""
	}
	return text
}

// decodeGSM goes on after what the alphabet lacks, which the library does not.
func decodeGSM(octets []byte) string {
	if text, err := data.GSM7BIT.Decode(octets); err == nil {
		return text
	}
	var text []byte
	for i := 0; i < len(octets); i++ {
		one := octets[i : i+1]
		if octets[i] == escape && i+1 < len(octets) {
			i++
			one = octets[i-1 : i+1]
		}
		if decoded, err := data.GSM7BIT.Decode(one); err == nil {
			text = append(text, decoded...)
		} else {
			text = append(text, ' ')
		}
	}
	return string(text)
}
