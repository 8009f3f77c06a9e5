package ballotapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// Digest is the hash that Hash must hold: SHA-256 over the entry without it, as compact JSON in the
// members' order (an array), the time in UTC to the millisecond, Prev in base64. Prev is in
// it, and so is all that came before.
func (e AuditEntry) Digest() []byte {
	// A fixed list of strings, numbers and bytes: it cannot fail to encode.
	b, _ := json.Marshal([]any{e.Seq, e.At.UTC().Truncate(time.Millisecond), e.Poll, e.Actor, e.Action, e.Reason, e.Detail, base64.StdEncoding.EncodeToString(e.Prev)})
	sum := sha256.Sum256(b)
	return sum[:]
}

// VerifyAudit checks a poll's whole chain, oldest first, and names the first entry that does not fit.
func VerifyAudit(poll string, chain []AuditEntry) error {
	return verifyFrom("the audit chain of "+poll, poll, 0, nil, chain)
}

// VerifyOperators checks the part of the operators' chain that follows an entry of the number and hash given (0
// and nil: the whole chain).
func VerifyOperators(seq int64, hash []byte, chain []AuditEntry) error {
	return verifyFrom("the operators' audit chain", "", seq, hash, chain)
}

func verifyFrom(which, poll string, seq int64, prev []byte, chain []AuditEntry) error {
	for _, e := range chain {
		seq++
		switch {
		case e.Seq != seq:
			return fmt.Errorf("%s has entry %d where %d belongs", which, e.Seq, seq)
		case e.Poll != poll:
			return fmt.Errorf("entry %d of %s is about another poll", e.Seq, which)
		case !bytes.Equal(e.Prev, prev):
			return fmt.Errorf("entry %d of %s does not follow the one before it", e.Seq, which)
		case !bytes.Equal(e.Hash, e.Digest()):
			return fmt.Errorf("entry %d of %s was changed", e.Seq, which)
		}
		prev = e.Hash
	}
	return nil
}
