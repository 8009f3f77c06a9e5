package identity

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

// CallingCode is that of the country which a prefix such as "+85291" is of ("+852"); "+" if it is of none alone.
func CallingCode(prefix string) string {
	codes := phonenumbers.GetSupportedCallingCodes()
	for n := 2; n <= min(4, len(prefix)); n++ { // no code begins with another
		if code, err := strconv.Atoi(prefix[1:n]); err == nil && codes[code] {
			return prefix[:n]
		}
	}
	return "+"
}

// Countries are those whose phones are taken, by what their numbers begin with.
type Countries []string

// anyCountry stands for all there are.
const anyCountry = "any"

// goodPrefix is a calling code, with as many digits after it as are wanted.
var goodPrefix = regexp.MustCompile(`^\+[1-9][0-9]{0,11}$`)

// ReadCountries reads prefixes such as "+852", or the one word "any". None is the calling code of the region (ISO
// 3166-1 alpha-2).
func ReadCountries(list []string, region string) (Countries, error) {
	if len(list) == 0 {
		code := phonenumbers.GetCountryCodeForRegion(region)
		if code == 0 {
			return nil, fmt.Errorf("%q is no region such as HK", region)
		}
		return Countries{"+" + strconv.Itoa(code)}, nil
	}
	if slices.Contains(list, anyCountry) {
		if len(list) > 1 {
			return nil, fmt.Errorf("%q stands alone", anyCountry)
		}
		return Countries{"+"}, nil
	}
	for _, one := range list {
		if !goodPrefix.MatchString(one) {
			return nil, fmt.Errorf("%q is neither a prefix such as +852 nor %q", one, anyCountry)
		}
	}
	return slices.Clone(list), nil
}

// Have says whether a number is of one of them.
func (c Countries) Have(n sms.Number) bool {
	return slices.ContainsFunc(c, func(prefix string) bool { return strings.HasPrefix(n.Reveal(), prefix) })
}
