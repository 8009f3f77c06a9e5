package simulator

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/strictjson"
)

const (
	// maxBody is the most a POST may hold, as everywhere in PopVote.
	maxBody = 8 << 10
	// maxText is what ten concatenated parts hold; phones send no more.
	maxText = 1530
	// ping keeps proxies from closing a stream that has nothing to say.
	ping = 15 * time.Second
	// longPoll is the longest that GET /sms waits for a message.
	longPoll = 25 * time.Second
	// writeTime is what a client gets to take one write of a stream.
	writeTime = 10 * time.Second
)

//go:embed page
var pageFiles embed.FS

var index = template.Must(template.ParseFS(pageFiles, "page/index.html"))

// Handler serves the handset and its API:
//
//	GET  /                 the page; #from=…&to=…&text=… fills it in
//	POST /sms              {"from","to","text"} sends, answers 202 with the message as it was sent
//	GET  /sms?to=…         {"messages":[…]}, those to that handset, newest last; after=n leaves out
//	                       those up to number n, wait=s waits up to s seconds (25) for one;
//	                       with Accept: text/event-stream each as an event as it comes
//
// Numbers may be written in any way that identity.ParsePhone reads.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sms", s.post)
	mux.HandleFunc("GET /sms", s.get)
	assets, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	files := http.FileServerFS(assets)
	mux.Handle("GET /handset.css", files)
	mux.Handle("GET /handset.js", files)
	mux.Handle("GET /words.js", files)
	mux.HandleFunc("GET /{$}", s.page)
	return s.local(mux)
}

// local keeps other sites' pages out. Their names may be made to point to 127.0.0.1, hence the check
// of the host; and a page of theirs can't send application/json without asking first, to which the
// answer is never yes.
func (s *Simulator) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !s.config.Near(net.JoinHostPort(host, "0")) {
			http.Error(w, "The simulated phone is at a loopback address, or in a network that was named for it.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Simulator) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	err := index.Execute(w, struct{ InboundNumber string }{s.config.InboundNumber.Reveal()})
	if err != nil {
		s.deps.Log.DebugContext(r.Context(), "couldn't write the page", slog.Any("error", err))
	}
}

func (s *Simulator) post(w http.ResponseWriter, r *http.Request) {
	m, err := s.send(w, r)
	if err != nil {
		s.refuse(r.Context(), w, err)
		return
	}
	answer(w, http.StatusAccepted, "application/json", m)
}

func (s *Simulator) send(w http.ResponseWriter, r *http.Request) (Message, error) {
	var body struct {
		From *string `json:"from"`
		To   *string `json:"to"`
		Text *string `json:"text"`
	}
	if err := strictjson.Read(w, r, maxBody, &body); err != nil {
		return Message{}, err
	}
	for _, member := range []struct {
		at    string
		value *string
	}{{"/from", body.From}, {"/to", body.To}, {"/text", body.Text}} {
		if member.value == nil {
			return Message{}, problem.New(problem.InvalidField).At(member.at)
		}
	}
	from, err := s.number(*body.From)
	if err != nil {
		return Message{}, problem.Wrap(problem.PhoneInvalid, err).At("/from")
	}
	to, err := s.number(*body.To)
	if err != nil {
		return Message{}, problem.Wrap(problem.PhoneInvalid, err).At("/to")
	}
	if text := *body.Text; text == "" || len(text) > maxText {
		return Message{}, problem.New(problem.InvalidField).At("/text").Because("An SMS has between 1 and %d bytes.", maxText)
	}
	m, err := s.text(r.Context(), from, to, *body.Text)
	if err != nil {
		return Message{}, problem.Wrap(problem.Unavailable, err)
	}
	return m, nil
}

// refuse answers with a problem document, in the form of the public API's.
func (s *Simulator) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	p := problem.From(err)
	row := p.Row()
	if row.Status >= http.StatusInternalServerError {
		s.deps.Log.ErrorContext(ctx, "the simulated phone network failed", slog.Any("error", err))
	}
	answer(w, row.Status, "application/problem+json", struct {
		Type   string         `json:"type"`
		Title  string         `json:"title"`
		Status int            `json:"status"`
		Detail string         `json:"detail,omitempty"`
		Code   problem.Code   `json:"code"`
		Effect problem.Effect `json:"effect"`
		Field  string         `json:"field,omitempty"`
	}{"about:blank", row.Title, row.Status, p.Detail, row.Code, row.Effect, p.Field})
}

func answer(w http.ResponseWriter, status int, kind string, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who went away needs no answer
}

func (s *Simulator) get(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	to, err := s.number(query.Get("to"))
	if err != nil {
		s.refuse(r.Context(), w, problem.Wrap(problem.PhoneInvalid, err).At("/to"))
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Accept")); err == nil && kind == "text/event-stream" {
		s.stream(w, r, to)
		return
	}
	after, err := count(query.Get("after"))
	if err != nil {
		s.refuse(r.Context(), w, problem.New(problem.InvalidField).At("/after"))
		return
	}
	wait, err := count(query.Get("wait"))
	if err != nil {
		s.refuse(r.Context(), w, problem.New(problem.InvalidField).At("/wait"))
		return
	}
	messages, changed := s.received(to, after)
	if len(messages) == 0 && wait > 0 {
		timer := time.NewTimer(min(time.Duration(min(wait, 60))*time.Second, longPoll))
		defer timer.Stop()
		select {
		case <-changed:
			messages, _ = s.received(to, after)
		case <-timer.C:
		case <-r.Context().Done():
		case <-service.Draining(r.Context()):
		}
	}
	answer(w, http.StatusOK, "application/json", map[string][]Message{"messages": messages})
}

func count(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err //nolint:gosec // 63 bits fit
}

// received returns the messages to the number after n, and what is closed when there are more.
func (s *Simulator) received(to sms.Number, n int64) ([]Message, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handsets.at(to.Reveal())
	return h.after(n), h.changed
}

// stream sends each message as an event as it comes. Its id is the message's number, so a browser
// that reconnects goes on where it was.
func (s *Simulator) stream(w http.ResponseWriter, r *http.Request, to sms.Number) {
	seen, err := count(r.Header.Get("Last-Event-ID"))
	if err != nil {
		seen = 0 // not one of ours: everything, again
	}
	w.Header().Set("Content-Type", "text/event-stream")
	controller := http.NewResponseController(w)
	write := func(format string, args ...any) bool {
		deadline := time.Now().Add(writeTime) //nolint:forbidigo // the network's deadlines are on the wall clock
		// Recorders in tests have no deadlines; a server's connection does.
		if err := controller.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return controller.Flush() == nil
	}
	if !write(": the messages to this handset\n\n") {
		return
	}
	ticker := time.NewTicker(ping)
	defer ticker.Stop()
	for {
		messages, changed := s.received(to, seen)
		for _, m := range messages {
			data, err := json.Marshal(m)
			if err != nil || !write("id: %d\nevent: sms\ndata: %s\n\n", m.Number, data) {
				return
			}
			seen = m.Number
		}
		select {
		case <-changed:
		case <-ticker.C:
			if !write(": ping\n\n") {
				return
			}
		case <-service.Draining(r.Context()):
			return
		case <-r.Context().Done():
			return
		}
	}
}
