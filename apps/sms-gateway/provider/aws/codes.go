package aws

import (
	"errors"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/popvote/popvote/libs/sms"
)

// The reasons that SendTextMessage gives
// (https://docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_SendTextMessage.html), as far as they
// are about the number. All others are about the account, its configuration or the text: another route may do it.
var (
	conflicts = map[types.ConflictExceptionReason]error{
		types.ConflictExceptionReasonDestinationPhoneNumberOptedOut:                       sms.ErrPermanent,
		types.ConflictExceptionReasonDestinationCountryBlockedByProtectConfiguration:      sms.ErrBlocked,
		types.ConflictExceptionReasonDestinationPhoneNumberBlockedByProtectNumberOverride: sms.ErrBlocked,
	}
	validations = map[types.ValidationExceptionReason]error{
		types.ValidationExceptionReasonDestinationCountryBlocked: sms.ErrBlocked,
		types.ValidationExceptionReasonCountryNotEnabled:         sms.ErrBlocked,
		types.ValidationExceptionReasonPriceOverThreshold:        sms.ErrBlocked, // above max-price: what fraud pumps
	}
)

// numberField is the parameter that an invalid number is in.
const numberField = "DestinationPhoneNumber"

// outcomeOf says what an error means that Amazon answered with, and in which of its words; nil if it did not
// answer. Only words of its own list are repeated: an answer may hold anything.
func outcomeOf(err error) (word string, header http.Header, outcome error) {
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || answer.HTTPStatusCode() == 0 { // it stands for an answer that never came, too
		return "", nil, nil
	}
	word, outcome = wordOf(err, answer.HTTPStatusCode())
	return word, answer.Response.Header, outcome
}

func wordOf(err error, status int) (word string, outcome error) {
	if _, ok := errors.AsType[*types.ThrottlingException](err); ok {
		return "ThrottlingException", sms.ErrThrottled
	}
	if e, ok := errors.AsType[*types.ConflictException](err); ok {
		return known(e.Reason, "ConflictException"), orUnavailable(conflicts[e.Reason])
	}
	if e, ok := errors.AsType[*types.ValidationException](err); ok {
		outcome := validations[e.Reason]
		if outcome == nil && slices.ContainsFunc(e.Fields, func(f types.ValidationExceptionField) bool { return f.Name != nil && *f.Name == numberField }) {
			outcome = sms.ErrPermanent
		}
		return known(e.Reason, "ValidationException"), orUnavailable(outcome)
	}
	if e, ok := errors.AsType[*types.AccessDeniedException](err); ok {
		return known(e.Reason, "AccessDeniedException"), sms.ErrUnavailable
	}
	if e, ok := errors.AsType[*types.ServiceQuotaExceededException](err); ok {
		return known(e.Reason, "ServiceQuotaExceededException"), sms.ErrUnavailable // the money of the month, not of the second
	}
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return "ResourceNotFoundException", sms.ErrUnavailable
	}
	if _, ok := errors.AsType[*types.InternalServerException](err); ok {
		return "InternalServerException", sms.ErrUnknown
	}
	switch {
	case status == http.StatusTooManyRequests:
		return "no word", sms.ErrThrottled
	case status/100 == 4 && status != http.StatusRequestTimeout:
		return "no word", sms.ErrUnavailable
	}
	return "no word", sms.ErrUnknown
}

func orUnavailable(outcome error) error {
	if outcome == nil {
		return sms.ErrUnavailable
	}
	return outcome
}

// known is a reason, if it is of the list.
func known[R interface {
	~string
	Values() []R
}](reason R, otherwise string) string {
	if slices.Contains(reason.Values(), reason) {
		return string(reason)
	}
	return otherwise
}
