package identity_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stdnumScript answers a JSON array of numbers with an array of what npm's stdnum thinks of each.
const stdnumScript = `
const { stdnum } = require('stdnum');
const numbers = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(numbers.map((n) => stdnum.HK.hkid.validate(n).isValid)));
`

// An independent implementation and ours agree on which numbers are valid: right and wrong check
// digits, one and two letters. It also settles what is said about two-letter prefixes. The letter O is
// left out: stdnum refuses it whatever the check digit. We do not, because a rule of who is issued
// which letter can change, and refusing a voter their vote is worse than a typing error let through.
func TestStdnumAgrees(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node on this machine")
	}
	apps, err := filepath.Abs("../../apps")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(apps, "node_modules", "stdnum")); err != nil {
		t.Skip("stdnum is not installed: run npm ci in apps/")
	}

	// A fixed seed: the same 24,000 numbers on every run.
	random := rand.New(rand.NewPCG(2014, 6))
	var numbers []string
	for range 12_000 {
		body := make([]byte, 0, 9)
		for range 1 + random.IntN(2) {
			body = append(body, "ABCDEFGHIJKLMNPQRSTUVWXYZ"[random.IntN(25)])
		}
		for range 6 {
			body = append(body, byte('0'+random.IntN(10)))
		}
		right := 0
		for _, check := range "0123456789A" {
			number := string(body) + string(check)
			if _, err := hkid(t).Canonical(number); err == nil {
				numbers = append(numbers, number)
				right++
			}
		}
		if right != 1 {
			t.Fatalf("%s has %d check digits", body, right)
		}
		numbers = append(numbers, string(body)+string("0123456789A"[random.IntN(11)]))
	}

	input, err := json.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", stdnumScript)
	cmd.Dir = apps
	cmd.Stdin = strings.NewReader(string(input))
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("couldn't ask stdnum: %v", err)
	}
	var verdicts []bool
	if err := json.Unmarshal(output, &verdicts); err != nil || len(verdicts) != len(numbers) {
		t.Fatalf("%d answers to %d numbers: %v", len(verdicts), len(numbers), err)
	}
	valid := 0
	for i, number := range numbers {
		_, err := hkid(t).Canonical(number)
		if (err == nil) != verdicts[i] {
			t.Errorf("%s: we say %v, stdnum %v", number, err == nil, verdicts[i])
		}
		if verdicts[i] {
			valid++
		}
	}
	if valid < 12_000 {
		t.Errorf("only %d of %d numbers are valid: the test has lost its point", valid, len(numbers))
	}
}
