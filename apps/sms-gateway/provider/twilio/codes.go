package twilio

import "github.com/popvote/popvote/libs/sms"

// codes are what Twilio's error codes mean for a message
// (https://www.twilio.com/docs/api/errors). Those that are not here are judged by the status.
var codes = map[int]error{
	// The number.
	21211: sms.ErrPermanent, // invalid 'To' phone number
	21214: sms.ErrPermanent, // 'To' phone number cannot be reached
	13223: sms.ErrPermanent, // a call's phone number has the wrong form
	13224: sms.ErrPermanent, // a call's phone number is not valid
	21217: sms.ErrPermanent, // phone number does not appear to be valid
	21265: sms.ErrPermanent, // 'To' cannot be a short code
	21266: sms.ErrPermanent, // 'To' and 'From' cannot be the same
	21610: sms.ErrPermanent, // the recipient has unsubscribed
	21614: sms.ErrPermanent, // 'To' is not a valid mobile number
	21635: sms.ErrPermanent, // 'To' cannot be a landline
	30005: sms.ErrPermanent, // unknown destination handset
	30006: sms.ErrPermanent, // landline or unreachable carrier

	// Numbers and messages that it does not carry.
	21215: sms.ErrBlocked, // geographic permissions
	13227: sms.ErrBlocked, // geographic permissions of calls
	21216: sms.ErrBlocked, // calls to this number are not allowed
	21408: sms.ErrBlocked, // SMS to this region is not enabled
	30004: sms.ErrBlocked, // message blocked
	30007: sms.ErrBlocked, // filtered by Twilio or a carrier
	30450: sms.ErrBlocked, // SMS pumping protection
	30453: sms.ErrBlocked, // as above
	60410: sms.ErrBlocked, // as above, for a prefix

	// How much at once.
	14107: sms.ErrThrottled, // SMS send rate limit exceeded
	20429: sms.ErrThrottled, // too many requests
	21611: sms.ErrThrottled, // the queue of 'From' is full
	30001: sms.ErrThrottled, // queue overflow
	30022: sms.ErrThrottled, // US A2P rate limits exceeded
	63038: sms.ErrThrottled, // daily message limit

	// Our account, our configuration, or a text: another route may do it.
	20003: sms.ErrUnavailable, // authentication
	20005: sms.ErrUnavailable, // account not active
	20404: sms.ErrUnavailable, // no such account
	21210: sms.ErrUnavailable, // a call's 'From' is not ours
	21212: sms.ErrUnavailable, // invalid 'From'
	21602: sms.ErrUnavailable, // no body
	21603: sms.ErrUnavailable, // no 'From'
	21606: sms.ErrUnavailable, // 'From' is not ours, or not for that
	21608: sms.ErrUnavailable, // trial accounts send to verified numbers
	21609: sms.ErrUnavailable, // invalid 'StatusCallback'
	21612: sms.ErrUnavailable, // no way from that 'From' to this 'To'
	21617: sms.ErrUnavailable, // body too long
	21659: sms.ErrUnavailable, // 'From' is not a Twilio number
	21660: sms.ErrUnavailable, // 'From' and account do not match
	21703: sms.ErrUnavailable, // the messaging service has no number for it
	21705: sms.ErrUnavailable, // invalid messaging service
	30002: sms.ErrUnavailable, // account suspended
	30003: sms.ErrUnavailable, // handset unreachable: by this route, now
	30034: sms.ErrUnavailable, // US: unregistered number

	// What it says nothing of.
	20500: sms.ErrUnknown, // internal server error
	20503: sms.ErrUnknown, // service unavailable
	30008: sms.ErrUnknown, // unknown error
	30410: sms.ErrUnknown, // provider timeout
}
