package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/witness"
	"github.com/popvote/popvote/libs/ballotlog"
)

func newWitnessCommand() *cobra.Command {
	var (
		source logSource
		key    string
		config witness.Config
		once   bool
		every  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "witness",
		Short: "Watch a ballot log, cosign what is consistent, and scream at a fork",
		Long: fmt.Sprintf(`Watch a ballot log from outside. The witness reads the checkpoint, checks by the log's own
tiles that the log still begins with everything it has cosigned before, cosigns (C2SP
tlog-cosignature), and prints the checkpoint with the cosignature. Run it where the
organiser has no say, with the same --state every time.

Trust begins with --signing-key, or else with the first manifest that is seen.

Exit code %d: the log has two histories, became smaller, changed its keys, or shows tiles
that are not those of its checkpoint. Nothing is cosigned then, and what proves it is
kept in the state. What the network does is another matter: --once fails with code %d,
--every says so and tries again.`, exit.Forked, exit.Failed),
		Example: `  popvote witness keygen --name witness.example.org/1 --key witness.key
  popvote witness --log https://vote.example.hk --poll hk-2014-06 --key witness.key --state witness --every 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(required("key", key), required("state", config.State)); err != nil {
				return err
			}
			if once && every != 0 {
				return exit.Errorf(exit.Usage, "--once or --every: not both")
			}
			if every != 0 && every < time.Second {
				return exit.Errorf(exit.Usage, "--every %s: a second is the least", every)
			}
			site, err := source.open()
			if err != nil {
				return err
			}
			cosigner, err := cosignerOf(cmd, key)
			if err != nil {
				return err
			}
			config.Poll, config.SigningKey, config.Again = source.poll, source.signingKey, ballotlog.Patience
			w, err := witness.Open(config, witness.Deps{Source: site, Cosigner: cosigner, Clock: time.Now})
			if err != nil {
				return explainWitness(err)
			}
			return errors.Join(watch(cmd, w, every), w.Close())
		},
	}
	source.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the witness's key (`file`, mode 0600); made if it is not there")
	f.StringVar(&config.State, "state", "", "the `directory` for what the witness remembers; made if it is not there")
	f.BoolVar(&once, "once", false, "look once; the default")
	f.DurationVar(&every, "every", 0, "look again and again, so far apart")
	cmd.AddCommand(newWitnessKeygenCommand())
	return cmd
}

// watch looks at the log, once or until the context ends.
func watch(cmd *cobra.Command, w *witness.Witness, every time.Duration) error {
	ctx := cmd.Context()
	for {
		cosigned, err := w.Check(ctx)
		if alarm, ok := errors.AsType[*witness.Alarm](err); ok {
			return scream(cmd, alarm, err)
		}
		switch {
		case err == nil:
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", cosigned.Signed); err != nil {
				return err
			}
		case every == 0:
			return explainWitness(err)
		case !stopped(ctx):
			fmt.Fprintf(cmd.ErrOrStderr(), "popvote: not cosigned, trying again in %s: %v\n", every, err)
		}
		if every == 0 {
			return nil
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// scream says what nobody shall overlook.
func scream(cmd *cobra.Command, alarm *witness.Alarm, err error) error {
	rule := strings.Repeat("!", 78)
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nTHE BALLOT LOG IS NOT WHAT IT WAS. Nothing was cosigned.\n\n  %v\n\n", rule, alarm.Cause)
	if alarm.Evidence != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "The evidence is in %s.\nKeep it, make copies, and publish it.\n", alarm.Evidence)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), rule)
	return exit.With(exit.Forked, err)
}

func explainWitness(err error) error {
	switch {
	case errors.Is(err, witness.ErrInUse):
		return exit.With(exit.InUse, err)
	case errors.Is(err, witness.ErrState):
		return exit.With(exit.BadData, err)
	default:
		return explainLog(err)
	}
}

// cosignerOf reads the witness's key, or makes one at the first start.
func cosignerOf(cmd *cobra.Command, path string) (*ballotlog.Cosigner, error) {
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		c, err := makeKey(path, "")
		if err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "popvote: a new key was made; announce its public half:\n%s\n", c.VerifierKey())
		}
		return c, err
	}
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read the key: %w", err)
	}
	c, err := ballotlog.ParseCosigner(string(text), time.Now)
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read %s: %w", path, err)
	}
	return c, nil
}

// makeKey writes a new key, never over another file. Without a name it gets one that nobody else has.
func makeKey(path, name string) (*ballotlog.Cosigner, error) {
	if name == "" {
		name = "popvote-witness/" + strings.ToLower(rand.Text()[:8])
	}
	c, err := ballotlog.NewCosigner(name, time.Now)
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names the file
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't write the key: %w", err)
	}
	_, err = fmt.Fprintln(file, c.PrivateKey())
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't write the key: %w", errors.Join(err, os.Remove(path)))
	}
	return c, nil
}

func newWitnessKeygenCommand() *cobra.Command {
	var key, name string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a witness's key, and print its public half",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("key", key); err != nil {
				return err
			}
			c, err := makeKey(key, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), c.VerifierKey())
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the `file` for the key (mode 0600); it must not be there")
	cmd.Flags().StringVar(&name, "name", "", "the witness's name, best a domain of its own with a path, such as witness.example.org/1; the default is a random one")
	return cmd
}
