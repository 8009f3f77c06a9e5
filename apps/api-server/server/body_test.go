package server

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/oapi-codegen/runtime"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

// FuzzBody: what the strict reader takes, the kind one takes too, and understands the same; whatever
// it refuses, it refuses with a problem of its own.
func FuzzBody(f *testing.F) {
	ops, err := readOperations()
	if err != nil {
		f.Fatal(err)
	}
	want := ops["POST"]["/v1/polls/:poll/sessions"].body
	for _, seed := range []string{
		`{"identity":{"type":"hkid","number":"A123456(3)"},"phone":"+85291234567","lang":"en","channel":"app","challenge":"eyJ9"}`,
		`{"phone":"\u0031\ud83d\ude00","phone":"2"}`, `{"identity":{"type":"hkid","number":""},"phone":"","challenge":""} `,
		`{"identity":{}}`, `[[[[`, `{"a":`, `{"a~/b":1}`, "{\"phone\":\"\\\"\"}", "\xef\xbb\xbf{}", `{"phone":"\ud800"}`, `{"phone":"` + "\x00" + `"}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := readJSON(data, want)
		if err != nil {
			p := problem.From(err)
			switch p.Code {
			case problem.MalformedJSON, problem.DuplicateField, problem.UnknownField, problem.InvalidField:
			default:
				t.Fatalf("%s is not a problem of the body", p.Code)
			}
			if !utf8.ValidString(p.Field) || len(p.Field) > 300 {
				t.Fatalf("field %q", p.Field)
			}
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		var body channelsapi.SessionRequest
		if err := decoder.Decode(&body); err != nil {
			t.Fatalf("encoding/json does not take it: %v", err)
		}
		if decoder.More() || !json.Valid(data) {
			t.Fatal("there is something after the value")
		}
		var bound channelsapi.SessionRequest
		if err := runtime.BindJSONValue(value, &bound); err != nil || !reflect.DeepEqual(bound, body) {
			t.Fatalf("two readings differ: %+v, %+v, %v", bound, body, err)
		}
	})
}

// TestPointers: the member at fault is named as RFC 6901 writes it, and never at length.
func TestPointers(t *testing.T) {
	for name, want := range map[string]string{"a": "a", "a/b": "a~1b", "~": "~0", "~1": "~01", "": ""} {
		if got := escapePointer(name); got != want {
			t.Errorf("escapePointer(%q) = %q, want %q", name, got, want)
		}
	}
	if got := escapePointer(string(bytes.Repeat([]byte("漢"), 4000))); len(got) > 70 || !utf8.ValidString(got) {
		t.Errorf("a long name is cut to %d bytes: %q", len(got), got)
	}
}
