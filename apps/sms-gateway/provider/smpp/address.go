package smpp

import (
	"fmt"
	"strings"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/sms"
)

// sender is the address that messages are from (SMPP 3.4, 5.2.5): an international number, a short code,
// or a name.
func sender(text string) (pdu.Address, error) {
	digits, international := strings.CutPrefix(text, "+")
	numeric := strings.Trim(digits, "0123456789") == ""
	switch {
	case text == "":
		return pdu.NewAddressWithTonNpi(data.GSM_TON_UNKNOWN, data.GSM_NPI_UNKNOWN), nil
	case international && numeric && len(digits) >= 1 && len(digits) <= maxNumber:
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_INTERNATIONAL, data.GSM_NPI_E164, digits)
	case international:
		return pdu.Address{}, fmt.Errorf("sender: %q is no number in E.164", text)
	case numeric && len(text) <= maxNumber:
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_NETWORK, data.GSM_NPI_UNKNOWN, text)
	case len(text) <= maxName && isPrintable(text):
		return pdu.NewAddressWithTonNpiAddr(data.GSM_TON_ALPHANUMERIC, data.GSM_NPI_UNKNOWN, text)
	default:
		return pdu.Address{}, fmt.Errorf("sender: %q is neither a number nor a name of up to %d characters", text, maxName)
	}
}

func isPrintable(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// recipient is a voter's address.
func recipient(n sms.Number) (pdu.Address, bool) {
	digits, ok := strings.CutPrefix(n.Reveal(), "+")
	if !ok || digits == "" || len(digits) > maxNumber || strings.Trim(digits, "0123456789") != "" {
		return pdu.Address{}, false
	}
	a, err := pdu.NewAddressWithTonNpiAddr(data.GSM_TON_INTERNATIONAL, data.GSM_NPI_E164, digits)
	return a, err == nil
}

// voter is whom an address is, in E.164. SMSCs write international numbers with and without saying so.
func voter(a pdu.Address, region string) (sms.Number, bool) {
	digits, plus := strings.CutPrefix(a.Address(), "+")
	if digits == "" || len(digits) > maxNumber || strings.Trim(digits, "0123456789") != "" || a.Ton() == data.GSM_TON_ALPHANUMERIC {
		return "", false
	}
	if !plus && a.Ton() != data.GSM_TON_INTERNATIONAL {
		if n, err := identity.ParsePhone(digits, region); err == nil {
			return n, true
		}
		if a.Ton() == data.GSM_TON_NATIONAL {
			return "", false
		}
	}
	return sms.Number("+" + digits), true
}

// ours is the number that a voter texted: as it came, for it may be a short code.
func ours(a pdu.Address) sms.Number {
	text := a.Address()
	if len(text) > maxNumber {
		text = text[:maxNumber]
	}
	if a.Ton() == data.GSM_TON_INTERNATIONAL && !strings.HasPrefix(text, "+") {
		text = "+" + text
	}
	return sms.Number(text)
}
