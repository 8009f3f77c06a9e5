package strictjson

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/problem"
)

type form struct {
	Name  string `json:"name"`
	Inner struct {
		Count int `json:"count"`
	} `json:"inner"`
	List []string `json:"list"`
}

func TestDecode(t *testing.T) {
	for body, want := range map[string]problem.Error{
		`{"name":"a","inner":{"count":1},"list":["x"]}`: {},
		` {} `:                                  {},
		``:                                      {Code: problem.MalformedJSON},
		`{`:                                     {Code: problem.MalformedJSON},
		`{} {}`:                                 {Code: problem.MalformedJSON},
		`{},`:                                   {Code: problem.MalformedJSON},
		`{"name":'a'}`:                          {Code: problem.MalformedJSON},
		"{\"name\":\"\xff\"}":                   {Code: problem.MalformedJSON},
		strings.Repeat("[", 40):                 {Code: problem.MalformedJSON},
		`{"name":"a","name":"b"}`:               {Code: problem.DuplicateField, Field: "/name"},
		`{"NAME":"a"}`:                          {Code: problem.UnknownField, Field: "/NAME"},
		`{"inner":{"Count":1}}`:                 {Code: problem.UnknownField, Field: "/inner/Count"},
		`{"name":"a","NAME":"b"}`:               {Code: problem.UnknownField, Field: "/NAME"},
		`{"inner":{"count":1,"count":2}}`:       {Code: problem.DuplicateField, Field: "/inner/count"},
		`{"other":1}`:                           {Code: problem.UnknownField, Field: "/other"},
		`{"a/b~c":1}`:                           {Code: problem.UnknownField, Field: "/a~1b~0c"},
		`{"name":1}`:                            {Code: problem.InvalidField, Field: "/name"},
		`{"inner":{"count":"one"}}`:             {Code: problem.InvalidField, Field: "/inner/count"},
		`[]`:                                    {Code: problem.InvalidField},
		`{"` + strings.Repeat("n", 99) + `":1}`: {Code: problem.UnknownField, Field: "/" + strings.Repeat("n", 64) + "…"},
	} {
		check(t, body, Decode([]byte(body), &form{}), want)
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		body, kind, encoding string
		want                 problem.Error
	}{
		{`{"name":"a"}`, "application/json", "", problem.Error{}},
		{`{"name":"a"}`, "application/json; charset=UTF-8", "", problem.Error{}},
		{`{"name":"a"}`, "application/json; charset=big5", "", problem.Error{Code: problem.WrongContentType}},
		{`{"name":"a"}`, "text/plain", "", problem.Error{Code: problem.WrongContentType}},
		{`{"name":"a"}`, "", "", problem.Error{Code: problem.WrongContentType}},
		{`{"name":"a"}`, "application/json", "gzip", problem.Error{Code: problem.WrongContentType}},
		{`{"name":"` + strings.Repeat("a", 100) + `"}`, "application/json", "", problem.Error{Code: problem.BodyTooLarge}},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		if c.encoding != "" {
			r.Header.Set("Content-Encoding", c.encoding)
		}
		check(t, c.body+" as "+c.kind, Read(httptest.NewRecorder(), r, 64, &form{}), c.want)
	}
}

func check(t *testing.T, what string, err error, want problem.Error) {
	t.Helper()
	if want.Code == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	got, ok := errors.AsType[*problem.Error](err)
	if !ok || got.Code != want.Code || got.Field != want.Field {
		t.Errorf("%s: %v, want %v", what, err, &want)
	}
}

// FuzzDecode: what is taken says the same to a lenient reader, member for member.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{`{"name":"a","inner":{"count":1},"list":["x"]}`, `{"name":"a","NAME":"b"}`, `{"name":1}`, `{`, `null`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict form
		if err := Decode(data, &strict); err != nil {
			if _, ok := errors.AsType[*problem.Error](err); !ok {
				t.Fatalf("%q: %v is no problem", data, err)
			}
			return
		}
		var lenient form
		if err := json.Unmarshal(data, &lenient); err != nil || !reflect.DeepEqual(strict, lenient) {
			t.Fatalf("%q: %+v, and to others %+v, %v", data, strict, lenient, err)
		}
	})
}
