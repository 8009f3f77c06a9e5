package wire

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"

	"github.com/popvote/popvote/libs/ballotapi"
)

// Prefix is where the calls are: POST Prefix + the method's name.
const Prefix = "/call/"

const (
	jsonType  = "application/json"
	bytesType = "application/octet-stream"
	// maxRequest is above the largest poll file that is taken.
	maxRequest = 4 << 20
)

// Guard decides about calls.
type Guard struct {
	// May says whether the caller of a request may use an interface; nil lets everybody.
	May func(*http.Request, Interface) bool
	// Texts sends errors of no type as text, for a caller who may read our logs anyway; otherwise such
	// an error goes to Log, and the caller is told problem.Internal.
	Texts bool
	// Log is told what callers are not; nil means nobody is.
	Log *slog.Logger
}

// Handler answers the calls of a Remote.
func Handler(admin ballotapi.Admin, g Guard) http.Handler {
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Prefix+"{method}", func(w http.ResponseWriter, r *http.Request) {
		method, known := methods[r.PathValue("method")]
		if !known {
			http.NotFound(w, r)
			return
		}
		if g.May != nil && !g.May(r, method.Interface) {
			http.Error(w, "the caller may not call this", http.StatusForbidden)
			return
		}
		in, err := readRequest(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			http.Error(w, "couldn't read the call", http.StatusBadRequest)
			return
		}
		defer clear(in.Key)
		ctx := r.Context()
		if method.Changes {
			// A change that was begun is finished, also when the caller goes away.
			ctx = context.WithoutCancel(ctx)
		}
		out := &stream{w: w}
		result, err := method.do(ctx, admin, in, out)
		if err != nil && out.begun {
			g.Log.ErrorContext(ctx, "an answer broke off", slog.String("method", method.Name), slog.String("error", err.Error()))
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		g.answer(ctx, w, method, result, err)
	})
	return mux
}

func readRequest(body io.Reader) (in request, err error) {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, err
	}
	if _, err := d.Token(); err != io.EOF {
		return in, http.ErrNotSupported
	}
	return in, nil
}

func (g Guard) answer(ctx context.Context, w http.ResponseWriter, m *Method, result any, err error) {
	if raw, ok := result.([]byte); ok && err == nil {
		w.Header().Set("Content-Type", bytesType)
		_, _ = w.Write(raw) // a caller that has gone needs no answer
		return
	}
	out := reply{}
	if err == nil {
		out.Result, err = json.Marshal(result)
	}
	if err != nil {
		failure, typed := Typed(err)
		switch {
		case typed:
		case g.Texts:
			failure = &Failure{Text: err.Error()}
		default:
			g.Log.ErrorContext(ctx, "a call failed", slog.String("method", m.Name), slog.String("error", err.Error()))
			failure = &Failure{}
		}
		out = reply{Error: failure}
	}
	w.Header().Set("Content-Type", jsonType)
	_ = json.NewEncoder(w).Encode(out) // as above
}

// stream is an answer that is written as it is made.
type stream struct {
	w     http.ResponseWriter
	begun bool
}

func (s *stream) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", bytesType)
	}
	return s.w.Write(p)
}
