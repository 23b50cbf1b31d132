package xfrm

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
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

// flow is a ping that goes on in the background.
type flow struct {
	cmd *exec.Cmd
	out strings.Builder
}

// begin starts a flow with an interval of so many seconds; 0 packets: until finish.
func (h *host) begin(other *host, packets int, interval string) *flow {
	h.t.Helper()
	args := []string{"netns", "exec", h.cell, "ping", "-n", "-q", "-W", "2", "-i", interval}
	if packets > 0 {
		args = append(args, "-c", fmt.Sprint(packets))
	}
	f := &flow{cmd: exec.Command("ip", append(args, other.container.String())...)}
	f.cmd.Stdout = &f.out
	h.must(f.cmd.Start())
	h.t.Cleanup(func() { _ = f.cmd.Process.Kill(); _ = f.cmd.Wait() })
	return f
}

// finish ends a flow, and tells how many were sent and how many answered.
func (f *flow) finish(t testing.TB, interrupt bool) (sent, received int) {
	t.Helper()
	if interrupt {
		_ = f.cmd.Process.Signal(unix.SIGINT)
	}
	_ = f.cmd.Wait()
	for line := range strings.Lines(f.out.String()) {
		if n, _ := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); n == 2 {
			return sent, received
		}
	}
	t.Fatalf("ping said: %s", f.out.String())
	return 0, 0
}

// keyer stands for the handshake between two hosts: when a plane says that an SA can't be used any more, both get new ones.
type keyer struct {
	a, b  *host
	pair  pair
	mu    sync.Mutex
	next  ipsec.SPI
	knows map[*host]ipsec.SPI // SAs below are unknown to the host
}

// key joins the hosts and looks after them until the test ends.
func key(a, b *host, p pair, base ipsec.SPI) *keyer {
	k := &keyer{a: a, b: b, pair: p, next: base, knows: map[*host]ipsec.SPI{a: base, b: base}}
	k.rekey()
	for _, h := range []*host{a, b} {
		k.follow(h)
	}
	return k
}

// follow takes care of the events of a host's present plane.
func (k *keyer) follow(h *host) {
	events := h.plane.Events()
	go func() {
		for e := range events {
			if e.Kind == ipsec.SPILimit && e.SPI >= k.current() {
				k.rekey()
			}
		}
	}()
}

// forget is what a host's restart does.
func (k *keyer) forget(h *host) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.knows[h] = k.next
}

func (k *keyer) current() ipsec.SPI {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next - 2
}

// rekey as the handshake does: the responder takes the new inbound SA, then the initiator both, then the responder turns to
// its outbound one; the SAs before stay for what is on its way.
func (k *keyer) rekey() {
	k.mu.Lock()
	defer k.mu.Unlock()
	base := k.next
	k.next += 2
	set := func(h, other *host, in, out, oldIn ipsec.SPI) {
		c := h.config(other, k.pair, in, out)
		if oldIn != in && oldIn >= k.knows[h] {
			c.Peers[0].In = append(c.Peers[0].In, sa(oldIn, k.pair.cipher))
		}
		if err := h.plane.Set(h.t.Context(), c); err != nil && h.t.Context().Err() == nil {
			h.t.Logf("host %s: %v", h.name, err)
		}
	}
	before := base - 2
	use := before
	if before < k.knows[k.b] {
		use = base
	}
	set(k.b, k.a, base+1, use, before+1)
	set(k.a, k.b, base, base+1, before)
	set(k.b, k.a, base+1, base, before+1)
}
