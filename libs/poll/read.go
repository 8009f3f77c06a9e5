package poll

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// reader fills Go values from YAML nodes. Unlike a decoder it goes on after a fault and remembers where
// everything stood, so that an operator learns of all faults at once, each with its place.
type reader struct {
	faults Faults
	// places is where each path's key (or item) stands.
	places map[string]place
	// broken are the paths that could not be read.
	broken []string
}

type place struct{ line, column int }

// position is where a node begins. A mapping's own token is its first colon; its first key is meant.
func position(n ast.Node) place {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return position(m.Values[0])
		}
	case *ast.MappingValueNode:
		return position(m.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return place{max(1, t.Position.Line), max(1, t.Position.Column)}
	}
	return place{1, 1}
}

func (r *reader) fault(path string, n ast.Node, format string, args ...any) {
	at := position(n)
	r.faults = append(r.faults, Fault{Path: path, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)})
	r.broken = append(r.broken, path)
}

// locate returns the place of a path or, where nothing is written there, of what would hold it.
func (r *reader) locate(path string) (line, column int) {
	for {
		if at, ok := r.places[path]; ok {
			return at.line, at.column
		}
		if path == "" {
			return 1, 1
		}
		path = parent(path)
	}
}

// unread reports whether a path is at, below or made of something that could not be read.
func (r *reader) unread(path string) bool {
	return slices.ContainsFunc(r.broken, func(b string) bool {
		return b == path || b == "" || strings.HasPrefix(path, b+".") || strings.HasPrefix(path, b+"[") || strings.HasPrefix(b, path+".")
	})
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var timeType = reflect.TypeFor[time.Time]()

// read fills the value that into points to.
func (r *reader) read(path string, n ast.Node, into any) {
	r.value(path, n, reflect.ValueOf(into).Elem())
}

func (r *reader) value(path string, n ast.Node, into reflect.Value) {
	if _, ok := r.places[path]; !ok {
		r.places[path] = position(n)
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		r.fault(path, n, "anchors, aliases and tags are not used in poll files")
		return
	case *ast.NullNode:
		r.fault(path, n, "has no value")
		return
	}
	switch {
	case into.Type() == timeType:
		r.time(path, n, into)
	case into.Kind() == reflect.Struct:
		r.object(path, n, into)
	case into.Kind() == reflect.Map:
		r.words(path, n, into)
	case into.Kind() == reflect.Slice:
		r.list(path, n, into)
	case into.Kind() == reflect.String:
		if s, ok := r.text(path, n); ok {
			into.SetString(s)
		}
	case into.Kind() == reflect.Int:
		r.number(path, n, into)
	case into.Kind() == reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fault(path, n, "must be true or false")
			return
		}
		into.SetBool(b.Value)
	default:
		panic("poll: no reader for " + into.Type().String())
	}
}

func (r *reader) object(path string, n ast.Node, into reflect.Value) {
	fields := make(map[string]int)
	var names []string
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("yaml"), ",")
		fields[name] = i
		names = append(names, name)
	}
	r.entries(path, n, func(key string, k ast.Node, v ast.Node) {
		i, ok := fields[key]
		if !ok {
			r.fault(join(path, key), k, "is not a known key%s", hint(key, names))
			return
		}
		r.value(join(path, key), v, into.Field(i))
	})
}

// words reads a Text.
func (r *reader) words(path string, n ast.Node, into reflect.Value) {
	t := Text{}
	r.entries(path, n, func(key string, _ ast.Node, v ast.Node) {
		if s, ok := r.text(join(path, key), v); ok {
			t[key] = strings.TrimRight(s, "\n")
		}
	})
	into.Set(reflect.ValueOf(t))
}

// entries walks a mapping, and remembers where each key stands.
func (r *reader) entries(path string, n ast.Node, each func(key string, k, v ast.Node)) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.fault(path, n, "must hold keys and values")
		return
	}
	seen := make(map[string]bool)
	for _, e := range values {
		s, ok := e.Key.(*ast.StringNode)
		if !ok {
			r.fault(path, e.Key, "keys must be plain words")
			continue
		}
		at := join(path, s.Value)
		if seen[s.Value] {
			r.fault(at, e.Key, "occurs twice")
			continue
		}
		seen[s.Value] = true
		r.places[at] = position(e.Key)
		each(s.Value, e.Key, e.Value)
	}
}

func (r *reader) list(path string, n ast.Node, into reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(path, n, "must be a list")
		return
	}
	list := reflect.MakeSlice(into.Type(), len(s.Values), len(s.Values))
	for i, item := range s.Values {
		r.value(fmt.Sprintf("%s[%d]", path, i), item, list.Index(i))
	}
	into.Set(list)
}

func (r *reader) text(path string, n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		r.fault(path, n, "must be text: put it in quotes")
	case *ast.NullNode:
		r.fault(path, n, "has no value")
	default:
		r.fault(path, n, "must be text")
	}
	return "", false
}

func (r *reader) number(path string, n ast.Node, into reflect.Value) {
	const most = 1 << 30 // no number of a poll comes near
	if i, ok := n.(*ast.IntegerNode); ok {
		switch v := i.Value.(type) {
		case uint64:
			if v < most {
				into.SetInt(int64(v))
				return
			}
		case int64:
			if v > -most && v < most {
				into.SetInt(v)
				return
			}
		}
	}
	r.fault(path, n, "must be a whole number")
}

func (r *reader) time(path string, n ast.Node, into reflect.Value) {
	if s, ok := n.(*ast.StringNode); ok {
		if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
			into.Set(reflect.ValueOf(t))
			return
		}
	}
	r.fault(path, n, "must be a time with its zone, such as 2014-06-20T12:00:00+08:00")
}

// hint names the known key that a mistyped one is nearest to.
func hint(key string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(key, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return "; known here are " + strings.Join(names, ", ")
	}
	return "; did you mean " + best + "?"
}

// distance is the Levenshtein distance, bounded: strings of very different length are just far apart.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
