package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// How much a request may hold. Poll files and bundles of shares need room; nothing else does.
const (
	smallBody = 8 << 10
	largeBody = 2 << 20 // a poll file of poll.MaxFileBytes, escaped
)

// decode reads a body that must be exactly one JSON value of the wanted form: no unknown member, no
// member twice, nothing after it. What is lax here is a way around the checks elsewhere.
func (s *Server) decode(c *gin.Context, into any, limit int64) error {
	kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil || kind != "application/json" || c.GetHeader("Content-Encoding") != "" {
		return errNotJSON
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return errTooLarge
		}
		return errMalformed
	}
	return strict(data, into)
}

func strict(data []byte, into any) error {
	if err := once(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return errField.at("/" + strings.ReplaceAll(e.Field, ".", "/"))
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return errUnknown.because(name)
		}
		return errMalformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errMalformed
	}
	return nil
}

// once walks one JSON value and refuses an object that names a member twice.
func once(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return errMalformed
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return errMalformed
			}
			// encoding/json matches members whatever their case, so "A" after "a" is a second "a".
			key := strings.ToLower(name.(string))
			if seen[key] {
				return errDuplicate.because(name.(string))
			}
			seen[key] = true
		}
		if err := once(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errMalformed
	}
	return nil
}
