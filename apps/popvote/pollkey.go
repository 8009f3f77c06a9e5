package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

func newPollDestroyKeyCommand(f *pollFlags) *cobra.Command {
	var confirm string
	cmd := &cobra.Command{
		Use:   "destroy-key POLL",
		Short: "Destroy a poll's identity key, once its audit window has ended",
		Long: `Destroy the keys that the poll's voter and phone tags were made with.

Afterwards nobody can find out from the database who voted, and no complaint about that can be
looked into any more. It is refused before the audit window that the poll promised has ended. A
signed certificate goes into the audit chain and into the public bundle.

It cannot be undone, so it asks for the poll's id, typed or with --confirm, and for a reason.`,
		Example: `  popvote poll destroy-key hk-2014-06 --reason "the audit window is over"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.reason == "" {
				return exit.Errorf(exit.Usage, "say why with --reason")
			}
			if err := confirmID(cmd, args[0], confirm); err != nil {
				return err
			}
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				if err := a.DestroyIdentityKey(cmd.Context(), args[0], f.change("")); err != nil {
					return err
				}
				return f.done(cmd, a, args[0], "has no identity key any more; popvote poll key-proof "+args[0]+" shows what can be proved")
			})
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "the `poll` again, where nobody can be asked")
	return cmd
}

// confirmID asks for the poll's id again.
func confirmID(cmd *cobra.Command, id, given string) error {
	if given == "" && isTerminal(os.Stdin) {
		fmt.Fprintf(cmd.ErrOrStderr(), "This cannot be undone. Type the poll's id to go on: ")
		_, _ = fmt.Fscanln(cmd.InOrStdin(), &given)
	}
	if given != id {
		return exit.Errorf(exit.Refused, "nothing was changed: to confirm, give the poll's id again with --confirm %s", id)
	}
	return nil
}

// proof is what can be shown of a destroyed key.
type proof struct {
	Poll        string                 `json:"poll"`
	OK          bool                   `json:"ok"`
	Certificate *ballotapi.Certificate `json:"certificate,omitempty"`
	Steps       []proofStep            `json:"steps"`
}

type proofStep struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

func (p *proof) step(what string, err error) {
	s := proofStep{What: what, OK: err == nil}
	if err != nil {
		s.Detail = err.Error()
		p.OK = false
	}
	p.Steps = append(p.Steps, s)
}

// notProved is what no program can show.
const notProved = `Not proved, because nobody can: that no copy was kept elsewhere (a backup, a disk's spare blocks, the
memory of a program that was not restarted since), and that this is the ring the tags were made with.`

func newPollKeyProofCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "key-proof POLL",
		Short: "Show that a poll's identity key is destroyed, and what that proves",
		Long: fmt.Sprintf(`Check the certificate that a poll's identity key was destroyed, and that the key ring in the data
directory does not hold it, under its own name or another: the tags that are stored cannot be made
again from anything that is here.

%s

Exit code: %d if it is not shown.`, notProved, exit.Unproven),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				p, err := prove(cmd, a, args[0], filepath.Join(f.data, "keys.json"))
				if err != nil {
					return err
				}
				if f.output.json() {
					err = writeJSON(cmd.OutOrStdout(), p)
				} else {
					err = p.write(cmd.OutOrStdout())
				}
				if err == nil && !p.OK {
					err = exit.Errorf(exit.Unproven, "it is not shown that the identity key of %s is destroyed", args[0])
				}
				return err
			})
		},
	}
}

func prove(cmd *cobra.Command, a ballotapi.Admin, id, keys string) (*proof, error) {
	var m poll.Manifest
	d, err := a.Manifest(cmd.Context(), id)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(d.Plain, &m); err != nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	chain, err := a.Audit(cmd.Context(), id)
	if err != nil {
		return nil, err
	}
	ring, err := keyring.Inspect(keys)
	if err != nil {
		return nil, exit.With(exit.BadData, err)
	}

	p := &proof{Poll: id, OK: true}
	p.step("the audit chain is whole", ballotapi.VerifyAudit(id, chain))
	document, err := ballotapi.FindCertificate(chain)
	if err == nil && document == nil {
		err = errors.New("there is none: the key was not destroyed, or not to the end")
	}
	if err == nil {
		p.Certificate, err = ballotapi.OpenCertificate(*document, id, m.SigningKey)
	}
	p.step("a certificate in it is signed by the poll's key", err)
	if p.Certificate == nil {
		return p, nil
	}
	for _, k := range p.Certificate.Keys {
		p.step("the key ring holds a tombstone of "+k.Purpose+", and no such key", tombstone(ring, id, k))
		var hidden error
		if ring.Matches(keyring.Purpose(k.Purpose), id, k.Fingerprint) {
			hidden = errors.New("one of them is the destroyed key")
		}
		p.step("none of the ring's other secrets is the key of "+k.Purpose, hidden)
	}
	return p, nil
}

// tombstone compares what the ring remembers of a key with what the certificate says.
func tombstone(ring *keyring.Inventory, id string, k ballotapi.DestroyedKey) error {
	name := k.Purpose + "/" + id
	stone, ok := ring.Destroyed[name]
	switch {
	case !ok:
		return fmt.Errorf("the ring knows nothing of a destroyed %s", name)
	case string(stone.Fingerprint) != string(k.Fingerprint):
		return errors.New("its fingerprint is another than the certificate's")
	}
	return nil
}

func (p *proof) write(w io.Writer) error {
	t := newTable(w)
	for _, s := range p.Steps {
		t.row(map[bool]string{true: "ok", false: "FAILED"}[s.OK], s.What, s.Detail)
	}
	if err := t.flush(); err != nil || !p.OK {
		return err
	}
	for _, k := range p.Certificate.Keys {
		fmt.Fprintf(w, "\n%s: destroyed %s\n  fingerprint %s", k.Purpose, moment(k.DestroyedAt), hex.EncodeToString(k.Fingerprint))
	}
	_, err := fmt.Fprintf(w, "\n\nThe tags that are stored cannot be made again from anything that is here.\n%s\n", notProved)
	return err
}

// destroyed says for `poll show` when the identity key was destroyed; empty while it is there.
func destroyed(chain []ballotapi.AuditEntry, id string, key poll.JWK) (string, *signed.Document, error) {
	document, err := ballotapi.FindCertificate(chain)
	if err != nil || document == nil {
		return "", nil, err
	}
	c, err := ballotapi.OpenCertificate(*document, id, key)
	if err != nil {
		return "", nil, err
	}
	return c.Keys[len(c.Keys)-1].DestroyedAt.Format(time.RFC3339), document, nil
}
