package bundle

import (
	"encoding/json"
	"fmt"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/receipt"
)

// voterReceipt is a receipt to look for.
type voterReceipt struct {
	name    string
	data    []byte
	parsed  ballotapi.Receipt
	problem string // what is wrong with the receipt by itself
	place   int64  // of its leaf in the log, from 1; 0 if not there
}

// readReceipts checks receipts by themselves, before the log is searched for them.
func (v *verifier) readReceipts() {
	for i := range v.receipts {
		r := &v.receipts[i]
		var wrapped struct {
			Receipt *ballotapi.Receipt `json:"receipt"` // as the API answers
		}
		err := json.Unmarshal(r.data, &wrapped)
		switch {
		case err != nil:
		case wrapped.Receipt != nil:
			r.parsed = *wrapped.Receipt
		default:
			err = json.Unmarshal(r.data, &r.parsed)
		}
		switch {
		case err != nil:
			r.problem = "it is not a receipt in JSON"
		case r.parsed.Poll != v.manifest.ID:
			r.problem = fmt.Sprintf("it is a receipt of the poll %q", r.parsed.Poll)
		default:
			if err := receipt.Verify(r.parsed, v.manifest.SigningKey); err != nil {
				r.problem = err.Error()
			}
		}
	}
}

func (v *verifier) receiptChecks() {
	for _, r := range v.receipts {
		switch {
		case r.problem != "":
			v.report.add(CheckReceipt, receiptTitle, Failed, "%s: %s", r.name, r.problem)
		case r.place > 0:
			v.report.add(CheckReceipt, receiptTitle, OK, "%s: ballot %s is number %d of the log", r.name, r.parsed.Code, r.place)
		case v.ballots < 0:
			v.report.add(CheckReceipt, receiptTitle, NotPossible, "%s: the ballots could not be read to the end", r.name)
		default:
			v.report.add(CheckReceipt, receiptTitle, Failed, "%s: ballot %s is not in the log, although the receipt is genuine: this is evidence, keep it", r.name, r.parsed.Code)
		}
	}
}
