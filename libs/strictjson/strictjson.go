// Package strictjson reads request bodies that must be exactly one JSON value of a wanted form.
// encoding/json alone is too kind: it takes the last of two members of one name, matches names without
// regard to case, skips what it does not know and mends what is not UTF-8. Two parsers that differ in
// such things are how a proxy and a server come to disagree about one request.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/popvote/popvote/libs/problem"
)

// maxDepth is how deep values may lie within each other; no request of ours needs more.
const maxDepth = 32

// Read decodes a request's body of at most limit bytes. What is wrong with it is a *problem.Error:
// WrongContentType, BodyTooLarge, or one of Decode's.
func Read(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return problem.New(problem.WrongContentType)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return problem.New(problem.WrongContentType).Because("JSON is UTF-8.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return problem.New(problem.WrongContentType).Because("There is a Content-Encoding.")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return problem.New(problem.BodyTooLarge)
		}
		return problem.Wrap(problem.MalformedJSON, err).Because("The body ended early.")
	}
	return Decode(data, into)
}

// Decode decodes one JSON value and nothing after it. What is wrong is a *problem.Error: MalformedJSON,
// DuplicateField, UnknownField or InvalidField (a member of the wrong type), the last three with a
// pointer (RFC 6901) to the member.
func Decode(data []byte, into any) error {
	if !utf8.Valid(data) {
		return problem.New(problem.MalformedJSON).Because("It is not UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := walk(d, reflect.TypeOf(into), "", maxDepth); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return problem.New(problem.MalformedJSON).Because("There is something after the JSON value.")
	}
	d = json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return problem.New(problem.InvalidField).At(pointer(e.Field))
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return problem.New(problem.UnknownField).At("/" + escape(strings.Trim(name, `"`)))
		}
		return problem.Wrap(problem.MalformedJSON, err)
	}
	return nil
}

// pointer writes encoding/json's path of a member as a JSON pointer.
func pointer(path string) string {
	if path == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(path, ".", "/")
}

// walk goes through one JSON value beside the type it is for, and refuses an object that names a member
// twice, or one that the type has only in another case. A type that reads itself is left to do so.
func walk(d *json.Decoder, into reflect.Type, at string, depth int) error {
	token, err := d.Token()
	if err != nil {
		return problem.Wrap(problem.MalformedJSON, err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == 0 {
		return problem.New(problem.MalformedJSON).Because("It is too deep.")
	}
	known, element := parts(into)
	seen := map[string]bool{}
	for d.More() {
		member, of := at, element
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				return problem.Wrap(problem.MalformedJSON, err)
			}
			name, _ := token.(string) // the decoder takes nothing else here
			member = at + "/" + escape(name)
			if seen[name] {
				return problem.New(problem.DuplicateField).At(member)
			}
			seen[name] = true
			if known != nil {
				if of, ok = known[name]; !ok {
					return problem.New(problem.UnknownField).At(member)
				}
			}
		}
		if err := walk(d, of, member, depth-1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return problem.Wrap(problem.MalformedJSON, err)
	}
	return nil
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// parts returns a struct's members by name, or the type of the elements of a list or map; nothing for a
// type that takes anything or reads itself.
func parts(t reflect.Type) (members map[string]reflect.Type, element reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	if t == nil || t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return nil, t.Elem()
	case reflect.Struct:
	default:
		return nil, nil
	}
	members = map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-", !f.IsExported(), f.Anonymous && name == "":
		case name == "":
			members[f.Name] = f.Type
		default:
			members[name] = f.Type
		}
	}
	return members, nil
}

// escape is RFC 6901, cut: a name is at most an echo of what the client sent.
func escape(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
