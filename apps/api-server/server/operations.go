package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/token"
)

// operation is what the API description demands of a request before its handler runs.
type operation struct {
	// body is the form of the JSON body; nil where none is read.
	body *shape
	// step is how far the access token must have come; empty where none is needed.
	step token.Step
}

// operations are the operations by method and by the router's path.
type operations map[string]map[string]operation

// steps says which token an operation takes where the description only says that it takes one. The
// generator has capitalised the names.
var steps = map[string]token.Step{
	"AwaitVerification": token.Identified,
	"CheckCode":         token.Identified,
	"ResendCode":        token.Identified,
	"CallCode":          token.Identified,
	"CastBallot":        token.Verified,
}

// readOperations takes bodies and security from the API description itself, so that they cannot
// differ from it.
var readOperations = sync.OnceValues(func() (operations, error) {
	doc, err := channelsapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the API description: %w", err)
	}
	out := operations{}
	for path, item := range doc.Paths.Map() {
		for method, described := range item.Operations() {
			var op operation
			if described.Security != nil && len(*described.Security) > 0 {
				step, ok := steps[described.OperationID]
				if !ok {
					return nil, fmt.Errorf("couldn't tell which step %s belongs to", described.OperationID)
				}
				op.step = step
			}
			if described.RequestBody != nil {
				op.body, err = shapeOf(described.RequestBody.Value.Content.Get("application/json").Schema.Value)
				if err != nil {
					return nil, fmt.Errorf("couldn't read the body of %s: %w", described.OperationID, err)
				}
			}
			if out[method] == nil {
				out[method] = map[string]operation{}
			}
			out[method][routerPath(path)] = op
		}
	}
	return out, nil
})

func routerPath(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// admit runs before every generated handler: token first, then body.
func (s *Server) admit(c *gin.Context) {
	op := s.operations[c.Request.Method][c.FullPath()]
	if op.step != "" {
		if err := s.authenticate(c, op.step); err != nil {
			s.fail(c, err)
			return
		}
	}
	if op.body != nil {
		if err := readBody(c.Writer, c.Request, op.body); err != nil {
			s.fail(c, err)
			return
		}
	}
}

// shape is the form of a JSON value: an object with known members, or a string. The API asks for
// nothing else.
type shape struct {
	// members is nil for a string.
	members  map[string]*shape
	required []string
	// maxLength in characters; 0 for no limit but the body's.
	maxLength int
	enum      []string
}

func shapeOf(schema *openapi3.Schema) (*shape, error) {
	switch {
	case schema.Type.Is("string"):
		s := &shape{}
		if schema.MaxLength != nil {
			s.maxLength = int(*schema.MaxLength)
		}
		for _, v := range schema.Enum {
			text, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("enum holds %T, want strings", v)
			}
			s.enum = append(s.enum, text)
		}
		return s, nil
	case schema.Type.Is("object"):
		s := &shape{members: map[string]*shape{}, required: slices.Sorted(slices.Values(schema.Required))}
		for name, member := range schema.Properties {
			m, err := shapeOf(member.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			s.members[name] = m
		}
		return s, nil
	}
	return nil, fmt.Errorf("%v is not a type that %s bodies are checked for", schema.Type, http.MethodPost)
}
