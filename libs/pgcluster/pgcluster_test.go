//go:build linux

package pgcluster

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func sql(t *testing.T, n *Node, statements string) string {
	t.Helper()
	out, err := n.SQL("postgres", statements)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSynchronousPair: a commit waits while the synchronous standby is frozen, and what was committed is
// on the standby when it is promoted after the primary's sudden end.
func TestSynchronousPair(t *testing.T) {
	c := Start(t, Options{Standbys: 1, Sync: true, Settings: map[string]string{"work_mem": "5MB"}})
	primary, standby := c.Primary(), c.Standbys()[0]
	if got := sql(t, primary, "SHOW work_mem") + sql(t, standby, "SHOW fsync"); got != "5MBon" {
		t.Fatalf("the settings are %s", got)
	}
	sql(t, primary, "CREATE TABLE box (ballot int)")

	ok(t, standby.Pause())
	committed := make(chan error, 1)
	go func() {
		_, err := primary.SQL("postgres", "INSERT INTO box VALUES (1)")
		committed <- err
	}()
	select {
	case err := <-committed:
		t.Fatalf("the commit did not wait for the frozen standby: %v", err)
	case <-time.After(time.Second):
	}
	ok(t, standby.Resume())
	select {
	case err := <-committed:
		ok(t, err)
	case <-time.After(patience):
		t.Fatal("the standby goes on, and the commit still waits")
	}

	ok(t, primary.Kill9())
	ok(t, standby.Promote())
	if got := sql(t, standby, "INSERT INTO box VALUES (2); SELECT count(*) FROM box"); got != "2" {
		t.Errorf("the promoted standby has %s rows", got)
	}
	ok(t, primary.Start())
	if got := sql(t, primary, "SELECT count(*) FROM box"); got != "1" {
		t.Errorf("the old primary came back with %s rows", got)
	}
	ok(t, primary.Stop())
}

// TestNothingIsLeft: neither a process nor a file.
func TestNothingIsLeft(t *testing.T) {
	c, err := New(Options{})
	ok(t, err)
	pids := append(c.primary.children(), c.primary.cmd.Process.Pid)
	if len(pids) < 4 {
		t.Fatalf("the server has only processes %v", pids)
	}
	ok(t, c.primary.Pause())
	ok(t, c.Close())
	if _, err := os.Stat(c.dir); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
	for _, pid := range pids {
		p, _ := os.FindProcess(pid)
		for tries := 0; ; tries++ {
			if err := p.Signal(syscall.Signal(0)); err != nil {
				break
			}
			if tries == 100 {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
