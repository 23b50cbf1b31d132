package link

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func isARP(f []byte, op uint16) bool {
	return len(f) >= 42 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && binary.BigEndian.Uint16(f[20:]) == op
}

// arpAnswer asks for an address from inside a container; nil: no answer.
func (w *world) arpAnswer(ns netns.NsHandle, own, target netip.Addr, wait time.Duration) (answer net.HardwareAddr, took time.Duration) {
	w.t.Helper()
	fd := w.packetSocket(ns, "eth0")
	l := must(w.handle(ns).LinkByName("eth0"))(w.t)
	request := gratuitous(arpRequest, l.Attrs().HardwareAddr, own, l.Attrs().HardwareAddr)
	copy(request[38:], target.AsSlice())
	start := time.Now()
	ok(w.t, unix.Sendto(fd, request, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: 6}))
	frame(w.t, fd, wait, func(f []byte) bool {
		if !isARP(f, arpReply) || !bytes.Equal(f[28:32], target.AsSlice()) {
			return false
		}
		answer, took = bytes.Clone(f[22:28]), time.Since(start)
		return true
	})
	return answer, took
}

func TestProxyARPForExactlyTheRoutedAddresses(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	w.tunnel()
	own, local := addr("10.42.64.2"), addr("10.42.64.3")
	c := w.container("aa", b, own)
	w.container("bb", b, local)
	ok(t, w.r.SetRoutes([]Route{{Dst: netip.MustParsePrefix("10.42.128.2/32"), Dev: TunName, Src: addr("100.127.0.1")}}))

	// The first frames of a port may be lost while the bridge takes it up.
	eventually(t, "the gateway answers", func() bool {
		got, _ := w.arpAnswer(c, own, b.Gateway, silence)
		return bytes.Equal(got, b.MAC)
	})
	got, took := w.arpAnswer(c, own, addr("10.42.128.2"), patience)
	if !bytes.Equal(got, b.MAC) {
		t.Errorf("remote address: answer %s, want the bridge's", got)
	}
	t.Logf("proxy ARP answered in %s", took)
	// Unless proxy_delay is 0 the kernel waits at random, up to 0.8 s: eight fast answers are no chance.
	for range 8 {
		if _, took := w.arpAnswer(c, own, addr("10.42.128.2"), patience); took > 80*time.Millisecond {
			t.Logf("slow answer: %s", took)
		}
	}
	if got, _ := w.arpAnswer(c, own, local, patience); !bytes.Equal(got, MACOf(local)) {
		t.Errorf("local address: answer %s, want the container's", got)
	}
	for _, nobody := range []string{"10.42.128.3", "10.42.64.9", "100.127.0.1", "10.43.0.1"} {
		if got, _ := w.arpAnswer(c, own, addr(nobody), silence); got != nil {
			t.Errorf("%s, which nobody has: answer %s", nobody, got)
		}
	}
	ok(t, w.r.SetRoutes(nil))
	if got, _ := w.arpAnswer(c, own, addr("10.42.128.2"), silence); got != nil {
		t.Errorf("answer %s after the route is gone", got)
	}
}

// neighbour is what a namespace has learned of an address.
func (w *world) neighbour(ns netns.NsHandle, link string, a netip.Addr) net.HardwareAddr {
	w.t.Helper()
	h := w.handle(ns)
	l := must(h.LinkByName(link))(w.t)
	for _, n := range must(h.NeighList(l.Attrs().Index, unix.AF_INET))(w.t) {
		if n.IP.Equal(a.AsSlice()) {
			return n.HardwareAddr
		}
	}
	return nil
}

func TestAnnounce(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	c := w.container("aa", b, addr("10.42.64.2"))
	moved, old := addr("10.42.64.3"), mac("02:00:00:00:00:07")
	stale := func(h *netlink.Handle, link string) {
		l := must(h.LinkByName(link))(t)
		ok(t, h.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: unix.AF_INET, IP: moved.AsSlice(), HardwareAddr: old, State: netlink.NUD_STALE}))
	}
	stale(w.handle(c), "eth0")
	stale(w.r.nl, b.Name)
	// The first frames of a port may be lost while the bridge takes it up.
	eventually(t, "the container learns the new address", func() bool {
		ok(t, w.r.Announce(b.Name, moved, b.MAC))
		return bytes.Equal(w.neighbour(c, "eth0", moved), b.MAC)
	})
	if got := w.neighbour(w.r.ns, b.Name, moved); bytes.Equal(got, old) {
		t.Errorf("the router still has %s", got)
	}
	if w.r.Announce("br-none", moved, old) == nil || w.r.Announce(b.Name, addr("2001:db8::1"), old) == nil {
		t.Error("no error")
	}
}
