package humancheck

import "net/url"

// turnstile is Cloudflare's (developers.cloudflare.com/turnstile, "Server-side validation" and "Content Security
// Policy").
type turnstile struct{}

func (turnstile) Name() string { return "turnstile" }

func (turnstile) Addresses(proxy string) Addresses {
	const own = "https://challenges.cloudflare.com"
	at, sources := own, own
	if proxy != "" {
		at, sources = proxy, proxy+" "+own
	}
	return Addresses{Siteverify: at + "/turnstile/v0/siteverify", Script: at + "/turnstile/v0/api.js?render=explicit", Sources: sources}
}

// Longest: "a maximum of 2048 characters".
func (turnstile) Longest() int { return 2048 }

func (turnstile) Form(secret, _, response string) url.Values {
	return url.Values{"secret": {secret}, "response": {response}}
}

func (turnstile) Kinds() map[string]error { return turnstileKinds }

func (turnstile) SaysPurpose() bool { return true }

var turnstileKinds = map[string]error{
	"missing-input-secret": ErrDown, // our mistake, but no voter can pass
	"invalid-input-secret": ErrDown,
	"internal-error":       ErrDown,
	"timeout-or-duplicate": ErrStale,
}
