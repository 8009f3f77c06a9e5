// Package kanneltest starts Debian's Kannel for tests: a real SMS gateway, which speaks SMPP with an SMSC
// on one side and HTTP on the other. Nothing of it is left when the test is over.
package kanneltest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// startTime is how long each of its two programs may take to listen, asked every poll.
const (
	startTime = 20 * time.Second
	poll      = 20 * time.Millisecond
)

// Config is what it stands between.
type Config struct {
	// SMSC is host:port of the SMSC, SystemID and Password whom it lets in: letters and digits.
	SMSC, SystemID, Password string
	// Inbound is the URL that it asks for each text of a voter, with from, to, text (UTF-8), id and time
	// (seconds since 1970) added to its query. What is not answered with 200 it asks again after a second, for
	// half a minute.
	Inbound string
}

// Kannel is a bearerbox and its smsbox.
type Kannel struct {
	// at is where its smsbox listens, host:port.
	at string
}

// Its one user, who may be known: it listens on loopback.
const (
	User     = "tester"
	Password = "tester"
)

var configuration = template.Must(template.New("kannel").Parse(`group = core
admin-port = {{.Admin}}
admin-interface = 127.0.0.1
admin-password = {{.Password}}
smsbox-port = {{.Box}}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
dlr-storage = internal
sms-resend-freq = 1

group = smsc
smsc = smpp
smsc-id = test
host = {{.Host}}
port = {{.Port}}
transceiver-mode = true
smsc-username = {{.SystemID}}
smsc-password = {{.SMSCPassword}}
system-type = ""
interface-version = 34
reconnect-delay = 1

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {{.Send}}
sendsms-interface = 127.0.0.1
mo-recode = true
http-request-retry = 30
http-queue-delay = 1

group = sendsms-user
username = {{.User}}
password = {{.Password}}
max-messages = 10
concatenation = true

group = sms-service
keyword = default
catch-all = true
max-messages = 0
omit-empty = true
get-url = "{{.Inbound}}?from=%p&to=%P&text=%a&id=%I&time=%T"
`))

// Start starts a Kannel on free loopback ports, and ends it with the test. A machine without Kannel fails
// the test: make bootstrap installs it.
func Start(t testing.TB, c Config) *Kannel {
	t.Helper()
	host, port, err := net.SplitHostPort(c.SMSC)
	if err != nil {
		t.Fatal(err)
	}
	// A port may be taken by somebody else between here and the start: then others are tried.
	for range 5 {
		var ports [3]string
		if ports, err = freePorts(); err != nil {
			break
		}
		path := filepath.Join(t.TempDir(), "kannel.conf")
		var content bytes.Buffer
		if err = configuration.Execute(&content, map[string]string{
			"Admin": ports[0], "Box": ports[1], "Send": ports[2], "Host": host, "Port": port,
			"SystemID": c.SystemID, "SMSCPassword": c.Password, "User": User, "Password": Password, "Inbound": c.Inbound,
		}); err != nil {
			break
		}
		if err = os.WriteFile(path, content.Bytes(), 0o600); err != nil {
			break
		}
		k := &Kannel{at: net.JoinHostPort("127.0.0.1", ports[2])}
		if err = run(t, path, "bearerbox", ports[1]); err != nil {
			continue
		}
		if err = run(t, path, "smsbox", ports[2]); err == nil {
			return k
		}
	}
	t.Fatalf("couldn't start Kannel: %v", err)
	return nil
}

// URL is where a program asks it to send, with headers and a body or with a query.
func (k *Kannel) URL() string { return "http://" + k.at + "/cgi-bin/sendsms" }

// SendSMS is the URL that sends a text to a number, both as they are, and has report asked with what became
// of it in place of %d (1 is delivered), unless it is empty.
func (k *Kannel) SendSMS(from, to, text, report string) string {
	query := url.Values{"username": {User}, "password": {Password}, "from": {from}, "to": {to}, "text": {text}, "charset": {"UTF-8"}}
	if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7F }) {
		query.Set("coding", "2")
	}
	if report != "" {
		query.Set("dlr-mask", "31")
		query.Set("dlr-url", report)
	}
	return k.URL() + "?" + query.Encode()
}

// run starts one of its programs, and waits until it listens.
func run(t testing.TB, path, program, port string) error {
	var out bytes.Buffer
	cmd := exec.Command(program, "-v", "1", path) //nolint:gosec // one of two
	cmd.Dir = filepath.Dir(path)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (make bootstrap installs it)", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	for range startTime / poll {
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended: %s", program, out.String())
		case <-time.After(poll):
		}
	}
	return fmt.Errorf("%s does not listen within %s", program, startTime)
}

// freePorts are three that are free at the same time.
func freePorts() (ports [3]string, err error) {
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, err
		}
		defer func() { _ = l.Close() }()
		if _, ports[i], err = net.SplitHostPort(l.Addr().String()); err != nil {
			return ports, err
		}
	}
	return ports, nil
}
