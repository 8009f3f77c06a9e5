package overhttp

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/wire"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/problem"
)

// Box is what a handler serves: a ballot server.
type Box interface {
	ballotapi.Caster
	ballotapi.Admin
}

// Allow lists the services that may use each interface, by the names in their certificates. Admin does
// not include Reader.
type Allow struct {
	Caster, Reader, Admin []string
}

// Production is who may do what in a cluster. Nobody else may do anything.
func Production() Allow {
	return Allow{
		Caster: []string{"api-server"},
		Reader: []string{"api-server", "control-panel"},
		Admin:  []string{"control-panel"},
	}
}

// batchesAtOnce is how many batches are taken at a time: with the largest bodies, 64 MiB.
const batchesAtOnce = 64

// writeTime is how long a batch may take from the first byte to the last: a caller that doesn't read
// its answer must not hold a place for ever.
const writeTime = 30 * time.Second

// Option changes how a handler works.
type Option func(*handler)

// WithLog tells a log what callers are not told: why something failed. Never who voted.
func WithLog(log *slog.Logger) Option { return func(h *handler) { h.log = log } }

// WithBatches sets how many batches are taken at a time (64). More are refused at once with 503.
func WithBatches(n int) Option { return func(h *handler) { h.places = make(chan struct{}, n) } }

type handler struct {
	box    Box
	allow  Allow
	log    *slog.Logger
	places chan struct{} // holds one token for each batch under way
	served *Served       // nil: nothing is counted
}

// NewHandler serves a ballot server to the services that may use it. It must be served over mtls.
func NewHandler(box Box, allow Allow, options ...Option) http.Handler {
	h := &handler{box: box, allow: allow, log: slog.New(slog.DiscardHandler), places: make(chan struct{}, batchesAtOnce)}
	for _, option := range options {
		option(h)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+castPath, h.served.around(h.cast))
	mux.Handle(wire.Prefix, wire.Handler(box, wire.Guard{May: h.may, Log: h.log}))
	return h.served.all(mux)
}

func (h *handler) may(r *http.Request, i wire.Interface) bool {
	allowed := map[wire.Interface][]string{wire.Reader: h.allow.Reader, wire.Admin: h.allow.Admin}
	return h.permits(r, allowed[i], string(i))
}

func (h *handler) permits(r *http.Request, services []string, what string) bool {
	caller := mtls.Caller(r)
	if caller != "" && slices.Contains(services, caller) {
		return true
	}
	h.log.WarnContext(r.Context(), "refused a caller", slog.String("caller", caller), slog.String("interface", what))
	return false
}

func (h *handler) cast(w http.ResponseWriter, r *http.Request) {
	switch {
	case !h.permits(r, h.allow.Caster, "caster"):
		http.Error(w, "the caller may not cast", http.StatusForbidden)
		return
	case r.Header.Get("Content-Type") != castType:
		http.Error(w, "want "+castType, http.StatusUnsupportedMediaType)
		return
	case r.ContentLength < 0:
		http.Error(w, "a batch says how long it is", http.StatusLengthRequired)
		return
	case r.ContentLength > maxBody:
		http.Error(w, "the batch is too large", http.StatusRequestEntityTooLarge)
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		w.Header().Set("Retry-After", strconv.Itoa(int(jitter()/time.Second)))
		http.Error(w, "too many batches at a time", http.StatusServiceUnavailable)
		return
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, "couldn't read the batch", http.StatusBadRequest)
		return
	}
	ballots, err := readBallots(body)
	if err != nil {
		http.Error(w, "couldn't read the batch", http.StatusBadRequest)
		return
	}
	h.served.took(len(ballots))
	w.Header().Set("Content-Type", castType)
	answer := http.NewResponseController(w)
	// A server that can't set deadlines is a test's recorder.
	_ = answer.SetWriteDeadline(time.Now().Add(writeTime)) //nolint:forbidigo // the connection's clock is the wall's
	h.stream(r.Context(), w, answer.Flush, ballots)
}

// each casts ballots so that each is told as soon as it is known: one that is refused at once, because
// the queue is full, must not wait for the commit of those before it.
func (h *handler) each(ctx context.Context, ballots []ballotapi.Ballot, tell func([]ballotapi.Known)) {
	if box, ok := h.box.(ballotapi.EachCaster); ok {
		box.CastEach(ballots, tell)
		return
	}
	for i := range ballots {
		go func() {
			got, err := h.box.Cast(ctx, ballots[i:i+1:i+1])
			if err != nil || len(got) != 1 {
				got = []ballotapi.Outcome{{Err: problem.Wrap(problem.OutcomeUnknown, err).After(jitter())}}
			}
			tell([]ballotapi.Known{{At: i, Outcome: got[0]}})
		}()
	}
}

// stream casts ballots and writes the outcomes as they become known.
func (h *handler) stream(ctx context.Context, w io.Writer, flush func() error, ballots []ballotapi.Ballot) {
	told := make(chan []ballotapi.Known, len(ballots))
	h.each(ctx, ballots, func(some []ballotapi.Known) { told <- some })
	out := outcomeWriter{buf: make([]byte, 0, len(ballots)*recordSize)}
	logged := false
	add := func(k ballotapi.Known) {
		if k.Receipt != nil {
			out.receipt(k.At, k.Receipt)
			return
		}
		p := problem.From(k.Err)
		if cause := p.Unwrap(); cause != nil && !logged && ctx.Err() == nil {
			logged = true // they mostly fail together
			h.log.ErrorContext(ctx, "a ballot was not recorded", slog.String("code", string(p.Code)), slog.String("error", cause.Error()))
		}
		out.problem(k.At, p)
	}
	gone := false
	for left := len(ballots); left > 0; {
		for some, more := <-told, true; more; {
			for _, k := range some {
				add(k)
			}
			left -= len(some)
			select { // what is there as well goes along
			case some = <-told:
			default:
				more = false
			}
		}
		if gone {
			continue
		}
		_, err := w.Write(out.buf)
		out.buf = out.buf[:0]
		if err == nil && left > 0 {
			err = flush()
		}
		gone = err != nil // the caller; the recording goes on
	}
}
