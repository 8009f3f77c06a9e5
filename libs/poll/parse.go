package poll

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxFileBytes is the longest poll file that is read.
const MaxFileBytes = 512 << 10

// Parse reads a poll file (YAML), fills in its defaults and validates it. Every error is a *FileError
// with all that is wrong, each with its line and column. The name is for messages only.
//
// A demo may leave out tally_key, since whoever seeds it makes one; Validate still asks for it.
func Parse(name string, data []byte) (*Definition, error) {
	if len(data) > MaxFileBytes {
		return nil, fileError(name, Faults{{Line: 1, Column: 1, Message: "the file is too long to be a poll file"}})
	}
	root, fault := parseYAML(data)
	if fault != nil {
		return nil, fileError(name, Faults{*fault})
	}
	var d Definition
	r := reader{places: make(map[string]place)}
	r.read("", root, &d)
	d.SetDefaults()

	var v validator
	v.definition(&d)
	if d.TallyKey.IsZero() && d.Kind != Demo {
		v.fault("tally_key", "is missing: make one with `popvote trustee new`")
	}
	faults := r.faults
	for _, f := range v.faults {
		// What could not be read is not also missing.
		if r.unread(f.Path) {
			continue
		}
		f.Line, f.Column = r.locate(f.Path)
		faults = append(faults, f)
	}
	if len(faults) > 0 {
		return nil, fileError(name, faults)
	}
	return &d, nil
}

func fileError(name string, faults Faults) *FileError {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &FileError{File: name, Line: faults[0].Line, Column: faults[0].Column, Faults: faults}
}

// parseYAML returns the root of the file's only document.
func parseYAML(data []byte) (ast.Node, *Fault) {
	if tooDeep(data) {
		return nil, &Fault{Line: 1, Column: 1, Message: "the file is nested too deeply to be a poll file"}
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxFault(err)
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType {
			continue
		}
		if root != nil {
			at := position(doc.Body)
			return nil, &Fault{Line: at.line, Column: at.column, Message: "the file holds more than one document"}
		}
		root = doc.Body
	}
	if root == nil {
		return nil, &Fault{Line: 1, Column: 1, Message: "the file is empty"}
	}
	return root, nil
}

// syntaxFault says in a sentence what the parser found.
func syntaxFault(err error) *Fault {
	f := &Fault{Line: 1, Column: 1, Message: "the file is not YAML: " + err.Error()}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		f.Message = "the file is not YAML: " + syntax.GetMessage()
		if strings.Contains(syntax.GetMessage(), "already defined") {
			f.Message = "a key occurs twice: " + syntax.GetMessage()
		}
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			f.Line, f.Column = max(1, t.Position.Line), max(1, t.Position.Column)
		}
	}
	return f
}

// maxDepth is far more than a poll file needs, and far less than hurts a recursive parser.
const maxDepth = 256

// tooDeep reports nesting that no poll file has: of brackets, of indentation, or of "- - - -".
func tooDeep(data []byte) bool {
	brackets, margin, inMargin := 0, 0, true
	for _, c := range data {
		switch c {
		case '[', '{':
			brackets++
		case ']', '}':
			brackets = max(0, brackets-1)
		}
		switch {
		case c == '\n':
			margin, inMargin = 0, true
		case inMargin && (c == ' ' || c == '\t' || c == '-' || c == '?'):
			margin++
		default:
			inMargin = false
		}
		if brackets > maxDepth || margin > maxDepth {
			return true
		}
	}
	return false
}
