package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/popvote/popvote/apps/control-panel/operators"
)

// panelActor is who makes entries of the operators' chain that no operator made.
const panelActor = "panel"

// passkeyBody is what an authenticator's answer may hold, attestation and all.
const passkeyBody = 16 << 10

// relyingParty is what passkeys are made for: the panel's host. Nil where browsers make none: at an address that is
// no name, or that is neither https nor the browser's own machine.
func relyingParty(origin *url.URL) (*webauthn.WebAuthn, error) {
	host := origin.Hostname()
	here := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if net.ParseIP(host) != nil || origin.Scheme != "https" && !here {
		return nil, nil
	}
	return webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "PopVote", RPOrigins: []string{origin.Scheme + "://" + origin.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
	})
}

// follow keeps up with what other panels write, and with what was refused, until the panel is closed.
func (s *Server) follow(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var said string
	for {
		_, err := s.book.Read(s.ctx)
		switch {
		case err == nil:
			said = ""
		case s.ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			s.log.WarnContext(s.ctx, "who the operators are can't be read", slog.Any("error", err))
		}
		s.refusals.flush(s.ctx, s)
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
	}
}

type signInView struct {
	// Passkeys says that a passkey is needed; Possible that there can be any at this origin.
	Passkeys bool `json:"passkeys"`
	Possible bool `json:"possible"`
}

// howToSignIn tells the page what to ask for.
func (s *Server) howToSignIn(c *gin.Context) {
	c.JSON(http.StatusOK, signInView{s.book.State().InUse(), s.rp != nil})
}

// begunView is a challenge on its way to an authenticator.
type begunView struct {
	Ceremony string `json:"ceremony"`
	Options  any    `json:"options"`
}

func (s *Server) beginSignIn(c *gin.Context) {
	if err := s.decode(c, &struct{}{}, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	if s.rp == nil {
		s.fail(c, errNoPasskeys)
		return
	}
	options, data, err := s.rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, begunView{s.pending.put(&ceremony{purpose: toSignIn, data: data}), options.Response})
}

// answerRequest is an authenticator's answer to a challenge.
type answerRequest struct {
	Ceremony   string          `json:"ceremony"`
	Credential json.RawMessage `json:"credential"`
}

func (s *Server) signIn(c *gin.Context) {
	var body answerRequest
	if err := s.decode(c, &body, passkeyBody); err != nil {
		s.fail(c, err)
		return
	}
	device, hash := s.device(c)
	cookie, in, err := s.signInBy(c, body, hash)
	if err != nil {
		s.refusedPasskey(c, err)
		s.fail(c, err)
		return
	}
	s.letIn(c, cookie, in, "passkey", device)
}

func (s *Server) signInBy(ctx context.Context, body answerRequest, device string) (cookie string, in *session, err error) {
	if s.rp == nil {
		return "", nil, errNoPasskeys
	}
	begun, err := s.pending.take(body.Ceremony, toSignIn, [32]byte{})
	if err != nil {
		return "", nil, err
	}
	state, err := s.book.Read(ctx)
	if err != nil {
		return "", nil, err
	}
	p, used, _, err := s.assertion(state, begun, body.Credential)
	if err != nil {
		return "", nil, err
	}
	var account operators.Account
	err = s.book.Write(ctx, func(state *operators.State) (*operators.Entry, error) {
		if err := stillGood(state, p.ID, used); err != nil {
			return nil, err
		}
		account, _ = state.Account(p.Account)
		d := usedDetail(p, used)
		d.Name, d.Device, d.NewDevice = account.Name, device, !state.KnownDevice(account.ID, device)
		return &operators.Entry{Actor: account.Name, Action: operators.SignedIn, Detail: d}, nil
	})
	if err != nil {
		return "", nil, err
	}
	cookie, in, ok := s.sessions.begin(who{actor: account.Name, account: account.ID, passkey: p.ID})
	if !ok {
		return "", nil, errTooMany
	}
	return cookie, in, nil
}

// refusal is a passkey that was not accepted, and what is known of it.
type refusal struct {
	*trouble

	action  string
	detail  operators.Detail
	because string
}

func (r *refusal) Unwrap() error { return r.trouble }

// assertion checks an authenticator's answer: that it is to this challenge, from this origin, by a passkey that is
// known, and the session's own where there is one, by somebody whom the authenticator has verified. It returns the
// passkey, how it is after this use, and what was signed.
func (s *Server) assertion(state *operators.State, begun *ceremony, answer []byte) (p operators.Passkey, used *webauthn.Credential, proof operators.Answer, err error) {
	refuse := func(action string, err error) error {
		account, _ := state.Account(p.Account)
		return &refusal{errPasskey, action, operators.Detail{Account: p.Account, Name: account.Name, Passkey: p.ID, Label: p.Label}, err.Error()}
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return p, nil, proof, refuse(operators.PasskeyRefused, err)
	}
	found, ok := state.Passkey(base64.RawURLEncoding.EncodeToString(parsed.RawID))
	if !ok || begun.purpose == toAct && found.Account != begun.account.ID {
		return p, nil, proof, refuse(operators.PasskeyRefused, errors.New("it is not known, or was removed"))
	}
	p = found
	account, _ := state.Account(p.Account)
	if begun.purpose == toAct {
		// One of the list may have been removed meanwhile, which is no reason to refuse another: whose it is is known.
		data := *begun.data
		data.AllowedCredentialIDs = nil
		used, err = s.rp.ValidateLogin(state.User(account), data, parsed)
	} else {
		_, used, err = s.rp.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
			if p.Account != base64.RawURLEncoding.EncodeToString(handle) {
				return nil, errors.New("it is another account's")
			}
			return state.User(account), nil
		}, *begun.data, parsed)
	}
	if err != nil {
		return p, nil, proof, refuse(operators.PasskeyRefused, err)
	}
	if used.Authenticator.CloneWarning {
		return p, nil, proof, refuse(operators.CounterRegressed, errors.New("its counter went back: there may be a copy of it"))
	}
	raw := parsed.Raw.AssertionResponse
	return p, used, operators.Answer{ClientData: raw.ClientDataJSON, AuthenticatorData: raw.AuthenticatorData, Signature: raw.Signature}, nil
}

// stillGood looks again, at the state that the entry will follow: of two answers of one passkey at once, with the
// same count, only one is taken.
func stillGood(state *operators.State, id string, used *webauthn.Credential) error {
	p, ok := state.Passkey(id)
	if !ok {
		return errPasskey
	}
	if count := used.Authenticator.SignCount; count != 0 && count <= p.Credential.Authenticator.SignCount {
		return errPasskey
	}
	return nil
}

func usedDetail(p operators.Passkey, used *webauthn.Credential) operators.Detail {
	return operators.Detail{Account: p.Account, Passkey: p.ID, Label: p.Label, Count: used.Authenticator.SignCount, BackedUp: used.Flags.BackupState}
}

// refusedPasskey tells the log, the count and the operators' chain of a passkey that was not accepted.
func (s *Server) refusedPasskey(c *gin.Context, err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return
	}
	s.metrics.logins.WithLabelValues("passkey_refused").Inc()
	s.log.WarnContext(c, "passkey refused", slog.String("what", r.action), slog.String("why", r.because), slog.String("account", r.detail.Name))
	s.suspect(c, r.action, r.detail, r.because)
}

// accountFor is whom a session would register a passkey for, and by what name.
func (s *Server) accountFor(state *operators.State, in *session, name string) (operators.Account, error) {
	if account, ok := state.Account(in.account); ok {
		return account, nil
	}
	if in.named != "" {
		name = in.named
	}
	if operators.CheckName(name) != nil {
		return operators.Account{}, errAccountName.at("/name")
	}
	if _, ok := state.Named(name); ok {
		return operators.Account{}, errAccountTaken.at("/name")
	}
	return operators.NewAccount(name), nil
}

type beginPasskeyRequest struct {
	// Name is the operator's, where the session is nobody's yet.
	Name string `json:"name,omitempty"`
}

func (s *Server) beginPasskey(c *gin.Context) {
	var body beginPasskeyRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	if s.rp == nil {
		s.fail(c, errNoPasskeys)
		return
	}
	state, err := s.book.Read(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	in := operator(c)
	account, err := s.accountFor(state, in, body.Name)
	if err != nil {
		s.fail(c, err)
		return
	}
	user := state.User(account)
	options, data, err := s.rp.BeginRegistration(user, webauthn.WithExclusions(webauthn.Credentials(user.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		s.fail(c, err)
		return
	}
	id := s.pending.put(&ceremony{purpose: toRegister, data: data, session: in.hash, account: account})
	c.JSON(http.StatusOK, begunView{id, options.Response})
}

type addPasskeyRequest struct {
	answerRequest
	// Label is what the operator calls it.
	Label string `json:"label"`
}

// addPasskey registers a passkey. The session goes on as one that the passkey began.
func (s *Server) addPasskey(c *gin.Context) {
	var body addPasskeyRequest
	if err := s.decode(c, &body, passkeyBody); err != nil {
		s.fail(c, err)
		return
	}
	if !operators.CheckLabel(body.Label) {
		s.fail(c, errLabel.at("/label"))
		return
	}
	in := operator(c)
	begun, err := s.pending.take(body.Ceremony, toRegister, in.hash)
	if err != nil {
		s.fail(c, err)
		return
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(body.Credential)
	if err == nil {
		var made *webauthn.Credential
		if made, err = s.rp.CreateCredential(s.book.State().User(begun.account), *begun.data, parsed); err == nil {
			s.keepPasskey(c, in, begun.account, body.Label, made)
			return
		}
	}
	s.log.WarnContext(c, "passkey not registered", slogActor(in.actor), slog.Any("error", err))
	s.fail(c, errPasskeyForm.because(sentence(err)))
}

func (s *Server) keepPasskey(c *gin.Context, in *session, account operators.Account, label string, made *webauthn.Credential) {
	id := base64.RawURLEncoding.EncodeToString(made.ID)
	device, hash := s.device(c)
	err := s.book.Write(c, func(state *operators.State) (*operators.Entry, error) {
		if _, ok := state.Passkey(id); ok {
			return nil, errPasskeyForm
		}
		// The link that was enough when the session began may not be any more; and others may have taken the name.
		if !s.holds(in) {
			return nil, errLogInNeeded
		}
		if other, ok := state.Named(account.Name); ok && other.ID != account.ID {
			return nil, errAccountTaken
		}
		return &operators.Entry{Actor: account.Name, Action: operators.PasskeyAdded, Detail: operators.Detail{
			Account: account.ID, Name: account.Name, Passkey: id, Label: label, Credential: made, Device: hash,
		}}, nil
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.log.InfoContext(c, "passkey registered", slogActor(account.Name), slog.String("label", label))
	if in.passkey != "" { // one more
		c.JSON(http.StatusOK, s.sessionView(in))
		return
	}
	s.sessions.end(in)
	cookie, now, ok := s.sessions.begin(who{actor: account.Name, account: account.ID, passkey: id})
	if !ok {
		s.fail(c, errTooMany)
		return
	}
	s.letIn(c, cookie, now, "passkey", device)
}

type accountView struct {
	Name     string        `json:"name"`
	Mine     bool          `json:"mine"`
	Passkeys []passkeyView `json:"passkeys"`
}

type passkeyView struct {
	ID         string     `json:"id"`
	Label      string     `json:"label"`
	AddedAt    time.Time  `json:"added_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	// Synced says that copies of it are kept by a service, as phones do.
	Synced bool `json:"synced"`
	// Current says that this session was begun with it.
	Current bool `json:"current"`
}

func (s *Server) listPasskeys(c *gin.Context) {
	state, err := s.book.Read(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	in, all := operator(c), []accountView{}
	for _, account := range state.Accounts() {
		view := accountView{Name: account.Name, Mine: account.ID == in.account, Passkeys: []passkeyView{}}
		for _, p := range state.Passkeys(account.ID) {
			one := passkeyView{ID: p.ID, Label: p.Label, AddedAt: p.AddedAt, Synced: p.Credential.Flags.BackupState, Current: p.ID == in.passkey}
			if !p.LastUsedAt.IsZero() {
				one.LastUsedAt = &p.LastUsedAt
			}
			view.Passkeys = append(view.Passkeys, one)
		}
		all = append(all, view)
	}
	c.JSON(http.StatusOK, gin.H{"accounts": all})
}

type removePasskeyRequest struct {
	Passkey string `json:"passkey"`
	Reason  string `json:"reason"`
}

// removePasskey takes a passkey away, one's own or a colleague's, and ends the sessions it began. One's own last
// stays, so that somebody can always sign in.
func (s *Server) removePasskey(c *gin.Context) {
	var body removePasskeyRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	if err := checkReason(body.Reason); err != nil {
		s.fail(c, err)
		return
	}
	in := operator(c)
	err := s.book.Write(c, func(state *operators.State) (*operators.Entry, error) {
		p, ok := state.Passkey(body.Passkey)
		if !ok {
			return nil, errPasskeyGone
		}
		if p.Account == in.account && len(state.Passkeys(in.account)) == 1 {
			return nil, errLastPasskey
		}
		account, _ := state.Account(p.Account)
		return &operators.Entry{Actor: in.actor, Action: operators.PasskeyRemoved, Reason: body.Reason, Detail: operators.Detail{
			Account: p.Account, Name: account.Name, Passkey: p.ID, Label: p.Label,
		}}, nil
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.log.InfoContext(c, "passkey removed", slogActor(in.actor), slog.String("reason", body.Reason))
	c.Status(http.StatusNoContent)
}
