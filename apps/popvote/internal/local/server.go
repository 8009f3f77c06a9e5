package local

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/wire"
)

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
	return wire.Handler(admin, wire.Guard{Texts: true})
}
