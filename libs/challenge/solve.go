package challenge

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Solve does the work of a challenge, given as the API's JSON, and returns the payload to send. It
// gives up when the context ends.
func Solve(ctx context.Context, challengeJSON []byte) (string, error) {
	var c Challenge
	if err := json.Unmarshal(challengeJSON, &c); err != nil {
		return "", fmt.Errorf("couldn't read a challenge: %w", err)
	}
	for counter := range uint32(math.MaxUint32) {
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("couldn't solve a challenge: %w", err)
		}
		key, err := derive(c.Parameters, counter)
		if err != nil {
			return "", fmt.Errorf("couldn't solve a challenge: %w", err)
		}
		if derived := hex.EncodeToString(key); strings.HasPrefix(derived, c.Parameters.KeyPrefix) {
			text, err := json.Marshal(payload{Challenge: c, Solution: solution{Counter: counter, DerivedKey: derived}})
			if err != nil {
				return "", fmt.Errorf("couldn't encode a solution: %w", err)
			}
			return base64.StdEncoding.EncodeToString(text), nil
		}
	}
	return "", errors.New("couldn't solve a challenge: no counter does")
}
