package smpp_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/nodetest"
	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/sms"
)

// theirs is an SMSC: it says where it is, what it is sent and what it is answered, and sends what it is
// told. Its arguments are a certificate and a key.
const theirs = `
import smpp from 'smpp';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
const say = (what) => console.log(JSON.stringify(what));
const [cert, key] = process.argv.slice(-2);
let current, last = 0xabc0;
const server = smpp.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (session) => {
  session.on('error', () => {});
  session.on('bind_transceiver', (pdu) => {
    const ok = pdu.system_id === 'popvote' && pdu.password === 's3cret';
    session.send(pdu.response({ command_status: ok ? 0 : smpp.ESME_RBINDFAIL, system_id: 'theirs' }));
    if (ok) current = session;
    say({ bound: ok });
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); say({ unbound: true }); });
  session.on('submit_sm', (pdu) => {
    if (pdu.destination_addr.endsWith('0000')) {
      session.send(pdu.response({ command_status: smpp.ESME_RINVDSTADR }));
      return;
    }
    const id = (++last).toString(16);
    session.send(pdu.response({ message_id: id }));
    say({ text: pdu.short_message.message, to: pdu.destination_addr, from: pdu.source_addr, validity: pdu.validity_period });
    if (pdu.registered_delivery) {
      session.deliver_sm({
        source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4,
        short_message: 'id:' + String(last).padStart(10, '0') + ' sub:001 dlvrd:001 submit date:2611231159 done date:2611231200 stat:DELIVRD err:000 text:',
      });
    }
  });
});
createInterface({ input: process.stdin }).on('line', (line) => {
  const { udh, text, ...rest } = JSON.parse(line);
  const short_message = udh ? { udh: Buffer.from(udh), message: text } : text;
  current.deliver_sm({ ...rest, esm_class: udh ? 0x40 : 0, short_message }, (pdu) => say({ answered: pdu.command_status }));
});
server.listen(0, '127.0.0.1', () => say({ address: '127.0.0.1:' + server.address().port }));
`

type said struct {
	Address        string
	Bound, Unbound bool
	Text, From, To string
	Validity       time.Time
	Answered       *int
}

// npm's implementation as the SMSC, over TLS.
func TestNPMsSMPPIsAnSMSCToUs(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: []string{"smsc"}, Hosts: []string{"127.0.0.1"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(dir, "smsc")
	script := nodetest.Start(t, "smpp", theirs, filepath.Join(site, "cert.pem"), filepath.Join(site, "key.pem"))
	next := func() (s said) {
		t.Helper()
		script.Next(&s)
		return s
	}
	c := config(t, next().Address)
	c.TLS, c.CA = true, filepath.Join(site, "ca.pem")
	p, e, stop := bound(t, c)
	if !next().Bound {
		t.Fatal("it does not let us in")
	}

	for i, text := range []string{"Your code: 123456\n@vote.example.hk #123456 €", "【投票】驗證碼123456 🗳"} {
		ref, err := p.Send(t.Context(), message(text))
		if err != nil || ref == "" {
			t.Fatalf("%q, %v", ref, err)
		}
		if s := next(); s.Text != text || s.To != strings.TrimPrefix(voter, "+") || s.From != shortCode || time.Until(s.Validity).Round(30*time.Second) != 2*time.Minute {
			t.Errorf("%q became %+v", text, s)
		}
		eventually(t, "told of its arrival", func() bool { return len(e.got()) == i+1 })
		if r := e.got()[i]; r.Ref != ref || r.State != provider.Delivered {
			t.Errorf("the receipt of %s, which names it in decimal: %+v", ref, r)
		}
	}
	long := strings.Repeat("投", 100)
	if _, err := p.Send(t.Context(), message(long)); err != nil {
		t.Fatal(err)
	}
	if one, two := next(), next(); one.Text+two.Text != long {
		t.Errorf("two parts: %+v, %+v", one, two)
	}
	wrong := message("123456")
	wrong.To = "+85291230000"
	if _, err := p.Send(t.Context(), wrong); !errors.Is(err, sms.ErrPermanent) {
		t.Errorf("to nobody: %v", err)
	}

	from := map[string]any{"source_addr": "85291234567", "source_addr_ton": 1, "destination_addr": shortCode}
	told := func(more map[string]any) {
		t.Helper()
		for key, value := range from {
			more[key] = value
		}
		script.Tell(more)
		for { // its receipts are answered too, and nobody says it
			if s := next(); s.Answered != nil {
				if *s.Answered != 0 {
					t.Errorf("answered with %d", *s.Answered)
				}
				return
			}
		}
	}
	told(map[string]any{"text": "VOTE AB0D1234 @", "data_coding": 0})
	told(map[string]any{"text": "請投 VOTE AB0D1234"})
	told(map[string]any{"udh": []int{5, 0, 3, 7, 2, 2}, "text": "AB0D1234"})
	told(map[string]any{"udh": []int{5, 0, 3, 7, 2, 1}, "text": "VOTE "})
	var texts []string
	for _, in := range e.texts() {
		texts = append(texts, in.Text)
	}
	if got := strings.Join(texts, "|"); got != "VOTE AB0D1234 @|請投 VOTE AB0D1234|VOTE AB0D1234" {
		t.Errorf("heard %s", got)
	}
	stop()
	if !next().Unbound {
		t.Error("it was left without a word")
	}

	c.ServerName = "somebody.example"
	q, _, _ := started(t, c)
	eventually(t, "suspicious", func() bool { return strings.Contains(fmt.Sprint(q.Check(t.Context())), "certificate") })
}
