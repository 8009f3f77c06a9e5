package challenge_test

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/challenge"
)

// altchaScript reads {challenge, payload, secret}: it solves our challenge, checks our solution of it,
// and sets a challenge of its own under our secret.
const altchaScript = `
import { readFileSync } from 'node:fs';
import { createChallenge, solveChallenge, verifySolution, pbkdf2 } from 'altcha/lib';
const { challenge, payload, secret } = JSON.parse(readFileSync(0, 'utf8'));
const { deriveKey } = pbkdf2;
const solution = await solveChallenge({ challenge, deriveKey });
const ours = JSON.parse(atob(payload));
const checked = await verifySolution({
  challenge: ours.challenge, solution: ours.solution, deriveKey, hmacSignatureSecret: secret,
});
const theirs = await createChallenge({
  algorithm: 'PBKDF2/SHA-256', cost: 20, deriveKey, expiresAt: new Date(Date.now() + 60_000), hmacSignatureSecret: secret,
});
const theirSolution = await solveChallenge({ challenge: theirs, deriveKey });
process.stdout.write(JSON.stringify({
  solved: btoa(JSON.stringify({ challenge, solution })),
  checked,
  theirs,
  theirSolved: btoa(JSON.stringify({ challenge: theirs, solution: theirSolution })),
}));
`

// ALTCHA's library solves our challenges and takes our solutions, and we solve and take its own.
func TestALTCHAUnderstandsUsAndWeIt(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node on this machine")
	}
	apps, err := filepath.Abs("../../apps")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(apps, "node_modules", "altcha")); err != nil {
		t.Skip("altcha is not installed: run npm ci in apps/")
	}
	for name, puzzle := range map[string]challenge.Puzzle{
		"no work": challenge.Usual(0), "work": challenge.Usual(20), "an odd number of zeros": {Iterations: 20, Zeros: 3},
	} {
		t.Run(name, func(t *testing.T) {
			// The library looks at the machine's clock, so for once we do too.
			i := challenge.NewIssuer(secret, time.Now)
			c := i.Set(puzzle, netip.MustParsePrefix("192.0.2.0/24"))
			input, err := json.Marshal(map[string]any{
				"challenge": c, "payload": solve(t, c), "secret": hex.EncodeToString(secret[:]),
			})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-e", altchaScript)
			cmd.Dir = apps
			cmd.Stdin = strings.NewReader(string(input))
			cmd.Stderr = os.Stderr
			output, err := cmd.Output()
			if err != nil {
				t.Fatalf("couldn't ask ALTCHA: %v", err)
			}
			var answer struct {
				Solved  string
				Checked struct {
					Verified bool `json:"verified"`
				}
				Theirs      json.RawMessage
				TheirSolved string
			}
			if err := json.Unmarshal(output, &answer); err != nil {
				t.Fatal(err)
			}
			if id, _, err := i.Verify(answer.Solved); err != nil || id != c.Parameters.Nonce {
				t.Errorf("its solution of our challenge: %q, %v", id, err)
			}
			if !answer.Checked.Verified {
				t.Errorf("it does not take our solution: %s", output)
			}
			if _, _, err := i.Verify(answer.TheirSolved); err != nil {
				t.Errorf("its solution of its own challenge: %v", err)
			}
			ours, err := challenge.Solve(t.Context(), answer.Theirs)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := i.Verify(ours); err != nil {
				t.Errorf("our solution of its challenge: %v", err)
			}
		})
	}
}
