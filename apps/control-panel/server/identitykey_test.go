package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// TestTheIdentityKeyIsDestroyedWhenItMay: the panel says until when the key is kept, passes a refusal on,
// and hands out the certificate once there is one.
func TestTheIdentityKeyIsDestroyedWhenItMay(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Closed)
	p.box.polls["p"].def.AuditWindowDays = 2
	ends := p.box.polls["p"].def.ClosesAt.Add(48 * time.Hour)
	key := func() map[string]any {
		t.Helper()
		view, _ := p.want(p.get("/api/polls/p"), http.StatusOK, "")["identity_key"].(map[string]any)
		return view
	}

	if got := key(); got["kept_until"] != ends.Format(time.RFC3339) || got["destroyed_at"] != nil {
		t.Errorf("the key is %v", got)
	}
	p.want(p.get("/api/polls/p/certificate.json"), http.StatusNotFound, "key-kept")
	p.want(p.post("/api/polls/p/destroy-key", map[string]any{"confirm": "q", "reason": "over"}), http.StatusUnprocessableEntity, "confirmation-wrong")
	p.want(p.post("/api/polls/p/destroy-key", decision("p")), http.StatusConflict, "refused")

	p.clock.advance(ends.Sub(p.clock.Now()))
	p.logIn()
	done := p.want(p.post("/api/polls/p/destroy-key", decision("p")), http.StatusOK, "")
	if entry, _ := done["entry"].(map[string]any); entry["action"] != ballotapi.ActionKeyDestroyed {
		t.Errorf("the audit entry is %v", done["entry"])
	}
	if got := key(); got["destroyed_at"] != ends.Format(time.RFC3339) {
		t.Errorf("the key is %v", got)
	}
	answer := p.get("/api/polls/p/certificate.json")
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(answer.Header.Get("Content-Disposition"), `"p-key-destroyed.json"`) {
		t.Fatalf("the certificate is %d %s (%v)", answer.StatusCode, text, err)
	}
	var document signed.Document
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if _, err := ballotapi.OpenCertificate(document, "p", p.box.signer.Key()); err != nil {
		t.Error(err)
	}
}

// TestAForgedCertificateIsNotShown: one by another key counts for nothing, and the poll is there all the same.
func TestAForgedCertificateIsNotShown(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Closed)
	other, err := signed.NewSigner([32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	ours := p.box.signer
	p.box.signer = other
	p.clock.advance(time.Hour)
	if err := p.box.DestroyIdentityKey(t.Context(), "p", ballotapi.Change{Actor: "a", Reason: "b"}); err != nil {
		t.Fatal(err)
	}
	p.box.signer = ours
	if view := p.want(p.get("/api/polls/p"), http.StatusOK, ""); view["identity_key"] != nil {
		t.Errorf("the key is %v", view["identity_key"])
	}
	p.want(p.get("/api/polls/p/certificate.json"), http.StatusInternalServerError, "internal")
}
