package smsc

import (
	"encoding/json"
	"net/http"

	"github.com/popvote/popvote/libs/strictjson"
)

// maxBody is far above a text of ten parts.
const maxBody = 16 << 10

// Handler is the SMSC's control: GET and DELETE /inbox, POST /texts with from, to and text, GET and PUT
// /faults, GET /stats. Whoever reaches it can text from any number.
func (s *SMSC) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /inbox", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Inbox()) })
	mux.HandleFunc("DELETE /inbox", func(w http.ResponseWriter, _ *http.Request) {
		s.Empty()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /texts", func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			From string `json:"from"`
			To   string `json:"to"`
			Text string `json:"text"`
		}
		if err := strictjson.Read(w, r, maxBody, &m); err != nil || m.From == "" || m.To == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := s.Text(m.From, m.To, m.Text); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Faults()) })
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		if err := strictjson.Read(w, r, maxBody, &f); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.SetFaults(f)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Stats()) })
	return mux
}

func answer(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(content) // whoever asked has gone
}
