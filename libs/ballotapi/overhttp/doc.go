// Package overhttp carries ballotapi between services: HTTP/2 over mutual TLS (package mtls).
//
// Casting is a hop of its own, batched by the ballot server's own rule: whenever an instance has a place
// free, what is queued goes, with no timer, so that a batch is as large as the load makes it. The
// frames are binary and small (frames.go); everything else is a call of package wire.
//
// What a failure means is never guessed. A request whose headers were never written was not applied, and
// goes to another instance. One that was sent and not answered may have been applied: a cast, which is
// idempotent by its key, is sent once more within the budget of retries, and then called unknown; a
// change of a poll is never sent again.
package overhttp

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/popvote/popvote/libs/ballotapi/wire"
)

// ErrForbidden is a call that the handler does not let this service make.
var ErrForbidden = wire.ErrForbidden

var errNoInstance = errors.New("no instance is known to be up")

// Sizes that both ends agree on.
const (
	maxBallots = 1024
	// maxSealed is far above any ballot that a poll's questions can make.
	maxSealed = 16 << 10
	// A batch is closed when it has grown beyond batchBytes; maxBody leaves room for the last ballot.
	batchBytes = 1 << 20
	maxBody    = batchBytes + maxSealed + 1<<10
)

const (
	castPath = "/cast"
	castType = "application/vnd.popvote.cast.v1"
)

// jitter spreads those who were sent away over two seconds.
func jitter() time.Duration { return time.Second + rand.N(2*time.Second) }
