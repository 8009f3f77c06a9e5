//go:build linux

package netns

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the server that tests run in clouds, and the program that dies while it makes one.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("NETNS_SERVE") != "":
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv("NETNS_SERVE"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n, err := strconv.Atoi(r.FormValue("bytes")); err == nil {
				w.Write(make([]byte, n))
				return
			}
			io.WriteString(w, "here")
		})))
		os.Exit(1)
	case os.Getenv("NETNS_CRASH") != "":
		n := network(os.Getenv("NETNS_CRASH"))
		if err := n.Up(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		c := n.Cloud(0)
		if err := c.Start(c.Command("sleep", "1000")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("made")
		time.Sleep(time.Minute) // it is killed before
	}
	os.Exit(m.Run())
}

// network is one of a test's own: its name has the test's process in it, and so have its addresses.
func network(name string) *Network {
	var id int
	fmt.Sscanf(name, "popvote-%x", &id)
	return &Network{
		Name: name, Owner: "a test", Clouds: []string{"here", "there"},
		Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 204 + byte(id>>8&7), byte(id), 0}), 24),
	}
}

func up(t *testing.T) *Network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	n := network(fmt.Sprintf("popvote-%x", os.Getpid()&0x7ff))
	t.Cleanup(func() {
		if err := n.Down(context.Background()); err != nil {
			t.Error(err)
		}
		gone(t, n)
	})
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// gone wants nothing left of a network.
func gone(t *testing.T, n *Network) {
	t.Helper()
	for _, pattern := range []string{"/sys/class/net/" + n.Name + "-*", named + "/" + n.Name + "-*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left behind: %s", left)
		}
	}
}

// serve runs a server in a cloud until the test ends.
func serve(t *testing.T, c Cloud) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := c.Command(self)
	cmd.Env = append(os.Environ(), "NETNS_SERVE="+c.Addr.String()+":80")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(cmd); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
	await(t, c.Name+" to serve", func() bool { return reached(t, c.Addr) })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 300 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// reached asks a server from this machine, outside the clouds.
func reached(t *testing.T, a netip.Addr) bool {
	client := &http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + a.String())
	if err != nil {
		return false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return err == nil && string(body) == "here"
}

// pings is whether a cloud gets an answer from another's server.
func pings(t *testing.T, from, to Cloud) bool {
	t.Helper()
	script := fmt.Sprintf(`exec 3<>/dev/tcp/%s/80 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q here <&3`, to.Addr)
	cmd := from.Command("timeout", "0.5", "bash", "-c", script)
	return cmd.Run() == nil
}

// Two clouds reach each other and this machine reaches both; a cut loses what it says, and no more.
func TestCut(t *testing.T) {
	n := up(t)
	here, there := n.Cloud(0), n.Cloud(1)
	serve(t, here)
	serve(t, there)
	check := func(what string, fromHere, fromThere bool) {
		t.Helper()
		if got := pings(t, here, there); got != fromHere {
			t.Errorf("%s: %s reaches %s: %t", what, here.Name, there.Name, got)
		}
		if got := pings(t, there, here); got != fromThere {
			t.Errorf("%s: %s reaches %s: %t", what, there.Name, here.Name, got)
		}
		if !reached(t, here.Addr) || !reached(t, there.Addr) {
			t.Errorf("%s: this machine doesn't reach both", what)
		}
	}
	check("whole", true, true)
	if err := here.Cut(t.Context(), Both, there.Addr); err != nil {
		t.Fatal(err)
	}
	check("cut", false, false)
	if err := here.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("healed", true, true)

	// One way: what leaves here is lost, what comes from there arrives.
	if err := here.Cut(t.Context(), Out, there.Addr); err != nil {
		t.Fatal(err)
	}
	before := received(t, here)
	there.Command("timeout", "0.3", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/80", here.Addr)).Run()
	if received(t, here) == before {
		t.Errorf("cut one way, %s gets nothing from %s either", here.Name, there.Name)
	}
	check("one way", false, false)
	if err := here.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("healed again", true, true)
}

// received counts the segments that a cloud's kernel was given.
func received(t *testing.T, c Cloud) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+c.path(), "cat", "/proc/net/snmp").Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Tcp:") {
			lines = append(lines, line)
		}
	}
	return strings.Fields(lines[1])[10] // InSegs
}

// A frozen cloud takes connections and answers nobody; killed, it refuses them.
func TestFreezeAndKill(t *testing.T) {
	n := up(t)
	c := n.Cloud(0)
	serve(t, c)
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	connection, err := net.DialTimeout("tcp", c.Addr.String()+":80", time.Second)
	if err != nil {
		t.Errorf("a frozen cloud's kernel takes no connection: %v", err)
	} else {
		connection.Close()
	}
	if reached(t, c.Addr) {
		t.Error("it answers though it is frozen")
	}
	if err := c.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "an answer after the thaw", func() bool { return reached(t, c.Addr) })
	// Frozen or not, it is killed.
	if err := c.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := c.Processes(); err != nil || len(left) > 0 {
		t.Errorf("%d processes are left: %v", len(left), err)
	}
	if _, err := net.DialTimeout("tcp", c.Addr.String()+":80", time.Second); err == nil {
		t.Error("a killed cloud takes connections")
	}
}

// Whoever made a network and died without a word: the next one finds it, can go on with it, and removes
// it with all that runs in it.
func TestCrash(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	name := fmt.Sprintf("popvote-%x", 0x800|os.Getpid()&0x7ff)
	n := network(name)
	defer gone(t, n)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "NETNS_CRASH="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	_, err = io.ReadFull(out, line)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if owner, there := n.Holder(); !there || owner != "a test" {
		t.Errorf("the network is not found again: %q, %t", owner, there)
	}
	inside, err := n.Cloud(0).Processes()
	if err != nil || len(inside) != 1 {
		t.Errorf("%d processes outlived it: %v", len(inside), err)
	}
	if err := n.Up(t.Context()); err != nil {
		t.Errorf("it can't be gone on with: %v", err)
	}
	other := *n
	other.Owner = "somebody else"
	if err := other.Up(t.Context()); err == nil {
		t.Error("somebody else may take it")
	}
	for range 2 { // the second time, there is nothing
		if err := n.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, pid := range inside {
		await(t, "the process to be gone", func() bool { return syscall.Kill(pid, 0) != nil })
	}
}
