package xfrm

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// wire watches a link of a namespace.
type wire struct {
	sealed, leaked atomic.Int64           // ESP, and what leaves the namespace in the clear
	what           atomic.Pointer[string] // the first that was leaked
	mu             sync.Mutex
	last           []byte             // frame with ESP
	sources        map[netip.Addr]int // of packets in the clear
	fd             int
}

// listen starts watching until the test ends.
func listen(t testing.TB, h *host, ns, dev string) *wire {
	t.Helper()
	w := &wire{fd: -1, sources: map[netip.Addr]int{}}
	h.must(h.inside(ns, func() (err error) {
		l, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		tv := unix.Timeval{Usec: 50_000}
		if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Index})
	}))
	var done sync.WaitGroup
	var stop atomic.Bool
	done.Go(func() {
		buf := make([]byte, 1<<16)
		for !stop.Load() {
			if n, from, err := unix.Recvfrom(w.fd, buf, 0); err == nil {
				w.frame(buf[:n], from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING)
			}
		}
	})
	t.Cleanup(func() {
		stop.Store(true)
		done.Wait()
		_ = unix.Close(w.fd)
	})
	return w
}

// frame judges an Ethernet frame: ARP, ESP and ESP in UDP may be on an underlay.
func (w *wire) frame(b []byte, leaves bool) {
	if len(b) < 14 || binary.BigEndian.Uint16(b[12:]) != unix.ETH_P_IP {
		return // ARP, and IPv6 neighbour discovery of the underlay's links
	}
	p := b[14:]
	proto, head := p[9], int(p[0]&15)*4
	switch {
	case proto == unix.IPPROTO_ESP,
		proto == unix.IPPROTO_UDP && binary.BigEndian.Uint16(p[head+2:]) == 4500:
		w.sealed.Add(1)
		w.mu.Lock()
		w.last = append([]byte(nil), b...)
		w.mu.Unlock()
	default:
		w.mu.Lock()
		w.sources[netip.AddrFrom4([4]byte(p[12:16]))]++
		w.mu.Unlock()
		if !leaves { // also what the kernel has just opened and can't give to any device: it shows up, and is dropped
			return
		}
		what := fmt.Sprintf("%d.%d.%d.%d > %d.%d.%d.%d protocol %d", p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], proto)
		w.what.CompareAndSwap(nil, &what)
		w.leaked.Add(1)
	}
}

// from counts what has come from an address in the clear.
func (w *wire) from(a netip.Addr) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sources[a]
}

// dry fails the test if anything has left over the link in the clear.
func (w *wire) dry(t testing.TB) {
	t.Helper()
	if n := w.leaked.Load(); n > 0 {
		t.Errorf("%d packets in the clear, the first: %s", n, *w.what.Load())
	}
}
