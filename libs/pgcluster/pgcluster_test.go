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

// TestFailover: of two standbys the one that has a commit is promoted, whichever it is, and not the one
// that was cut off before. The other follows it, and its commits wait for that one. The old primary, come
// back, can't commit any more.
func TestFailover(t *testing.T) {
	for _, late := range []int{0, 1} {
		c := Start(t, Options{Standbys: 2, Sync: true})
		old, behind, ahead := c.Primary(), c.Standbys()[late], c.Standbys()[1-late]
		sql(t, old, "CREATE TABLE box (ballot int)")
		ok(t, behind.Follow(nil))
		sql(t, old, "INSERT INTO box VALUES (1)")
		ok(t, old.Pause())
		leader, err := c.Failover()
		ok(t, err)
		if leader != ahead {
			t.Fatalf("%s was promoted, and %s has more", leader.Name(), ahead.Name())
		}
		if got := sql(t, leader, "INSERT INTO box VALUES (2); SELECT count(*) FROM box"); got != "2" {
			t.Errorf("the new primary has %s rows", got)
		}
		ok(t, behind.until("2", "SELECT count(*) FROM box"))
		if got := sql(t, leader, "SHOW synchronous_standby_names"); got != anyOne {
			t.Errorf("the new primary waits for %q", got)
		}

		ok(t, old.Resume())
		committed := make(chan error, 1)
		go func() {
			_, err := old.SQL("postgres", "INSERT INTO box VALUES (3)")
			committed <- err
		}()
		select {
		case err := <-committed:
			t.Errorf("the old primary committed: %v", err)
		case <-time.After(time.Second):
		}
		ok(t, old.Kill9())
		if err := <-committed; err == nil {
			t.Error("the old primary acknowledged as it died")
		}

		// Once more: now nobody is left to wait for.
		ok(t, leader.Kill9())
		again, err := c.Failover()
		ok(t, err)
		if got := sql(t, again, "SELECT count(*) FROM box"); again != behind || got != "2" {
			t.Errorf("after a second failover %s has %s rows", again.Name(), got)
		}
	}
}
