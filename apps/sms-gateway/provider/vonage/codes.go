package vonage

import "github.com/popvote/popvote/libs/sms"

// codes are what the Messages API's error codes mean for a message
// (https://developer.vonage.com/api-errors/messages). Those that are not here are judged by the status.
var codes = map[string]error{
	// The number.
	"1050": sms.ErrPermanent, // number barred
	"1170": sms.ErrPermanent, // invalid or missing number
	"1190": sms.ErrPermanent, // absent subscriber, for good
	"1240": sms.ErrPermanent, // the recipient has sent STOP
	"1300": sms.ErrPermanent, // not in the provider's network
	"1310": sms.ErrPermanent, // the device can't receive it

	// Numbers and messages that it does not carry.
	"1160": sms.ErrBlocked, // the destination is not on the account's list
	"1210": sms.ErrBlocked, // anti-spam rejection
	"1280": sms.ErrBlocked, // blocked by the carrier

	// How much at once.
	"1000": sms.ErrThrottled, // throttled
	"1241": sms.ErrThrottled, // too many sends to a number

	// Our account, our configuration, a text or a route: another may do it.
	"1010": sms.ErrUnavailable, // a parameter is missing
	"1020": sms.ErrUnavailable, // a parameter is invalid: which, it does not say by the code
	"1040": sms.ErrUnavailable, // it was unable to process the request
	"1060": sms.ErrUnavailable, // account barred
	"1070": sms.ErrUnavailable, // no credit
	"1080": sms.ErrUnavailable, // account not enabled
	"1090": sms.ErrUnavailable, // message too long
	"1100": sms.ErrUnavailable, // "message was not submitted because there was a communication failure"
	"1110": sms.ErrUnavailable, // invalid signature
	"1120": sms.ErrUnavailable, // sender not accepted
	"1130": sms.ErrUnavailable, // invalid TTL
	"1140": sms.ErrUnavailable, // facility not allowed
	"1180": sms.ErrUnavailable, // absent subscriber, for now
	"1250": sms.ErrUnavailable, // unroutable

	"low-balance":       sms.ErrUnavailable,
	"unauthorized":      sms.ErrUnavailable,
	"forbidden":         sms.ErrUnavailable,
	"not-found":         sms.ErrUnavailable,
	"unprovisioned":     sms.ErrUnavailable,
	"account-suspended": sms.ErrUnavailable,
	"jwt-expired":       sms.ErrUnavailable,
	"jwt-revoked":       sms.ErrUnavailable,
	"invalid-api-key":   sms.ErrUnavailable,
	"invalid-signature": sms.ErrUnavailable,
	"throttled":         sms.ErrThrottled,

	// What it says nothing of.
	"1030": sms.ErrUnknown, // internal error while it was processed
	"1320": sms.ErrUnknown, // already sent
	"1330": sms.ErrUnknown, // unknown
}
