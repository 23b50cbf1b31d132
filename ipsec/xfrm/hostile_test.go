package xfrm

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
)

// third is a host that is not there: a has an SA towards it, and its endpoint is another's than b's.
func third(a *host) ipsec.Peer {
	o := sa(0x7001, ipsec.AES256GCM)
	return ipsec.Peer{Name: "c0000000-host", Remote: netip.MustParseAddrPort("192.0.2.3:4500"), Encap: ipsec.EncapUDP,
		Router:   netip.MustParseAddr("100.127.0.3"),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.42.3.9/32"), netip.MustParsePrefix("100.127.0.3/32")},
		In:       []ipsec.SA{sa(0x7000, ipsec.AES256GCM)}, Out: &o}
}

func TestKernelPeerCannotSpeakForAnother(t *testing.T) {
	for _, encap := range []ipsec.Encap{ipsec.EncapUDP, ipsec.EncapESP} {
		t.Run(string(encap), func(t *testing.T) {
			a, b := newHosts(t)
			p := pair{encap, ipsec.AES256GCM}
			b.set(b.config(a, p, 0x1001, 0x1000))
			c := a.config(b, p, 0x1000, 0x1001)
			c.Peers = append(c.Peers, third(a))
			a.set(c)
			// b's router itself speaks with an address of c's.
			b.must(b.router.Do(func() error { ip(t, "addr add 10.42.3.9/32 dev lo"); return nil }))
			container := listen(t, a, a.cell, "eth0")
			if n := a.ping(b, 3, "0.01"); n != 3 {
				t.Fatalf("%d of 3 pings answered", n)
			}
			eventually(t, "b's answers in the container", func() bool { return container.from(b.container) == 3 })
			out := b.inRouter(fmt.Sprintf("ping -n -q -i 0.01 -c 10 -W 1 -I 10.42.3.9 %s", a.container))
			if n := container.from(netip.MustParseAddr("10.42.3.9")); answers(t, out) != 0 || n != 0 {
				t.Errorf("b spoke for c, %d frames in the container: %s", n, out)
			}
			if n := a.inventory().counters[stateKey{a.addr.Addr(), 0x1000}].Packets; n != 13 {
				t.Errorf("%d packets were opened, not 3 and 10", n)
			}
		})
	}
}

func TestKernelReplayIsNotDelivered(t *testing.T) {
	for _, encap := range []ipsec.Encap{ipsec.EncapUDP, ipsec.EncapESP} {
		t.Run(string(encap), func(t *testing.T) { replay(t, pair{encap, ipsec.AES256GCM}) })
	}
}

func replay(t *testing.T, p pair) {
	a, b := newHosts(t)
	join(a, b, p, 0x1000)
	underlay := listen(t, b, b.ns, "ul0")
	container := listen(t, a, a.cell, "eth0")
	if n := a.ping(b, 3, "0.01"); n != 3 {
		t.Fatalf("%d of 3 pings answered", n)
	}
	eventually(t, "a frame on the underlay", func() bool { return underlay.sealed.Load() >= 6 })
	eventually(t, "b's answers in the container", func() bool { return container.from(b.container) == 3 })
	// The last frame goes from b to a: a gets it once more.
	opened := a.inventory().counters[stateKey{a.addr.Addr(), 0x1000}]
	underlay.mu.Lock()
	frame := underlay.last
	underlay.mu.Unlock()
	b.must(b.inside(b.ns, func() error { return inject("ul0", frame) }))
	eventually(t, "the replay's count", func() bool {
		return a.inventory().counters[stateKey{a.addr.Addr(), 0x1000}].Replay == opened.Replay+1
	})
	if n := container.from(b.container); n != 3 {
		t.Errorf("%d packets more in the container", n-3)
	}
	s, err := a.plane.Stats()
	a.must(err)
	if s.Peers[0].Drops["replay"] != 1 {
		t.Errorf("drops: %v", s.Peers[0].Drops)
	}
}

// From the underlay, in the clear, for a container and from a container's address.
func TestKernelInjectedPacketIsNotDelivered(t *testing.T) {
	a, b := newHosts(t)
	join(a, b, usual, 0x1000)
	container := listen(t, b, b.cell, "eth0")
	b.must(b.inside(b.ns, func() error {
		for name, v := range map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/ul0/rp_filter": "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(v), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	ip(t, fmt.Sprintf("-n %s addr add %s/32 dev lo", a.ns, a.container))
	ip(t, fmt.Sprintf("-n %s route add %s via %s", a.ns, b.container, b.addr.Addr()))
	underlay := listen(t, b, b.ns, "ul0")
	out, _ := a.exec(a.ns, fmt.Sprintf("ping -n -q -i 0.01 -c 5 -W 1 -I %s %s", a.container, b.container))
	if answers(t, out) != 0 || container.from(a.container) != 0 {
		t.Errorf("delivered: %s", out)
	}
	if underlay.from(a.container) != 5 {
		t.Error("the packets did not arrive at the host, so this proves nothing")
	}
}

// inRouter runs a command in the router.
func (h *host) inRouter(command string) string {
	var out []byte
	h.must(h.router.Do(func() error {
		words := strings.Fields(command)
		out, _ = exec.Command(words[0], words[1:]...).CombinedOutput()
		return nil
	}))
	return string(out)
}

// inject sends a frame as it is out of a link of the thread's namespace.
func inject(dev string, frame []byte) error {
	l, err := net.InterfaceByName(dev)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Index, Halen: 6})
}
