package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// profile takes a CPU profile of each program while a phase lasts, at its origin; the channel gives how
// that went.
func (b *bench) profile(ctx context.Context, p Phase, programs map[string]string) <-chan error {
	done := make(chan error, 1)
	if b.Profile == "" || len(programs) == 0 {
		done <- nil
		return done
	}
	go func() {
		var all sync.WaitGroup
		errs := make(chan error, len(programs))
		for program, origin := range programs {
			all.Go(func() {
				url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", origin, max(1, int(b.Phase.Seconds())))
				name := strings.ReplaceAll(program+"-"+p.Mode+"-"+p.Loop, " ", "-") + ".pprof"
				errs <- download(ctx, url, filepath.Join(b.Profile, name))
			})
		}
		all.Wait()
		close(errs)
		var err error
		for e := range errs {
			err = errors.Join(err, e)
		}
		if err != nil {
			err = fmt.Errorf("couldn't take a profile: %w", err)
		}
		done <- err
	}()
	return done
}

func download(ctx context.Context, url, path string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the instance answered %s", res.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, res.Body)
	return err
}
