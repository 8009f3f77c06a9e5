// Package overhttptest answers as a ballot server does, in tests of programs that call one.
package overhttptest

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/mtls"
)

// Serve answers for a box over mutual TLS, with the certificates in a directory, until the test ends. It
// returns the address.
func Serve(t testing.TB, certificates string, b overhttp.Box) string {
	t.Helper()
	store, err := mtls.Load(certificates, time.Now) //nolint:forbidigo // for tests alone
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it listens at once
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: overhttp.NewHandler(b, overhttp.Production()), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(tls.NewListener(l, store.Server())) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}
