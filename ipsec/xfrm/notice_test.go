package xfrm

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// hear gives what the kernel of a host tells until the test ends.
func (h *host) hear() <-chan notice {
	k := h.plane.(*Plane).kernel
	told := make(chan notice, 1024)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.notices(ctx, func(n notice) { told <- n }) }()
	h.t.Cleanup(func() { stop(); h.must(<-ended) })
	return told
}

// lives gives the SAs of a host another lifetime.
func (h *host) lives(l lifetime) {
	p := h.plane.(*Plane)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = l
}

// The kernel says itself when an SA has carried enough, at both ends, and ends it at its hard limit.
func TestKernelTellsOfLimits(t *testing.T) {
	for name, life := range map[string]lifetime{
		"packets": {SoftPackets: 20, HardPackets: 60},
		"bytes":   {SoftBytes: 20 * 84, HardPackets: 60},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newHosts(t)
			a.lives(life)
			b.lives(life)
			toldA, toldB := a.hear(), b.hear()
			join(a, b, usual, 0x1000)
			there, back := stateKey{b.addr.Addr(), 0x1001}, stateKey{a.addr.Addr(), 0x1000}
			if n := a.ping(b, 15, "0.01"); n != 15 {
				t.Fatalf("%d of 15 pings answered", n)
			}
			if len(toldA)+len(toldB) > 0 {
				t.Error("told too early")
			}
			if n := a.ping(b, 10, "0.01"); n != 10 {
				t.Errorf("%d of 10 pings answered after the soft limit", n)
			}
			for host, told := range map[*host]<-chan notice{a: toldA, b: toldB} {
				await(t, told, there, softLimit)
				await(t, told, back, softLimit)
				hears(t, host, ipsec.SPISoftLimit, 0x1001)
			}
			if n := a.ping(b, 60, "0.01"); n >= 60 {
				t.Error("all answered, beyond the hard limit")
			}
			await(t, toldA, there, hardLimit)
			hears(t, a, ipsec.SPILimit, 0x1001)
			if n := a.inventory().counters[there].Packets; n != 0 {
				t.Errorf("the SA is there, with %d packets", n)
			}
		})
	}
}

// await waits until the kernel has told something of an SA.
func await(t *testing.T, told <-chan notice, k stateKey, what occurrence) {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case n := <-told:
			if n.key == k && n.what == what {
				return
			}
		case <-end:
			t.Fatalf("the kernel did not tell %d of %v", what, k)
		}
	}
}

// hears waits for an event.
func hears(t *testing.T, h *host, kind ipsec.EventKind, spi ipsec.SPI) {
	t.Helper()
	eventually(t, fmt.Sprintf("event %d of %s at %s", kind, spi, h.name), func() bool {
		select {
		case e := <-h.plane.Events():
			return e.Kind == kind && e.SPI == spi
		default:
			return false
		}
	})
}

// A flow that goes on for many lifetimes of an SA loses nothing.
func TestKernelRekeysByPacketsLoseNothing(t *testing.T) {
	a, b := newHosts(t)
	life := lifetime{SoftPackets: 150, HardPackets: 1000}
	a.lives(life)
	b.lives(life)
	k := key(a, b, usual, 0x1000)
	f := a.begin(b, 1500, "0.004")
	sent, received := f.finish(t, false)
	lost(t, sent, received, a, b)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.soft < 5 {
		t.Errorf("%d rekeys", k.soft)
	}
}

// A NAT between the hosts begins to send from another address and port. The first packet of the peer tells where it is.
func TestKernelPeerBehindNATMoves(t *testing.T) {
	a, b := newHosts(t)
	key(a, b, usual, 0x1000)
	if n := a.ping(b, 3, "0.01"); n != 3 {
		t.Fatalf("%d of 3 pings answered", n)
	}
	f := a.begin(b, 0, "0.05")
	for i, seen := range []string{"192.0.2.101:1027", "192.0.2.102:1028", "192.0.2.102:1029"} {
		at := netip.MustParseAddrPort(seen)
		if i < 2 {
			ip(t, fmt.Sprintf("-n %s addr add %s/24 dev ul0", a.ns, at.Addr()))
		}
		a.nat(at)
		eventually(t, "b sends to "+seen, func() bool {
			for k, s := range b.inventory().States {
				if k.Dst == at.Addr() && s.DstPort == at.Port() {
					return true
				}
			}
			return false
		})
		within(t, repairWithin, "answers again", func() bool { return a.ping(b, 1, "1") == 1 })
	}
	f.finish(t, true)
}

// nat has what a host sends to other hosts come from elsewhere, and lets in nothing that is sent to itself. A socket that
// is known already is translated anew.
func (h *host) nat(at netip.AddrPort) {
	h.t.Helper()
	rules := fmt.Sprintf(`table ip mst
delete table ip mst
table ip mst {
	chain out { type nat hook postrouting priority 100
		udp sport 4500 snat to %s
	}
	chain in { type filter hook prerouting priority -300
		ip daddr %s udp dport 4500 drop
	}
}`, at, h.addr.Addr())
	h.must(h.inside(h.ns, func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return exec.Command("conntrack", "-F").Run()
	}))
}
