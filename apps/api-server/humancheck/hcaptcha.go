package humancheck

import "net/url"

// hcaptcha is Intuition Machines' (docs.hcaptcha.com, "Verify the User Response Server Side" and "Content-Security-Policy
// Settings").
type hcaptcha struct{}

func (hcaptcha) Name() string { return "hcaptcha" }

func (hcaptcha) Addresses(proxy string) Addresses {
	const own = "https://hcaptcha.com https://*.hcaptcha.com"
	if proxy != "" {
		return Addresses{Siteverify: proxy + "/siteverify", Script: proxy + "/1/api.js?render=explicit", Sources: proxy + " " + own}
	}
	return Addresses{Siteverify: "https://api.hcaptcha.com/siteverify", Script: "https://js.hcaptcha.com/1/api.js?render=explicit", Sources: own}
}

// Longest: it says none, and gives some 2,000; what the API takes.
func (hcaptcha) Longest() int { return 4096 }

// Form has the site key in it, so that a response for another site of the same account is refused.
func (hcaptcha) Form(secret, siteKey, response string) url.Values {
	return url.Values{"secret": {secret}, "response": {response}, "sitekey": {siteKey}}
}

func (hcaptcha) Kinds() map[string]error { return hcaptchaKinds }

func (hcaptcha) SaysPurpose() bool { return false }

var hcaptchaKinds = map[string]error{
	"missing-input-secret":             ErrDown, // our mistake, but no voter can pass
	"invalid-input-secret":             ErrDown,
	"not-using-dummy-passcode":         ErrDown, // a secret for tests with a real response
	"expired-input-response":           ErrStale,
	"already-seen-response":            ErrStale,
	"invalid-or-already-seen-response": ErrStale,
}
