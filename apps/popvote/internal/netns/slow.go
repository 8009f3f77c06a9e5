//go:build linux

package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Delay is how a slow cable treats packets, in either direction.
type Delay struct {
	// Each packet is held for By, give or take Jitter; none overtakes another.
	By, Jitter time.Duration
	// Loss is the share of packets that are dropped, 0 to 1.
	Loss float64
}

// Slow is a cloud's cable made slow. This process holds the packets back itself, because not every kernel
// can (netem): when it ends, the cloud is cut off until Mend, Up or Down.
type Slow struct {
	network *Network
	i       int
	ends    [2]int // packet sockets: the cloud's, and the bridge's
	done    chan struct{}
	all     sync.WaitGroup
}

// Slow makes the cable of a cloud slow, until Mend.
func (n *Network) Slow(ctx context.Context, cloud Cloud, d Delay) (*Slow, error) {
	s := &Slow{network: n, i: slices.Index(n.All(), cloud), ends: [2]int{-1, -1}, done: make(chan struct{})}
	if s.i < 0 {
		return nil, fmt.Errorf("couldn't slow %s: it is no cloud of %s", cloud.Name, n.Name)
	}
	bridged, held := n.slow(s.i)
	var err error
	for _, args := range []string{
		"link add " + bridged + " type veth peer name " + held,
		// This machine must not answer in its own name what only passes by.
		"link set " + held + " arp off up",
		"link set " + n.veth(s.i) + " nomaster arp off up",
		"link set " + bridged + " master " + n.bridge() + " up",
	} {
		if err = ip(ctx, strings.Fields(args)...); err != nil {
			return nil, errors.Join(err, s.Mend(context.WithoutCancel(ctx)))
		}
	}
	for i, name := range []string{n.veth(s.i), held} {
		if s.ends[i], err = listen(name); err != nil {
			return nil, errors.Join(err, s.Mend(context.WithoutCancel(ctx)))
		}
	}
	for i := range s.ends {
		held := make(chan packet, 1<<12)
		s.all.Go(func() { s.take(s.ends[i], held, d) })
		s.all.Go(func() { s.give(s.ends[1-i], held) })
	}
	return s, nil
}

// Mend makes the cable as fast as it was. What is held back then is lost.
func (s *Slow) Mend(ctx context.Context) error {
	close(s.done)
	s.all.Wait()
	for _, end := range s.ends {
		if end >= 0 {
			_ = syscall.Close(end) // nothing is in it
		}
	}
	return s.network.plug(ctx, s.i)
}

// packet is one that is held until it is due.
type packet struct {
	data []byte
	due  time.Time
}

// Of packet(7); package syscall doesn't have them.
const (
	packetHeader  = 15 // PACKET_VNET_HDR: what is left to do to a packet (a checksum, cutting it) goes before it
	packetOnlyIn  = 23 // PACKET_IGNORE_OUTGOING: not what we send ourselves
	longestPacket = 1<<16 + 64
)

// listen opens a socket for all packets that come in by an interface.
func listen(name string) (file int, err error) {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("couldn't find the interface %s: %w", name, err)
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, syscall.ETH_P_ALL))
	file, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("couldn't open a packet socket: %w", err)
	}
	err = errors.Join(
		syscall.SetsockoptInt(file, syscall.SOL_PACKET, packetHeader, 1),
		syscall.SetsockoptInt(file, syscall.SOL_PACKET, packetOnlyIn, 1),
		syscall.SetsockoptInt(file, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 8<<20),
		// How soon a reader sees that it should end.
		syscall.SetsockoptTimeval(file, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100_000}),
		syscall.Bind(file, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: card.Index}),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("couldn't listen to %s: %w", name, err), syscall.Close(file))
	}
	return file, nil
}

// take reads packets at one end.
func (s *Slow) take(end int, held chan<- packet, d Delay) {
	defer close(held)
	buffer := make([]byte, longestPacket)
	for {
		select {
		case <-s.done:
			return
		default:
		}
		n, err := syscall.Read(end, buffer)
		if err != nil || n <= 0 || rand.Float64() < d.Loss {
			continue
		}
		late := d.By
		if d.Jitter > 0 {
			late += rand.N(2*d.Jitter) - d.Jitter
		}
		select {
		case held <- packet{slices.Clone(buffer[:n]), time.Now().Add(late)}:
		default: // as a router does whose queue is full
		}
	}
}

// give writes them at the other, when they are due.
func (s *Slow) give(end int, held <-chan packet) {
	for p := range held {
		select {
		case <-s.done:
			return
		case <-time.After(time.Until(p.due)):
		}
		_, _ = syscall.Write(end, p.data) // it is lost
	}
}
