package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// identityKeyView is what becomes of the key that a poll's voter and phone tags are made with.
type identityKeyView struct {
	// KeptUntil is the end of the audit window; before it the key is not destroyed.
	KeptUntil time.Time `json:"kept_until"`
	// DestroyedAt is what the certificate says; nil while there is none.
	DestroyedAt *time.Time `json:"destroyed_at"`
}

// identityKey is nil for a draft, which has none.
func (s *Server) identityKey(ctx context.Context, m *poll.Manifest) (*identityKeyView, error) {
	if m.State == poll.Draft {
		return nil, nil
	}
	chain, err := s.admin.Audit(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	view := &identityKeyView{KeptUntil: m.ClosesAt.Add(m.Definition().AuditWindow())}
	_, certificate, err := openCertificate(chain, m)
	if err != nil {
		// The poll is shown without it: what it says is not to be believed.
		s.log.ErrorContext(ctx, "certificate of a destroyed key is not good", slog.String("poll", m.ID), slog.Any("error", err))
		return nil, nil
	}
	if certificate != nil {
		view.DestroyedAt = &certificate.IssuedAt
	}
	return view, nil
}

// openCertificate finds and checks the certificate that the key is destroyed; nil if there is none.
func openCertificate(chain []ballotapi.AuditEntry, m *poll.Manifest) (*signed.Document, *ballotapi.Certificate, error) {
	document, err := ballotapi.FindCertificate(chain)
	if document == nil || err != nil {
		return nil, nil, err
	}
	certificate, err := ballotapi.OpenCertificate(*document, m.ID, m.SigningKey)
	return document, certificate, err
}

// certificate is the signed document, as it is in the audit chain and in bundles.
func (s *Server) certificate(c *gin.Context) {
	id := c.Param("poll")
	m, err := s.manifest(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	chain, err := s.admin.Audit(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	document, _, err := openCertificate(chain, &m)
	if err == nil && document == nil {
		err = errKeyKept
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	attach(c, id+"-key-destroyed.json", "application/json")
	c.JSON(http.StatusOK, document)
}

func (s *Server) destroyKey(c *gin.Context) {
	id := c.Param("poll")
	var body decision
	if err := s.decode(c, &body, smallBody); err != nil {
		s.fail(c, err)
		return
	}
	if err := body.check(id); err != nil {
		s.fail(c, err)
		return
	}
	if err := s.admin.DestroyIdentityKey(c, id, change(c, body.Reason)); err != nil {
		s.fail(c, err)
		return
	}
	s.log.InfoContext(c, "identity key destroyed", slog.String("poll", id), slogActor(actor(c)))
	s.done(c, id)
}
