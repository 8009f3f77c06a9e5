// Package instance builds popvote and runs it the way an operator does: as a program, with flags,
// signals and exit codes.
package instance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build compiles popvote into the directory and returns the binary's path. It builds what is shipped:
// without the workspace, each module by its own go.mod. Tags select variants that must fail.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "..", "..", "popvote")
	binary := filepath.Join(dir, "popvote")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	for _, tag := range tags {
		binary = filepath.Join(dir, "popvote-"+tag)
		args = []string{"build", "-buildvcs=false", "-tags", tag, "-o", binary}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("couldn't build popvote: %w\n%s", err, out)
	}
	return binary, nil
}
