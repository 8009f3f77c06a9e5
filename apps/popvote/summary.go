package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	panelserver "github.com/popvote/popvote/apps/control-panel/server"
)

// started is what an instance says once it serves; as JSON it is one line, for programs that wait
// for it.
type started struct {
	Voters    string   `json:"voters"`
	Panel     string   `json:"panel"`
	PanelLink string   `json:"panel_login_link"`
	Phone     string   `json:"phone"`
	Admin     string   `json:"admin"`
	Data      string   `json:"data"`
	Shares    []string `json:"shares"`
	PID       int      `json:"pid"`
}

func (n *node) summary(ctx context.Context, w io.Writer, out output) error {
	s := started{
		Voters:    "http://" + n.listeners.public.Addr().String(),
		Panel:     "http://" + n.listeners.panel.Addr().String(),
		PanelLink: n.panel.LoginLink(),
		Phone:     "http://" + n.listeners.phone.Addr().String(),
		Admin:     "http://" + n.listeners.admin.Addr().String(),
		Data:      n.config.Data,
		PID:       os.Getpid(),
	}
	s.Shares, _ = filepath.Glob(filepath.Join(n.config.Data, sharesDir, "*")) // the pattern is well-formed
	if out.json() {
		return writeLine(w, s)
	}
	polls, err := n.box.AllPolls(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nPopVote is up.\n\n")
	t := newTable(w)
	t.row("  Vote", s.Voters)
	t.row("  Simulated phone", s.Phone)
	t.row("  Control panel", s.PanelLink)
	if panelserver.LogsIn(s.PanelLink) {
		t.row("", "(this link works once)")
	} else {
		t.row("", "(sign in with a passkey)")
	}
	t.row("  Probes, metrics", s.Admin)
	t.row("  Data", s.Data)
	for i, dir := range s.Shares {
		name := ""
		if i == 0 {
			name = "  Tally key shares"
		}
		t.row(name, dir)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(polls) == 0 {
		fmt.Fprintf(w, "\nThere is no poll yet: popvote poll apply FILE, or start with --seed-demo.\n")
	} else {
		fmt.Fprintln(w)
		printPolls(w, polls)
	}
	_, err = fmt.Fprintf(w, "\nCtrl-C stops it. A second start on the same data continues.\n\n")
	return err
}
