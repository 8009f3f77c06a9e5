package server

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// checker holds answers to the API description: a status that is listed, a media type that is, a
// body of the schema, and no member that the schema does not list.
type checker struct{ doc *openapi3.T }

var description = sync.OnceValues(func() (*openapi3.T, error) {
	// The file itself: the copy embedded in the generated code lacks what is routed by hand.
	doc, err := openapi3.NewLoader().LoadFromFile("../../../libs/channelsapi/openapi.yaml")
	if err != nil {
		return nil, err
	}
	for _, schema := range doc.Components.Schemas {
		closeSchema(schema.Value)
	}
	return doc, nil
})

// closeSchema makes an object's listed members the only ones.
func closeSchema(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		if p.Ref == "" {
			closeSchema(p.Value)
		}
	}
	if s.Items != nil && s.Items.Ref == "" {
		closeSchema(s.Items.Value)
	}
}

func newChecker(t testing.TB) *checker {
	t.Helper()
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	return &checker{doc}
}

func (c *checker) check(t testing.TB, r *http.Request, got reply) {
	t.Helper()
	media, _, _ := mime.ParseMediaType(got.header.Get("Content-Type"))
	if media == "application/problem+json" {
		// Problems have one form everywhere, paths unknown to the description included.
		c.holds(t, r, c.doc.Components.Schemas["Problem"].Value, got)
		if p := got.problem(t); p.Status != got.status || p.Type != "/problems/"+string(p.Code) {
			t.Errorf("%s %s: problem says status %d and type %q, status is %d", r.Method, r.URL.Path, p.Status, p.Type, got.status)
		}
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") || r.Method == http.MethodOptions {
		return
	}
	op := c.operation(r)
	if op == nil {
		t.Errorf("%s %s is not in the description, and the answer is no problem: %d %s", r.Method, r.URL.Path, got.status, got.body)
		return
	}
	described := op.Responses.Value(strconv.Itoa(got.status))
	if described == nil {
		t.Errorf("%s %s: status %d is not in the description", r.Method, r.URL.Path, got.status)
		return
	}
	for name := range described.Value.Headers {
		if name != "RateLimit" && name != "RateLimit-Policy" && got.header.Get(name) == "" {
			t.Errorf("%s %s: there is no %s", r.Method, r.URL.Path, name)
		}
	}
	if len(described.Value.Content) == 0 {
		if len(got.body) > 0 {
			t.Errorf("%s %s: status %d has a body", r.Method, r.URL.Path, got.status)
		}
		return
	}
	content := described.Value.Content[media]
	if content == nil {
		t.Errorf("%s %s: media type %q is not in the description", r.Method, r.URL.Path, media)
		return
	}
	if media == "application/json" {
		c.holds(t, r, content.Schema.Value, got)
	}
}

func (c *checker) holds(t testing.TB, r *http.Request, schema *openapi3.Schema, got reply) {
	t.Helper()
	var v any
	if err := json.Unmarshal(got.body, &v); err != nil {
		t.Errorf("%s %s: not JSON: %s", r.Method, r.URL.Path, got.body)
		return
	}
	if err := c.doc.ValidateSchemaJSON(schema, v, openapi3.VisitAsResponse()); err != nil {
		t.Errorf("%s %s: %v\n%s", r.Method, r.URL.Path, err, got.body)
	}
}

// operation finds the description of a request; tile paths hold slashes.
func (c *checker) operation(r *http.Request) *openapi3.Operation {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for path, item := range c.doc.Paths.Map() {
		parts, asked := strings.Split(path, "/"), strings.Split(r.URL.Path, "/")
		if parts[len(parts)-1] == "{tile}" && len(asked) > len(parts) {
			asked = asked[:len(parts)]
		}
		if len(parts) == len(asked) && fits(parts, asked) {
			if op := item.Operations()[method]; op != nil {
				return op
			}
		}
	}
	return nil
}

func fits(parts, asked []string) bool {
	for i, part := range parts {
		if part != asked[i] && !strings.HasPrefix(part, "{") {
			return false
		}
	}
	return true
}

// TestTheCheckerSees: an answer that the description does not have is found out.
func TestTheCheckerSees(t *testing.T) {
	c := newChecker(t)
	good := `{"status":"waiting","seconds":3}`
	for name, got := range map[string]reply{
		"nothing wrong":         {200, http.Header{"Content-Type": {"application/json"}}, []byte(good)},
		"a status":              {202, http.Header{"Content-Type": {"application/json"}}, []byte(good)},
		"a media type":          {200, http.Header{"Content-Type": {"text/html"}}, []byte(good)},
		"a member too many":     {200, http.Header{"Content-Type": {"application/json"}}, []byte(`{"status":"waiting","voted":true}`)},
		"a member missing":      {200, http.Header{"Content-Type": {"application/json"}}, []byte(`{"seconds":3}`)},
		"a value unheard of":    {200, http.Header{"Content-Type": {"application/json"}}, []byte(`{"status":"voted"}`)},
		"a number that is text": {200, http.Header{"Content-Type": {"application/json"}}, []byte(`{"status":"waiting","seconds":"3"}`)},
		"a code unheard of":     {400, http.Header{"Content-Type": {"application/problem+json"}}, []byte(`{"type":"/problems/x","title":"x","status":400,"code":"x","effect":"not_applied"}`)},
	} {
		quiet := &complaints{TB: t}
		c.check(quiet, httptest.NewRequest("GET", "/v1/verification", nil), got)
		if (quiet.n > 0) != (name != "nothing wrong") {
			t.Errorf("%s: %d complaints", name, quiet.n)
		}
	}
}

// complaints counts errors instead of reporting them.
type complaints struct {
	testing.TB
	n int
}

func (c *complaints) Errorf(string, ...any) { c.n++ }
func (c *complaints) Helper()               {}
