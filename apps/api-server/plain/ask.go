package plain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

// errKeysTooOld is a server that can seal nothing; the next request may be another's.
var errKeysTooOld = refusal(problem.Unavailable)

// refused is a problem of the API, on its way to a voter.
type refused struct{ problem channelsapi.Problem }

func (r *refused) Error() string { return string(r.problem.Code) }

func refusal(code problem.Code) *refused {
	row := problem.Lookup(code)
	return &refused{channelsapi.Problem{Code: channelsapi.ProblemCode(code), Status: row.Status, Effect: channelsapi.ProblemEffect(row.Effect)}}
}

// refusalOf is any error as a problem; what is none of the API's is internal.
func refusalOf(err error) *refused {
	if r, ok := errors.AsType[*refused](err); ok {
		return r
	}
	p := problem.From(err)
	r := refusal(p.Code)
	if p.RetryAfter > 0 {
		seconds := int((p.RetryAfter + 999_999_999) / 1_000_000_000)
		r.problem.RetryAfter = &seconds
	}
	return r
}

// question is one request to the API.
type question struct {
	method, path string
	body         any
	token, key   string
}

// ask has the API answer a question of the voter whose request this is: the same handlers, limits and
// problems as for any other client, from the same address.
func (p *Pages) ask(r *http.Request, q question, answer any) error {
	var body []byte
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return fmt.Errorf("couldn't write a question: %w", err)
		}
	}
	inner := (&http.Request{
		Method: q.method, URL: &url.URL{Path: q.path}, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: http.Header{"Accept": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		Host: r.Host, RemoteAddr: r.RemoteAddr, TLS: r.TLS, RequestURI: q.path,
	}).WithContext(r.Context())
	if from := r.Header.Values("X-Forwarded-For"); from != nil {
		inner.Header["X-Forwarded-For"] = from
	}
	if q.body != nil {
		inner.Header.Set("Content-Type", "application/json")
	}
	if q.token != "" {
		inner.Header.Set("Authorization", "Bearer "+q.token)
	}
	if q.key != "" {
		inner.Header.Set("Idempotency-Key", q.key)
	}
	got := &recorder{header: http.Header{}}
	p.deps.API.ServeHTTP(got, inner)
	if got.status >= http.StatusBadRequest {
		said := &refused{}
		if err := json.Unmarshal(got.body.Bytes(), &said.problem); err != nil || said.problem.Code == "" {
			return fmt.Errorf("couldn't read a problem of status %d", got.status)
		}
		return said
	}
	if err := json.Unmarshal(got.body.Bytes(), answer); err != nil {
		return fmt.Errorf("couldn't read an answer of status %d: %w", got.status, err)
	}
	return nil
}

// recorder takes an answer within the process.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}
