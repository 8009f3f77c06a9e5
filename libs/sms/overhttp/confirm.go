package overhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/strictjson"
)

const (
	// maxConfirmed is how many conversations wait to be told of; more are forgotten.
	maxConfirmed = 4096
	// maxTold is how many are told of at once.
	maxTold = 256
	// tellEvery is how long a telling waits for more: nobody waits for it.
	tellEvery = time.Second
	// tellWithin is how long a gateway may take to hear of them.
	tellWithin = 2 * time.Second
	// tellAtOnce is how many gateways are told at the same time.
	tellAtOnce = 8
)

// confirmations is a telling on the wire.
type confirmations struct {
	Conversations []string `json:"conversations"`
}

// confirmation answers a telling.
func confirmation(to sms.Confirmer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var told confirmations
		if err := strictjson.Read(w, r, maxBody, &told); err != nil || len(told.Conversations) > maxTold {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, one := range told.Conversations {
			if len(one) <= maxConversation {
				to.Confirm(one)
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// Confirm implements sms.Confirmer. Each gateway is told within about a second, because it isn't known which
// of them sent the code; one that does not answer, or is of a version that knows nothing of this, is not told
// again.
func (c *Client) Confirm(conversation string) {
	if conversation == "" {
		return
	}
	select {
	case c.confirmed <- conversation:
	default: // a figure is a little wrong; nobody waits
	}
}

// tell tells the gateways what there is, until the context ends.
func (c *Client) tell(ctx context.Context) {
	for {
		var told confirmations
		select {
		case one := <-c.confirmed:
			told.Conversations = append(told.Conversations, one)
		case <-ctx.Done():
			return
		}
		more := time.NewTimer(tellEvery)
	gather:
		for len(told.Conversations) < maxTold {
			select {
			case one := <-c.confirmed:
				told.Conversations = append(told.Conversations, one)
			case <-more.C:
				break gather
			case <-ctx.Done():
				more.Stop()
				return
			}
		}
		more.Stop()
		c.tellAll(ctx, told)
	}
}

func (c *Client) tellAll(ctx context.Context, told confirmations) {
	body, err := json.Marshal(told)
	if err != nil {
		return // strings only: cannot happen
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(tellAtOnce)
	for _, in := range c.finder.Find(Service) {
		group.Go(func() error {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+in.Address+confirmPath, bytes.NewReader(body))
			if err != nil {
				return err
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := c.transport.RoundTrip(request)
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody)) // so that the connection can be used again
			return response.Body.Close()
		})
	}
	_ = group.Wait() // figures: who did not hear of it counts without
}
