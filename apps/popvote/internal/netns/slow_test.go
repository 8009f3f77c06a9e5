//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A slow cable holds back what goes over it and loses some of it, but carries whatever is sent, large
// transfers too; mended, it is as before. A connection outlives both.
func TestSlow(t *testing.T) {
	n := up(t)
	here := n.Cloud(0)
	serve(t, here)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	connections := 0
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connections++
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	ask := func() (took time.Duration) {
		t.Helper()
		begun := time.Now()
		res, err := client.Get("http://" + here.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "here" {
			t.Fatalf("%q, %v", body, err)
		}
		return time.Since(begun)
	}
	ask()
	slow, err := n.Slow(t.Context(), here, Delay{By: 80 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if took := ask(); took < 2*70*time.Millisecond {
			t.Errorf("an answer over a slow cable took %s", took)
		}
	}
	res, err := client.Get(fmt.Sprintf("http://%s/?bytes=%d", here.Addr, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.Copy(io.Discard, res.Body); err != nil || got != 4<<20 {
		t.Errorf("%d bytes came over the slow cable: %v", got, err)
	}
	if err := slow.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Somewhere in a second's answers is one that waited for nothing.
	await(t, "a fast answer", func() bool { return ask() < 70*time.Millisecond })
	if connections != 1 {
		t.Errorf("%d connections were needed", connections)
	}
}

// Whoever slowed a cable and died leaves a cloud that Up joins again.
func TestSlowAndDead(t *testing.T) {
	n := up(t)
	here := n.Cloud(0)
	serve(t, here)
	slow, err := n.Slow(t.Context(), here, Delay{By: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	close(slow.done) // as if the process were gone: nobody carries anything
	slow.all.Wait()
	for _, end := range slow.ends {
		syscall.Close(end)
	}
	if reached(t, here.Addr) {
		t.Error("packets pass by")
	}
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the cloud", func() bool { return reached(t, here.Addr) })
	if exec.Command("ip", "link", "show", n.Name+"-s1").Run() == nil {
		t.Error("the cable between is left")
	}
}

// A port that is refused is refused at once, to the cloud itself too, and nothing else is.
func TestRefuse(t *testing.T) {
	n := up(t)
	here, there := n.Cloud(0), n.Cloud(1)
	serve(t, here)
	serve(t, there)
	if err := here.Refuse(t.Context(), 80); err != nil {
		t.Fatal(err)
	}
	_, err := net.DialTimeout("tcp", here.Addr.String()+":80", 5*time.Second)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from this machine: %v", err)
	}
	for _, from := range n.All() {
		if pings(t, from, here) {
			t.Errorf("%s reaches it", from.Name)
		}
	}
	if !pings(t, here, there) {
		t.Error("it reaches nobody else either")
	}
	if err := here.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reached(t, here.Addr) {
		t.Error("it is refused still")
	}
}
