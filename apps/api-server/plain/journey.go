package plain

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
)

// cookieName has a prefix that browsers enforce: sent to this host alone, over TLS alone.
const cookieName = "__Host-popvote-plain"

// maxCookie is what every browser keeps of a cookie, its name included, bytes (RFC 6265bis, 5.7).
const maxCookie = 4096

// maxBallot is the largest plain ballot whose sealed form fits a cookie beside a token, bytes.
const maxBallot = 1024

// offered reports whether a poll's rules let the server seal a voter's ballot.
func offered(m *poll.Manifest) bool { return m.SealOnServer && m.Ballot.Size <= maxBallot }

// journey is where a voter is. It travels sealed in a cookie; no server keeps it.
type journey struct {
	Poll string `json:"p"`
	// Token is the API's access token of the step.
	Token    string    `json:"t,omitempty"`
	Verified bool      `json:"v,omitempty"`
	Deadline time.Time `json:"d,omitzero"`

	// Until the phone is proved. End is the phone number's last four digits.
	Number    string    `json:"n,omitempty"`
	Text      string    `json:"x,omitempty"`
	Link      string    `json:"l,omitempty"`
	End       string    `json:"e,omitempty"`
	Digits    int       `json:"g,omitempty"`
	Tries     int       `json:"r,omitempty"`
	NextSend  time.Time `json:"s,omitzero"` // zero: no more codes
	NextCheck time.Time `json:"c,omitzero"`
	Resent    bool      `json:"a,omitempty"`
	// MayCall says that the code may be spoken in a call when it may be sent, Called that it is about to be.
	MayCall bool `json:"y,omitempty"`
	Called  bool `json:"w,omitempty"`

	// Order is what options in random order are drawn from.
	Order uint64 `json:"o,omitempty"`
	// Choices are indices of options per question, once the ballot was filled in. They are kept sealed with
	// their key beside them: a retry sends the same ballot.
	Choices [][]int `json:"h,omitempty"`
	Sealed  []byte  `json:"b,omitempty"`
	Key     string  `json:"k,omitempty"`
	// Maybe says that the ballot may be in the box.
	Maybe bool `json:"m,omitempty"`

	// Code is the receipt's; with it, everything else is gone.
	Code string `json:"z,omitempty"`
}

// answers are the choices as the ballot wants them.
func (j *journey) answers(m *poll.Manifest) (ballot.Answers, bool) {
	if len(j.Choices) != len(m.Questions) {
		return nil, false
	}
	out := make(ballot.Answers, len(j.Choices))
	for i, picks := range j.Choices {
		for _, n := range picks {
			if n < 0 || n >= len(m.Questions[i].Options) {
				return nil, false
			}
			out[i] = append(out[i], m.Questions[i].Options[n].ID)
		}
	}
	return out, true
}

var errNoJourney = errors.New("no journey of ours")

// journeyOf opens the request's cookie for a poll.
func (p *Pages) journeyOf(r *http.Request, pollID string) (*journey, error) {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		return nil, errNoJourney
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || len(raw) < 4 {
		return nil, errNoJourney
	}
	aead, err := p.deps.Tokens.Opening(int(binary.BigEndian.Uint32(raw)))
	if err != nil || len(raw) < 4+aead.NonceSize() {
		return nil, errNoJourney
	}
	nonce, sealed := raw[4:4+aead.NonceSize()], raw[4+aead.NonceSize():]
	text, err := aead.Open(nil, nonce, sealed, bound(pollID))
	if err != nil {
		return nil, errNoJourney
	}
	j := &journey{}
	if err := json.Unmarshal(text, j); err != nil || j.Poll != pollID {
		return nil, errNoJourney
	}
	return j, nil
}

// keep gives the journey to the voter's browser, until that is closed.
func (p *Pages) keep(w http.ResponseWriter, j *journey) error {
	text, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("couldn't write a journey: %w", err)
	}
	version, aead, err := p.deps.Tokens.Sealing()
	if errors.Is(err, keyring.ErrTooOld) {
		return errKeysTooOld
	}
	if err != nil {
		return fmt.Errorf("couldn't seal a journey: %w", err)
	}
	raw := binary.BigEndian.AppendUint32(nil, uint32(version))
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: it ends the program instead
	value := base64.RawURLEncoding.EncodeToString(aead.Seal(append(raw, nonce...), nonce, text, bound(j.Poll)))
	if len(cookieName)+len(value) > maxCookie {
		return fmt.Errorf("couldn't keep a journey: it has %d bytes", len(value))
	}
	setCookie(w, value, 0)
	return nil
}

func bound(pollID string) []byte { return []byte("popvote plain journey v1\x00" + pollID) }

// forget takes everything off the voter's browser.
func forget(w http.ResponseWriter) { setCookie(w, "", -1) }

func setCookie(w http.ResponseWriter, value string, maxAge int) {
	w.Header().Del("Set-Cookie")
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}
