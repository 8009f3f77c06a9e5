package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/popvote/popvote/apps/ballot-server/server"
	"github.com/popvote/popvote/libs/service"
)

const migrateUsage = `ballot-server migrate makes the tables of a PostgreSQL database, or brings them up to
date. It is safe while ballot servers of this version or the one before are using them,
and to run twice.

Flags:
`

// migrate is the subcommand. It reads no environment: what is there is the ballot server's, whose role
// is another.
func migrate(ctx context.Context, args []string, errs io.Writer) error {
	flags := flag.NewFlagSet(name+" migrate", flag.ContinueOnError)
	flags.SetOutput(errs)
	database := flags.String("database", "", "A `file` (mode 0600) that holds the DSN of the role that owns the tables; required.")
	flags.Usage = func() {
		_, _ = io.WriteString(errs, migrateUsage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	if *database == "" || flags.NArg() > 0 {
		return fmt.Errorf("%w: want ballot-server migrate -database FILE", service.ErrConfig)
	}
	dsn, err := readDSN(*database)
	if err != nil {
		return err
	}
	return server.Migrate(ctx, dsn)
}

// readDSN reads a DSN from a file: as an argument or in the environment everybody on the machine could
// see its password.
func readDSN(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: -database: %w", service.ErrConfig, err)
	}
	if loose := info.Mode().Perm() &^ 0o600; loose != 0 {
		return "", fmt.Errorf("%w: -database: the mode of %s is %04o, so others may have its password; want 0600", service.ErrConfig, path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("%w: -database: %w", service.ErrConfig, err)
	}
	dsn := strings.TrimSpace(string(text))
	if dsn == "" {
		return "", errors.Join(service.ErrConfig, fmt.Errorf("-database: %s is empty", path))
	}
	return dsn, nil
}
