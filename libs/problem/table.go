package problem

import "net/http"

// Row is one line of the table of problems.
type Row struct {
	Code   Code
	Status int
	Effect Effect
	// Title is the short name; Advice a sentence for integrators.
	Title, Advice string
}

// Every problem of the public API.
const (
	MalformedJSON         Code = "malformed-json"
	DuplicateField        Code = "duplicate-field"
	UnknownField          Code = "unknown-field"
	InvalidField          Code = "invalid-field"
	WrongContentType      Code = "wrong-content-type"
	BodyTooLarge          Code = "body-too-large"
	LengthRequired        Code = "length-required"
	TLSRequired           Code = "tls-required"
	NotFound              Code = "not-found"
	MethodNotAllowed      Code = "method-not-allowed"
	OriginNotAllowed      Code = "origin-not-allowed"
	PollNotFound          Code = "poll-not-found"
	PollNotOpen           Code = "poll-not-open"
	PollPaused            Code = "poll-paused"
	PollClosed            Code = "poll-closed"
	ResultsNotPublished   Code = "results-not-published"
	IdentityInvalid       Code = "identity-invalid"
	PhoneInvalid          Code = "phone-invalid"
	PhoneNotMobile        Code = "phone-not-mobile"
	PhoneUnreachable      Code = "phone-unreachable"
	PhoneCountry          Code = "phone-country"
	PhoneUsedUp           Code = "phone-used-up"
	ChallengeInvalid      Code = "challenge-invalid"
	ChallengeExpired      Code = "challenge-expired"
	ChallengeSpent        Code = "challenge-spent"
	HumanCheckRequired    Code = "human-check-required"
	HumanCheckFailed      Code = "human-check-failed"
	HumanCheckUnavailable Code = "human-check-unavailable"
	TokenMissing          Code = "token-missing"
	TokenInvalid          Code = "token-invalid"
	TokenExpired          Code = "token-expired"
	TokenWrongStep        Code = "token-wrong-step"
	WrongMode             Code = "wrong-verification-mode"
	CodeWrong             Code = "code-wrong"
	CodeTooSoon           Code = "code-too-soon"
	CodeExhausted         Code = "code-exhausted"
	CodeExpired           Code = "code-expired"
	ResendTooSoon         Code = "resend-too-soon"
	ResendExhausted       Code = "resend-exhausted"
	SMSUnavailable        Code = "sms-unavailable"
	IdempotencyKeyMissing Code = "idempotency-key-missing"
	IdempotencyKeyInvalid Code = "idempotency-key-invalid"
	IdempotencyKeyReused  Code = "idempotency-key-reused"
	BallotInvalid         Code = "ballot-invalid"
	BallotWrongSize       Code = "ballot-wrong-size"
	BallotCopied          Code = "ballot-copied"
	AlreadyVoted          Code = "already-voted"
	ReceiptAmbiguous      Code = "receipt-ambiguous"
	WaitingRoom           Code = "waiting-room"
	RateLimited           Code = "rate-limited"
	Overloaded            Code = "overloaded"
	Unavailable           Code = "unavailable"
	OutcomeUnknown        Code = "outcome-unknown"
	Internal              Code = "internal"
)

// Table is every problem, in the order the documentation lists them.
var Table = []Row{
	{MalformedJSON, http.StatusBadRequest, NotApplied, "Not well-formed JSON", "The body is empty, is not one JSON value, or has something after it."},
	{DuplicateField, http.StatusBadRequest, NotApplied, "A member occurs twice", "Send each member of a JSON object once."},
	{UnknownField, http.StatusBadRequest, NotApplied, "A member is not known", "Send only the members the schema lists."},
	{InvalidField, http.StatusBadRequest, NotApplied, "A member has the wrong form", "See `field` for which one, and the schema for its form."},
	{WrongContentType, http.StatusUnsupportedMediaType, NotApplied, "The body is not JSON", "Send Content-Type: application/json, and no Content-Encoding."},
	{BodyTooLarge, http.StatusRequestEntityTooLarge, NotApplied, "The body is too large", "No request needs more than 8 kB."},
	{LengthRequired, http.StatusLengthRequired, NotApplied, "The body's length is not said", "Send Content-Length, and no Transfer-Encoding."},
	{TLSRequired, http.StatusForbidden, NotApplied, "Only over TLS", "Ask at the https address. What this request said may have been read on its way: throw away a token that was in it, and start again."},
	{NotFound, http.StatusNotFound, NotApplied, "Nothing is here", "Check the path against the API description."},
	{MethodNotAllowed, http.StatusMethodNotAllowed, NotApplied, "The method does not fit", "See the Allow header for the methods this path takes."},
	{OriginNotAllowed, http.StatusForbidden, NotApplied, "This web origin may not call the API", "Ask the operator to put the origin on the list."},
	{PollNotFound, http.StatusNotFound, NotApplied, "No such poll", "Check the poll's id; drafts are not shown."},
	{PollNotOpen, http.StatusConflict, NotApplied, "The poll is not open yet", "The manifest says when it opens."},
	{PollPaused, http.StatusConflict, NotApplied, "The poll is paused", "Nothing was recorded; keep the ballot and try again when the manifest says open."},
	{PollClosed, http.StatusConflict, NotApplied, "The poll is closed", "No ballot is taken any more."},
	{ResultsNotPublished, http.StatusNotFound, NotApplied, "There is no published result yet", "Ask again after the operator has published."},
	{IdentityInvalid, http.StatusUnprocessableEntity, NotApplied, "Not a valid identity number", "Its form or its check digit is wrong; ask the voter to look again."},
	{PhoneInvalid, http.StatusUnprocessableEntity, NotApplied, "Not a valid phone number", "Ask for the number again, with its country code if it is not a local one."},
	{PhoneNotMobile, http.StatusUnprocessableEntity, NotApplied, "Not a mobile number", "Ask for a number that can send and receive SMS."},
	{PhoneUnreachable, http.StatusUnprocessableEntity, NotApplied, "No SMS can be sent to this number", "Ask for another number: no provider delivers to this one, or none may be used for its country."},
	{PhoneCountry, http.StatusUnprocessableEntity, NotApplied, "Numbers of this country are not taken", "Ask for another number: the operator lists the countries whose phones may take part."},
	{PhoneUsedUp, http.StatusTooManyRequests, NotApplied, "This phone has proved as many voters as one phone may", "Start again with another phone, or with this one after Retry-After. Only who has the phone is told."},
	{ChallengeInvalid, http.StatusForbidden, NotApplied, "The proof of work is wrong", "Fetch a challenge from /v1/challenge and solve it."},
	{ChallengeExpired, http.StatusForbidden, NotApplied, "The challenge has expired", "Fetch a fresh challenge and solve it."},
	{ChallengeSpent, http.StatusForbidden, NotApplied, "The challenge was used before", "Fetch a fresh challenge for every session."},
	{HumanCheckRequired, http.StatusForbidden, NotApplied, "A human check is asked for as well", "Fetch a challenge: its human_check says where the check is. Send the check's response as `human_check`. Where it can't be loaded, fetch a challenge again after some seconds: it has no human_check while the check is out of use."},
	{HumanCheckFailed, http.StatusForbidden, NotApplied, "The human check was not passed", "Its response was wrong, too old or used before. Have the voter pass the check again."},
	{HumanCheckUnavailable, http.StatusServiceUnavailable, NotApplied, "The human check's service does not answer", "Wait for Retry-After, then fetch another challenge and send all anew. While that service is away, challenges cost more work and need no human check."},
	{TokenMissing, http.StatusUnauthorized, NotApplied, "There is no access token", "Send Authorization: Bearer and the token of the step before."},
	{TokenInvalid, http.StatusUnauthorized, NotApplied, "The access token is not ours", "Start again with step 1; a token must be sent exactly as it was given."},
	{TokenExpired, http.StatusUnauthorized, NotApplied, "The access token has expired", "Start again with step 1; nothing was recorded."},
	{TokenWrongStep, http.StatusForbidden, NotApplied, "The access token is for another step", "Take the steps in order; each gives a new token."},
	{WrongMode, http.StatusConflict, NotApplied, "The poll verifies phones the other way", "See verification.mode in the manifest."},
	{CodeWrong, http.StatusUnprocessableEntity, NotApplied, "The code is not right", "See verification for the tries left and the next time to try."},
	{CodeTooSoon, http.StatusTooManyRequests, NotApplied, "A code was tried a moment ago", "Wait for Retry-After."},
	{CodeExhausted, http.StatusConflict, NotApplied, "No tries are left for this code", "Ask for another code, or start again if none may be sent."},
	{CodeExpired, http.StatusConflict, NotApplied, "There is no code to compare with", "Ask for another code."},
	{ResendTooSoon, http.StatusTooManyRequests, NotApplied, "A code was sent a moment ago", "Wait for Retry-After."},
	{ResendExhausted, http.StatusConflict, NotApplied, "No more codes will be sent in this session", "Start again with step 1, later."},
	{SMSUnavailable, http.StatusServiceUnavailable, NotApplied, "No SMS can be sent just now", "Wait for Retry-After."},
	{IdempotencyKeyMissing, http.StatusBadRequest, NotApplied, "There is no Idempotency-Key", "Choose a random one per ballot and keep it across retries."},
	{IdempotencyKeyInvalid, http.StatusBadRequest, NotApplied, "The Idempotency-Key has the wrong form", "16 to 64 of A-Z a-z 0-9 - _."},
	{IdempotencyKeyReused, http.StatusUnprocessableEntity, NotApplied, "The Idempotency-Key was used with another ballot", "The first ballot stands. A retry sends the same ballot, byte for byte."},
	{BallotInvalid, http.StatusUnprocessableEntity, NotApplied, "Not a sealed ballot", "See the schema: base64url of a P-256 point and the ciphertext."},
	{BallotWrongSize, http.StatusUnprocessableEntity, NotApplied, "The sealed ballot has the wrong size", "Pad to the manifest's ballot.size before sealing."},
	{BallotCopied, http.StatusConflict, NotApplied, "This sealed ballot is in the box already", "Another voter cast it. Seal the ballot anew in the voter's own client."},
	{AlreadyVoted, http.StatusConflict, NotApplied, "This identity has voted already", "The first ballot stands."},
	{ReceiptAmbiguous, http.StatusConflict, NotApplied, "Two ballots have this receipt code", "Send the leaf, which is in the saved receipt."},
	{WaitingRoom, http.StatusTooManyRequests, NotApplied, "Very many want to vote just now", "See waiting_room for the place in the queue; send the same again with its ticket when its turn has come."},
	{RateLimited, http.StatusTooManyRequests, NotApplied, "Too many requests", "Wait for Retry-After; RateLimit-Policy names the limit."},
	{Overloaded, http.StatusServiceUnavailable, NotApplied, "Too busy just now", "Nothing was recorded; wait for Retry-After and try the same again."},
	{Unavailable, http.StatusServiceUnavailable, NotApplied, "Not available just now", "Nothing was recorded; wait for Retry-After and try the same again."},
	{OutcomeUnknown, http.StatusServiceUnavailable, Unknown, "It is not known whether the ballot was recorded", "Send the same ballot with the same Idempotency-Key until the answer is another."},
	{Internal, http.StatusInternalServerError, Unknown, "Something went wrong on our side", "Try the same again, with the same Idempotency-Key."},
}

var rows = func() map[Code]Row {
	m := make(map[Code]Row, len(Table))
	for _, r := range Table {
		m[r.Code] = r
	}
	return m
}()

// Lookup returns a code's row; the row of Internal for a code that is not in the table.
func Lookup(code Code) Row {
	if r, ok := rows[code]; ok {
		return r
	}
	return rows[Internal]
}
