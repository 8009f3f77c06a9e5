// Package signed makes and checks signed documents: JSON with a JWS (RFC 7515 compact, ES256) whose
// payload is the document's exact bytes.
package signed

import "encoding/json"

// Document is a signed JSON document as it travels. Readers trust the payload of JWS, never Plain.
type Document struct {
	Plain json.RawMessage `json:"document"`
	JWS   string          `json:"jws"`
}
