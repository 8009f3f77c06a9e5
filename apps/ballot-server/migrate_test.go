//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKeepsADatabase: two ballot servers share one that migrate has made, and neither starts on one that
// would lose votes with its server unless it is told to.
func TestKeepsADatabase(t *testing.T) {
	var out servicetest.Output
	db := pgtest.New(t, func(ctx context.Context, dsn string) error {
		file := write(t, dsn+"\n")
		for range 2 {
			if err := run(ctx, []string{"migrate", "-database", file}, &out, &out); err != nil {
				return err
			}
		}
		return nil
	})
	dir, file := t.TempDir(), write(t, db.Ballot)
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	args := []string{"-data", dir, "-database", file, "-admin", "127.0.0.1:0"}
	if err := run(t.Context(), args, &out, &out); err == nil || !strings.Contains(err.Error(), "standby") {
		t.Errorf("without a standby: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range cap(ended) {
		var errs servicetest.Output
		go func() { ended <- run(ctx, append(args, "-cluster=false"), &errs, &errs) }()
		for !strings.Contains(errs.String(), "listening") {
			select {
			case err := <-ended:
				t.Fatalf("it ended: %v\n%s", err, errs.String())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	stop()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 2 { // the keys and their lock
		t.Errorf("it left %v in the data directory (%v)", left, err)
	}
}

func TestRefusesWhatIsNoDSN(t *testing.T) {
	loose := write(t, "host=localhost")
	if err := os.Chmod(loose, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"migrate"},
		{"migrate", "-database", loose},
		{"migrate", "-database", write(t, " \n")},
		{"migrate", "-database", filepath.Join(t.TempDir(), "none")},
		{"migrate", "-database", write(t, "x"), "more"},
		{"imigrate"},
	} {
		var errs servicetest.Output
		if err := run(t.Context(), args, &errs, &errs); !errors.Is(err, service.ErrConfig) {
			t.Errorf("%v: %v", args, err)
		}
	}
	var errs servicetest.Output
	err := run(t.Context(), []string{"migrate", "-database", write(t, "postgres://u:opensesame@127.0.0.1:1/x?sslmode=disable")}, &errs, &errs)
	if err == nil || strings.Contains(err.Error()+errs.String(), "opensesame") {
		t.Errorf("the password is in the error: %v", err)
	}
}
