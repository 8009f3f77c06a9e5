package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
)

// maxRequest is above the largest poll file that is taken.
const maxRequest = 4 << 20

// Listen opens the socket in the data directory. The caller holds the directory's lock, so a socket
// that lies there is left over from a process that was killed.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, Name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("couldn't remove the socket left behind: %w", err)
	}
	// The socket is born in a directory of mode 0700, so nobody else is quicker than the chmod.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the command line's socket (a path of at most 107 bytes): %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("couldn't restrict the command line's socket: %w", err)
	}
	return l, nil
}

// Handler answers the calls of a Client.
func Handler(admin ballotapi.Admin) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /call/{method}", func(w http.ResponseWriter, r *http.Request) {
		method, known := methods[r.PathValue("method")]
		if !known {
			http.NotFound(w, r)
			return
		}
		var in request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
			http.Error(w, "couldn't read the call", http.StatusBadRequest)
			return
		}
		defer clear(in.Key)
		// A change that was begun is finished, also when the caller goes away.
		result, err := method(context.WithoutCancel(r.Context()), admin, in)
		writeReply(w, result, err)
	})
	mux.HandleFunc("GET /bundle/{poll}", func(w http.ResponseWriter, r *http.Request) {
		file, err := os.CreateTemp("", "popvote-bundle-*")
		if err != nil {
			writeReply(w, nil, err)
			return
		}
		defer func() { _ = file.Close(); _ = os.Remove(file.Name()) }()
		if err := admin.Bundle(r.Context(), r.PathValue("poll"), file); err != nil {
			writeReply(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "application/zip")
		http.ServeContent(w, r, "", time.Time{}, file)
	})
	return mux
}

func writeReply(w http.ResponseWriter, result any, err error) {
	out := reply{Error: failureOf(err)}
	if err == nil {
		encoded, err := json.Marshal(result)
		if err != nil {
			out.Error = failureOf(err)
		}
		out.Result = encoded
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a caller that has gone needs no answer
}
