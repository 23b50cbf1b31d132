package xfrm

import (
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// A userspace host sends many datagrams of ESP at once, and the kernel host's link may join them on receipt: the kernel's
// ESP must get them one by one.
func TestKernelTCPWithReceiveOffload(t *testing.T) {
	a, b := unstarted(t, "a"), unstarted(t, "b")
	a.meet(b)
	b.userspace = true
	for _, h := range []*host{a, b} {
		if out, err := h.exec(h.ns, "ethtool -K ul0 gro on"); err != nil {
			t.Skipf("ethtool: %s", out)
		}
		h.start()
	}
	underlay := listen(t, a, a.ns, "ul0")
	join(a, b, usual, 0x1000)
	transfer(t, b, a)
	transfer(t, a, b)
	underlay.dry(t)
	s, err := a.plane.Stats()
	a.must(err)
	if len(s.Peers[0].Drops) > 0 {
		t.Errorf("drops: %v", s.Peers[0].Drops)
	}
}

func TestKernelRekeyLosesNothing(t *testing.T) {
	for _, encap := range []ipsec.Encap{ipsec.EncapUDP, ipsec.EncapESP} {
		t.Run(string(encap), func(t *testing.T) {
			a, b := newHosts(t)
			k := key(a, b, pair{encap, ipsec.AES256GCM}, 0x1000)
			if n := a.ping(b, 1, "1"); n != 1 {
				t.Fatal("no answer")
			}
			f := a.begin(b, 2500, "0.004") // 10 s
			for range 20 {
				k.rekey()
				// The flow goes on with the new pair before the next.
				eventually(t, "packets on the new SA", func() bool {
					c, err := b.plane.(*Plane).kernel.counters([]stateKey{{b.addr.Addr(), k.current() + 1}})
					return err == nil && c[stateKey{b.addr.Addr(), k.current() + 1}].Packets > 10
				})
			}
			sent, received := f.finish(t, false)
			lost(t, sent, received, a, b)
		})
	}
}

func TestKernelCountersAndConfirmation(t *testing.T) {
	a, b := newHosts(t)
	join(a, b, usual, 0x1000)
	if n := a.ping(b, 7, "0.01"); n != 7 {
		t.Fatalf("%d of 7 pings answered", n)
	}
	for h, spi := range map[*host]ipsec.SPI{a: 0x1000, b: 0x1001} {
		eventually(t, "confirmation", func() bool {
			select {
			case e := <-h.plane.Events():
				return e.Kind == ipsec.SPIConfirmed && e.SPI == spi
			default:
				return false
			}
		})
		s, err := h.plane.Stats()
		h.must(err)
		p := s.Peers[0]
		if p.RxPackets != 7 || p.TxPackets != 7 || p.RxBytes != 7*84 || p.TxBytes != 7*84 || p.LastRx.IsZero() {
			t.Errorf("host %s: %+v", h.name, p)
		}
	}
}

// An SA towards a host that does not have it is a case for its drops.
func TestKernelDropsAreCounted(t *testing.T) {
	a, b := newHosts(t)
	join(a, b, usual, 0x1000)
	c := a.config(b, usual, 0x1000, 0x2001)
	a.set(c)
	if n := a.ping(b, 3, "0.01"); n != 0 {
		t.Fatalf("%d answers", n)
	}
	s, err := b.plane.Stats()
	b.must(err)
	if s.Drops["unknown-spi"] != 3 {
		t.Errorf("drops of %s: %v", b.name, s.Drops)
	}
	c.Peers[0].Out = nil
	a.set(c)
	if n := a.ping(b, 3, "0.01"); n != 0 {
		t.Fatalf("%d answers", n)
	}
	if s, err = a.plane.Stats(); err != nil || s.Peers[0].Drops["no-sa"] != 3 {
		t.Errorf("drops of %s: %v %v", a.name, s.Peers, err)
	}
}
