package identity

import (
	"errors"

	"github.com/nyaruka/phonenumbers"

	"github.com/popvote/popvote/libs/sms"
)

// The ways in which a phone number is of no use.
var (
	ErrPhoneInvalid   = errors.New("not a valid phone number")
	ErrPhoneNotMobile = errors.New("not a mobile number")
)

// ParsePhone returns a mobile number in E.164, however it was typed. A number without a country code
// is one of the region (ISO 3166-1 alpha-2). Where a country's numbers do not tell mobile from fixed
// lines (the United States), they are all taken.
func ParsePhone(input, region string) (sms.Number, error) {
	if len(input) > longestInput {
		return "", ErrPhoneInvalid
	}
	n, err := phonenumbers.Parse(input, region)
	// An extension is dropped by E.164: two people behind one switchboard would become one phone.
	if err != nil || n.GetExtension() != "" || !phonenumbers.IsValidNumber(n) {
		return "", ErrPhoneInvalid
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
		return sms.Number(phonenumbers.Format(n, phonenumbers.E164)), nil
	default:
		return "", ErrPhoneNotMobile
	}
}
