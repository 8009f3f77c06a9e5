package wire

import (
	"context"
	"crypto/hmac"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

const (
	// maxCall is far above what a provider says of one message of ten parts.
	maxCall = 64 << 10
	// maxDeal is how long it may take to deal with a call: providers wait for 10 to 15 seconds.
	maxDeal = 5 * time.Second
	// Tolerance is how far a call's time stamp may be from our clock, either way.
	Tolerance = 5 * time.Minute
	// complain is how often the log says that calls were refused: whoever forges them must not fill it.
	complain = time.Minute
)

// What is wrong with a call. Whoever called is told no more than the status.
var (
	// ErrForged is a call whose signature does not hold, or that has none.
	ErrForged = errors.New("the call's signature does not hold")
	// ErrStale is one that was made long ago, or is to be made some day.
	ErrStale = errors.New("the call's time stamp is too far from now")
	// ErrMalformed is one that is the provider's, and makes no sense.
	ErrMalformed = errors.New("the call makes no sense")
)

// Call is what a provider told us, believed.
type Call struct {
	// Key is what two calls have in common that are one; it is covered by the signature.
	Key string
	// Messages of voters.
	Messages []sms.Inbound
	// Receipts for ours.
	Receipts []provider.Receipt
	// Then is what has to be done besides; nil for nothing. If it fails, the provider calls again.
	Then func(context.Context) error
}

// Reader believes a call, or not: the body is as it came. Its errors are ErrForged, ErrStale, ErrMalformed,
// and others, after which the provider is to call again.
type Reader func(r *http.Request, body []byte) (Call, error)

// handler answers a provider's calls.
type handler struct {
	deps   provider.Deps
	read   Reader
	replay *Replay
	// plain is for gateways that know no more of HTTP than a GET and its 200.
	plain bool

	mu      sync.Mutex // guards those below
	refused int
	said    time.Time
}

// NewHandler answers POSTs with 204 once what they tell has been passed on, or was before; with 403 or 400 if
// they are not believed or understood, which is final; and with 503 if they are to come again.
func NewHandler(deps provider.Deps, read Reader) http.Handler {
	return &handler{deps: deps, read: read, replay: NewReplay(deps.Clock)}
}

// NewPlainHandler is NewHandler for gateways that fetch a URL to tell something: it answers GETs too, and says
// 200 with an empty text, which Kannel for one takes for success as it does not 204.
func NewPlainHandler(deps provider.Deps, read Reader) http.Handler {
	return &handler{deps: deps, read: read, replay: NewReplay(deps.Clock), plain: true}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost && (!h.plain || r.Method != http.MethodGet) {
		allow := http.MethodPost
		if h.plain {
			allow += ", " + http.MethodGet
		}
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	if err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxDeal)
	defer cancel()
	switch err := h.deal(r.WithContext(ctx), body); {
	case err == nil && h.plain:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusOK)
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrForged), errors.Is(err, ErrStale):
		h.complain(ctx, err)
		w.WriteHeader(http.StatusForbidden)
	case errors.Is(err, ErrMalformed):
		h.complain(ctx, err)
		w.WriteHeader(http.StatusBadRequest)
	default:
		h.deps.Log.WarnContext(ctx, "couldn't deal with a provider's call", slog.String("route", h.deps.Name), slog.Any("error", err))
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// errBusy is a call that comes twice at once: the second is to come again, in case the first fails.
var errBusy = errors.New("the same call is being dealt with")

func (h *handler) deal(r *http.Request, body []byte) error {
	call, err := h.read(r, body)
	if err != nil {
		return err
	}
	if call.Key == "" {
		return ErrMalformed
	}
	switch h.replay.Begin(call.Key) {
	case Done:
		return nil
	case Busy:
		return errBusy
	}
	dealt := false
	defer func() { h.replay.End(call.Key, dealt) }()
	if err := h.pass(r.Context(), call); err != nil {
		return err
	}
	dealt = true
	return nil
}

// pass hands a call on. If it fails in the middle, what it did is done again: whoever receives takes the same
// message twice as one.
func (h *handler) pass(ctx context.Context, call Call) error {
	for _, m := range call.Messages {
		if err := h.deps.Receiver.Receive(ctx, m); err != nil && !errors.Is(err, sms.ErrRefused) {
			return err
		}
	}
	if call.Then != nil {
		if err := call.Then(ctx); err != nil {
			return err
		}
	}
	for _, receipt := range call.Receipts { // last: they can't fail, and count
		receipt.Provider = h.deps.Name
		h.deps.Receipts.Receipt(ctx, receipt)
	}
	return nil
}

// complain says now and then that calls are refused: it may be that a secret is wrong.
func (h *handler) complain(ctx context.Context, err error) {
	h.mu.Lock()
	h.refused++
	count, now := h.refused, h.deps.Clock()
	due := now.Sub(h.said) >= complain
	if due {
		h.refused, h.said = 0, now
	}
	h.mu.Unlock()
	if due {
		h.deps.Log.WarnContext(ctx, "calls in a provider's name were refused", slog.String("route", h.deps.Name),
			slog.Int("calls", count), slog.Any("latest", err))
	}
}

// Fresh says whether a call's time stamp is near enough to now.
func Fresh(at, now time.Time) bool {
	return at.Sub(now).Abs() <= Tolerance
}

// Equal compares in constant time.
func Equal(a, b []byte) bool { return hmac.Equal(a, b) }

// Number is what a provider calls a number, in E.164: some leave out the plus. What is none, a sender's name,
// stays what it is.
func Number(text string) sms.Number {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return sms.Number(text)
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return sms.Number(text)
		}
	}
	return sms.Number("+" + text)
}
