package hostile

import (
	"slices"
	"strings"
)

// What forgers claim: that they ask from Address, for another Host, for OtherPath, by OtherMethod. Where
// any of it counts, somebody is counted as another network, or past a check that looks at the path.
const (
	Address     = "203.0.113.66"
	Host        = "evil.example"
	OtherPath   = "/v1/polls"
	OtherMethod = "DELETE"
)

// Forgery is an HTTP/1.1 request that claims something about itself. It is answered as if it claimed nothing,
// or refused with 4xx.
type Forgery struct {
	// Name says what is tried.
	Name string
	// Before stands before the request line.
	Before string
	// Target is the whole URL instead of the path; empty for the path alone.
	Target string
	// Lines are the header's, as they are sent; those of Host among them, if they are not one honest line.
	Lines []string
	// Sound says that it is well-formed: whoever refuses it refuses somebody who may mean no harm.
	Sound bool
}

// claims are headers by which proxies and networks of delivery say where a request is from, or what it was
// before they changed it; some are of servers that nobody here runs.
var claims = []string{
	"X-Forwarded-For: " + Address,
	"X-Forwarded-For: " + Address + ", 127.0.0.1",
	"X-Forwarded-For: [2001:db8::66]:80",
	"X-Forwarded-For: unknown",
	"X-Forwarded-For:",
	"x-forwarded-for: " + Address,
	"X_Forwarded_For: " + Address,
	"X-Forwarded-Proto: http",
	"X_Forwarded_Proto: http",
	"X-Forwarded-Host: " + Host,
	"X-Forwarded-Port: 80",
	"X-Forwarded-Prefix: /admin",
	"X-Forwarded-Server: " + Host,
	"X-Forwarded-Scheme: http",
	"X-Forwarded-Ssl: off",
	"X-Forwarded-Uri: " + OtherPath,
	"X-Forwarded-Method: " + OtherMethod,
	"X-Original-Forwarded-For: " + Address,
	"Front-End-Https: off",
	"Forwarded: for=" + Address + ";host=" + Host + ";proto=http",
	"Forwarded: for=\"[2001:db8::66]\", for=" + Address,
	"X-Real-IP: " + Address,
	"X-Client-IP: " + Address,
	"X-Cluster-Client-IP: " + Address,
	"X-Remote-IP: " + Address,
	"X-Remote-Addr: " + Address,
	"Client-IP: " + Address,
	"True-Client-IP: " + Address,
	"CF-Connecting-IP: " + Address,
	"CF-Connecting-IPv6: 2001:db8::66",
	"Fastly-Client-IP: " + Address,
	"X-Azure-ClientIP: " + Address,
	"X-Appengine-User-IP: " + Address,
	"X-Appengine-Remote-Addr: " + Address,
	"Fly-Client-IP: " + Address,
	"X-Envoy-External-Address: " + Address,
	"X-ProxyUser-Ip: " + Address,
	"Via: 1.1 " + Host,
	"X-Host: " + Host,
	"X-Original-Host: " + Host,
	"X-HTTP-Host-Override: " + Host,
	"X-Original-URL: " + OtherPath,
	"X-Rewrite-URL: " + OtherPath,
	"X-Override-URL: " + OtherPath,
	"X-Original-URI: " + OtherPath,
	"X-Accel-Redirect: " + OtherPath,
	"X-HTTP-Method-Override: " + OtherMethod,
	"X-HTTP-Method: " + OtherMethod,
	"X-Method-Override: " + OtherMethod,
}

// Forgeries are all of them for a request to an honest host, each time the same, in the same order.
func Forgeries(host string) []Forgery {
	honest := "Host: " + host
	var all []Forgery
	add := func(name string, sound bool, lines ...string) {
		all = append(all, Forgery{Name: name, Lines: lines, Sound: sound})
	}
	for _, claim := range claims {
		add(claim, true, honest, claim)
		add(claim+", twice", true, honest, claim, claim)
	}
	add("two addresses", true, honest, "X-Forwarded-For: "+Address, "X-Forwarded-For: 198.51.100.66")
	add("two schemes", true, honest, "X-Forwarded-Proto: https", "X-Forwarded-Proto: http")
	add("everything at once", true, slices.Concat([]string{honest}, claims)...)

	// What the next one on the way is asked to take away.
	for _, names := range []string{
		"X-Forwarded-For", "X-Forwarded-For, X-Forwarded-Proto", "close, X-Forwarded-For", "keep-alive, X-Forwarded-Proto", "Host", "x_forwarded_for",
	} {
		add("Connection: "+names, true, honest, "Connection: "+names)
		add("Connection: "+names+", and an address", true, honest, "Connection: "+names, "X-Forwarded-For: "+Address)
	}
	add("Proxy-Connection", true, honest, "Proxy-Connection: X-Forwarded-For")
	add("Keep-Alive", true, honest, "Connection: Keep-Alive, X-Forwarded-For", "Keep-Alive: timeout=5")
	add("a trailer", true, honest, "TE: trailers", "Trailer: X-Forwarded-For")
	add("another protocol", true, honest, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
	add("a WebSocket", false, honest, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")

	// What one parser takes for that header, and another doesn't.
	for _, one := range [][2]string{
		{"a space before the colon", "X-Forwarded-For : " + Address},
		{"a tab before the colon", "X-Forwarded-For\t: " + Address},
		{"a folded line", "X-A: b\r\n X-Forwarded-For: " + Address},
		{"a folded value", "X-Forwarded-For:\r\n " + Address},
		{"a bare LF", "X-A: b\nX-Forwarded-For: " + Address},
		{"a bare CR", "X-A: b\rX-Forwarded-For: " + Address},
		{"a NUL", "X-Forwarded-For: " + Address + "\x00"},
		{"a NUL in the name", "X-Forwarded-For\x00: " + Address},
		{"a vertical tab", "X-Forwarded-For:\x0b" + Address},
		{"no name", ": " + Address},
		{"a name that is not ASCII", "X-Forwarded\u2010For: " + Address},
	} {
		add(one[0], false, honest, one[1])
	}

	for _, other := range []string{
		Host, host + ":80", host + ":443", "127.0.0.1", "localhost", "[::1]", host + ".", strings.ToUpper(host), Host + "/" + host, Host + "@" + host, host + "#", host + " " + Host, "",
	} {
		add("the host "+other, false, "Host: "+other)
	}
	add("no host", false, "X-Forwarded-Host: "+host)
	add("two hosts", false, honest, "Host: "+Host)
	add("two hosts, the other first", false, "Host: "+Host, honest)
	add("a folded host", false, "Host:\r\n "+Host)
	for _, target := range []string{"https://" + Host, "http://" + Host, "https://" + host, "https://" + host + "@" + Host} {
		all = append(all, Forgery{Name: "for " + target, Target: target, Lines: []string{honest}})
	}

	// What a balancer says before the first byte of TLS, if it is one.
	for _, line := range []string{
		"PROXY TCP4 " + Address + " 192.0.2.1 40000 443\r\n", "PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c\xcb\x00\x71\x42\xc0\x00\x02\x01\x9c\x40\x01\xbb",
	} {
		all = append(all, Forgery{Name: "behind a word of PROXY protocol", Before: line, Lines: []string{honest}})
	}
	return all
}

// Text is the request as it is sent: a method, a path, and a header whose end it is.
func (f Forgery) Text(method, path string) string {
	return f.Before + method + " " + f.Target + path + " HTTP/1.1\r\n" + strings.Join(f.Lines, "\r\n") + "\r\n\r\n"
}
