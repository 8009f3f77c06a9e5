package smsc_test

import (
	"testing"

	"github.com/popvote/popvote/apps/sms-gateway/nodetest"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
)

// esme binds to the SMSC at its argument, sends a text that it is told, and says what it is answered and
// brought.
const esme = `
import smpp from 'smpp';
import { createInterface } from 'node:readline';
const say = (what) => console.log(JSON.stringify(what));
const session = smpp.connect({ url: 'smpp://' + process.argv.at(-1) });
session.on('error', (e) => { console.error(e); process.exit(1); });
session.on('deliver_sm', (pdu) => {
  session.send(pdu.response());
  say({ esm_class: pdu.esm_class, from: pdu.source_addr, text: pdu.short_message.message, id: pdu.receipted_message_id, state: pdu.message_state });
});
session.bind_transceiver({ system_id: 'popvote', password: 's3cret' }, (pdu) => say({ status: pdu.command_status }));
createInterface({ input: process.stdin }).on('line', (line) => {
  session.submit_sm({ ...JSON.parse(line), registered_delivery: 1 }, (pdu) => say({ status: pdu.command_status, id: pdu.message_id }));
});
`

// heard is what esme says.
type heard struct {
	Status       int
	ID, Text     string
	From         string
	State, Class int
}

func TestNPMsSMPPSpeaksWithIt(t *testing.T) {
	s, address := simulate(t)
	s.SetFaults(smsc.Faults{OptionReceipts: true})
	script := nodetest.Start(t, "smpp", esme, address)
	var got heard
	if script.Next(&got); got.Status != 0 {
		t.Fatalf("bound: %+v", got)
	}
	// Left to itself it calls GSM's alphabet ASCII.
	for i, text := range []string{"Your code: 123456 @ €", "驗證碼123456"} {
		script.Tell(map[string]any{"destination_addr": "85291234567", "short_message": text, "data_coding": 8 * i})
		// Its answer, and its receipt.
		var answer, receipt heard
		script.Next(&answer)
		script.Next(&receipt)
		if answer.Status != 0 || receipt.ID != answer.ID || receipt.State != 2 {
			t.Errorf("answered %+v, then told %+v", answer, receipt)
		}
		if in := s.Inbox(); len(in) != i+1 || in[i].Text != text {
			t.Errorf("in the inbox: %+v", in)
		}
	}
	for _, text := range []string{"VOTE AB0D1234 @", "請投 VOTE AB0D1234"} {
		if err := s.Text("+85291234567", "10850", text); err != nil {
			t.Fatal(err)
		}
		var in heard
		if script.Next(&in); in.Text != text || in.From != "85291234567" {
			t.Errorf("%q became %+v", text, in)
		}
	}
}
