package server

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/libs/problem"
)

// proofTime is how long a challenge for an act waits.
const proofTime = 2 * time.Minute

// proofHeader carries the second proof: the ceremony's name, a space, and the authenticator's answer in base64url. It is
// no member of the body, because the body is what it proves.
const proofHeader = "Popvote-Proof"

// maxProof is more than any authenticator's answer, in base64url.
const maxProof = 8 << 10

type beginActRequest struct {
	// Path is what will be posted to, BodyHash the SHA-256 of the body that will be, base64url.
	Path     string `json:"path"`
	BodyHash string `json:"body_hash"`
}

// beginAct makes a challenge for one act. It is the hash of the act, so that what the authenticator signs says which
// act it was, to anybody who checks it later.
func (s *Server) beginAct(c *gin.Context) {
	var body beginActRequest
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	in := operator(c)
	if in.passkey == "" {
		s.fail(c, errNoPasskeys)
		return
	}
	hash, err := base64.RawURLEncoding.DecodeString(body.BodyHash)
	if err != nil || len(hash) != sha256.Size {
		s.fail(c, errField.at("/body_hash"))
		return
	}
	if !isAPI(body.Path) {
		s.fail(c, errField.at("/path"))
		return
	}
	act := operators.Act{Path: body.Path, BodyHash: hash, Nonce: make([]byte, 16)}
	rand.Read(act.Nonce) // never fails (crypto/rand)
	state := s.book.State()
	account, _ := state.Account(in.account)
	options, data, err := s.rp.BeginLogin(state.User(account), webauthn.WithChallenge(act.Challenge()), webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		s.fail(c, err)
		return
	}
	id := s.pending.put(&ceremony{purpose: toAct, data: data, session: in.hash, account: account, act: act, until: s.clock().Add(proofTime)})
	c.JSON(http.StatusOK, begunView{id, options.Response})
}

// proved lets an act through that the operator's passkey has signed, and notes it in the operators' chain before
// anything is done. Without a passkey it lets acts through unless the configuration asks for one.
func (s *Server) proved(c *gin.Context) {
	in := operator(c)
	if in.passkey == "" {
		if s.requirePasskey {
			s.fail(c, errPasskeyAsked)
		}
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, largeBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			err = problem.New(problem.BodyTooLarge)
		} else {
			err = problem.Wrap(problem.MalformedJSON, err)
		}
		s.fail(c, err)
		return
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	if err := s.prove(c, in, body); err != nil {
		s.refusedPasskey(c, err)
		s.fail(c, err)
	}
}

// provedMore is proved for somebody who has a passkey and registers another; a first one is registered by a link.
func (s *Server) provedMore(c *gin.Context) {
	if operator(c).passkey != "" {
		s.proved(c)
	}
}

func (s *Server) prove(c *gin.Context, in *session, body []byte) error {
	header := c.GetHeader(proofHeader)
	if header == "" {
		return errProofNeeded
	}
	id, encoded, _ := strings.Cut(header, " ")
	answer, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(header) > maxProof {
		return errProofNeeded
	}
	begun, err := s.pending.take(id, toAct, in.hash)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(body)
	if begun.act.Path != c.Request.URL.EscapedPath() || !bytes.Equal(begun.act.BodyHash, hash[:]) {
		return errOtherAct
	}
	state, err := s.book.Read(c)
	if err != nil {
		return err
	}
	p, used, proof, err := s.assertion(state, begun, answer)
	if err != nil {
		return err
	}
	begun.act.Answer = proof
	return s.book.Write(c, func(state *operators.State) (*operators.Entry, error) {
		if err := stillGood(state, p.ID, used); err != nil {
			return nil, err
		}
		d := usedDetail(p, used)
		d.Act = &begun.act
		return &operators.Entry{Actor: in.actor, Action: operators.ActProved, Reason: reasonIn(body), Detail: d}, nil
	})
}

// reasonIn is the reason that a body gives; what else it holds may be secret, and only its hash is kept.
func reasonIn(body []byte) string {
	var d struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &d) != nil || checkReason(d.Reason) != nil {
		return ""
	}
	return d.Reason
}
