package server

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/popvote/popvote/libs/problem"
)

// maxBody is the largest body any request needs, bytes.
const maxBody = 8 << 10

var (
	// errLength: two ways of saying where a body ends are how a proxy and a server come to see two
	// different requests in one. net/http forgets a Content-Length that came with chunks, so all chunks go.
	errLength       = problem.New(problem.LengthRequired)
	errContentType  = problem.New(problem.WrongContentType)
	errBodyTooLarge = problem.New(problem.BodyTooLarge)
	errMalformed    = problem.New(problem.MalformedJSON)
)

// readBody reads the body strictly, and leaves what it says on the request.
// encoding/json is too kind: it takes the last of two members of one name, matches names
// without regard to case, and skips what it does not know. Two parsers that differ in such things
// are how a proxy and a server come to disagree about one request.
func readBody(w http.ResponseWriter, r *http.Request, want *shape) error {
	if r.Header.Get("Content-Encoding") != "" {
		return errContentType.Because("There is a Content-Encoding.")
	}
	if media := r.Header.Get("Content-Type"); media != "application/json" {
		media, params, err := mime.ParseMediaType(media)
		if err != nil || media != "application/json" {
			return errContentType
		}
		if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			return errContentType.Because("JSON is UTF-8.")
		}
	}
	if r.ContentLength > maxBody {
		return errBodyTooLarge
	}
	data, err := slurp(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return errBodyTooLarge
		}
		return problem.Wrap(problem.MalformedJSON, err).Because("The body ended early.")
	}
	value, err := readJSON(data, want)
	if err != nil {
		return err
	}
	r.Body = bodyRead{http.NoBody, value}
	return nil
}

// bodyRead is a body that has been read. The generated stub takes the value instead of reading JSON a
// second time, by other rules.
type bodyRead struct {
	io.ReadCloser
	value any
}

// ValidatedValue is what the generated stub asks for.
func (b bodyRead) ValidatedValue() any { return b.value }

// slurp reads all, at once where the length is known.
func slurp(r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(r)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}

// readJSON reads one JSON value of the shape, with nothing after it: strings, and maps of them. Depth is
// bounded by the shape: a value of another type ends the reading where it begins.
func readJSON(data []byte, want *shape) (any, error) {
	r := strictReader{data: data}
	value, err := r.value(want, "")
	if err != nil {
		return nil, err
	}
	r.space()
	if r.at < len(data) {
		return nil, errMalformed.Because("There is something after the JSON value.")
	}
	return value, nil
}

// strictReader reads the JSON of RFC 8259, and of it only what RFC 7493 (I-JSON) calls
// interoperable: valid UTF-8, no lone surrogates, no name twice.
type strictReader struct {
	data []byte
	at   int
}

func (r *strictReader) space() {
	for r.at < len(r.data) && (r.data[r.at] == ' ' || r.data[r.at] == '\n' || r.data[r.at] == '\t' || r.data[r.at] == '\r') {
		r.at++
	}
}

// next skips space and returns the next byte without taking it; 0 at the end.
func (r *strictReader) next() byte {
	r.space()
	if r.at == len(r.data) {
		return 0
	}
	return r.data[r.at]
}

func (r *strictReader) value(want *shape, pointer string) (any, error) {
	first := r.next()
	if first == 0 || strings.IndexByte(`{["-0123456789tfn`, first) < 0 {
		return nil, errMalformed
	}
	if want.members != nil {
		if first != '{' {
			return nil, invalid(pointer, "Want an object.")
		}
		return r.object(want, pointer)
	}
	if first != '"' {
		return nil, invalid(pointer, "Want a string.")
	}
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	if want.maxLength > 0 && len(text) > want.maxLength && utf8.RuneCount(text) > want.maxLength {
		return nil, invalid(pointer, "It is too long.")
	}
	if want.enum != nil && !slices.Contains(want.enum, string(text)) {
		return nil, invalid(pointer, "Want one of: "+strings.Join(want.enum, ", ")+".")
	}
	return string(text), nil
}

func invalid(pointer, detail string) error {
	e := problem.New(problem.InvalidField).At(pointer)
	e.Detail = detail
	return e
}

func (r *strictReader) object(want *shape, pointer string) (map[string]any, error) {
	r.at++ // {
	members := make(map[string]any, len(want.members))
	if r.next() == '}' {
		r.at++
		return members, want.complete(members, pointer)
	}
	for {
		if r.next() != '"' {
			return nil, errMalformed
		}
		raw, err := r.text()
		if err != nil {
			return nil, err
		}
		name := string(raw)
		member := pointer + "/" + escapePointer(name)
		if r.next() != ':' {
			return nil, errMalformed
		}
		r.at++
		if _, twice := members[name]; twice {
			return nil, problem.New(problem.DuplicateField).At(member)
		}
		form, known := want.members[name]
		if !known {
			return nil, problem.New(problem.UnknownField).At(member)
		}
		if members[name], err = r.value(form, member); err != nil {
			return nil, err
		}
		switch r.next() {
		case ',':
			r.at++
		case '}':
			r.at++
			return members, want.complete(members, pointer)
		default:
			return nil, errMalformed
		}
	}
}

func (s *shape) complete(members map[string]any, pointer string) error {
	for _, name := range s.required {
		if _, there := members[name]; !there {
			return invalid(pointer+"/"+name, "It is missing.")
		}
	}
	return nil
}

// escapePointer is RFC 6901, cut: a name is at most an echo of what the client sent.
func escapePointer(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// text reads a string and returns what it says.
func (r *strictReader) text() ([]byte, error) {
	start := r.at
	escaped := false
	for r.at++; r.at < len(r.data); r.at++ {
		switch b := r.data[r.at]; {
		case b == '"':
			r.at++
			inner := r.data[start+1 : r.at-1]
			if !utf8.Valid(inner) {
				return nil, errMalformed.Because("A string is not UTF-8.")
			}
			if !escaped {
				return inner, nil
			}
			return unescape(r.data[start:r.at])
		case b < ' ':
			return nil, errMalformed
		case b == '\\':
			escaped = true
			r.at++ // whatever it is, it does not end the string; unescape looks at it
		}
	}
	return nil, errMalformed
}

func unescape(quoted []byte) ([]byte, error) {
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return nil, errMalformed
	}
	// encoding/json writes U+FFFD for a lone surrogate; one that the client wrote itself is rare
	// enough to be refused with it.
	if strings.ContainsRune(text, utf8.RuneError) {
		return nil, errMalformed.Because("A string has a lone surrogate.")
	}
	return []byte(text), nil
}
