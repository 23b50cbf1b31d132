package tun_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

// TestESPWithoutUDP: both ways, in one direction only, and back to UDP, under the same SAs.
func TestESPWithoutUDP(t *testing.T) {
	a, b := newLab(t)
	for _, c := range []struct {
		a, b ipsec.Encap
		mtu  int
	}{
		{ipsec.EncapESP, ipsec.EncapESP, 1446}, {ipsec.EncapESP, ipsec.EncapUDP, 1438}, {ipsec.EncapUDP, ipsec.EncapUDP, 1438},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			a.encap, b.encap = c.a, c.b
			for _, h := range []*host{a, b} {
				other := map[*host]*host{a: b, b: a}[h]
				config := h.config(other, 0x1000, 0x1000)
				config.MTU = c.mtu
				h.set(config)
				ip(t, fmt.Sprintf("-n %s link set eth0 mtu %d", h.cell, c.mtu))
				h.must(h.router.Do(func() error {
					ip(t, fmt.Sprintf("link set mv0 mtu %d", c.mtu))
					ip(t, fmt.Sprintf("link set br-lab mtu %d", c.mtu))
					return nil
				}))
			}
			a.ping(b.container)
			if out, err := a.exec(fmt.Sprintf("ping -c 1 -w 10 -M do -s %d %s", c.mtu-28, b.container)); err != nil {
				t.Errorf("a ping as large as the MTU: %s", out)
			}
			transfer(t, a, b, 1<<20)
			transfer(t, b, a, 1<<20)
			for _, h := range []*host{a, b} {
				if p, drops := h.stats(); len(p.Drops) > 0 || len(drops) > 0 {
					t.Errorf("dropped: %v, %v", p.Drops, drops)
				}
			}
		})
	}
}

// TestHostileESP: anything may come as protocol 50; a peer's unknown SPI is told with the peer's whole address.
func TestHostileESP(t *testing.T) {
	a, b := newLab(t)
	a.encap, b.encap = ipsec.EncapESP, ipsec.EncapESP
	join(a, b, 0x1000)
	b.ping(a.container)
	noise := make([]byte, 1200)
	_, _ = rand.Read(noise) // never fails
	short, unknown := noise[:3], append([]byte{0, 0, 0x77, 0x77}, noise...)
	forged := append([]byte{0, 0, 0x10, 0, 0, 0, 0, 200}, noise...) // a's inbound SPI
	b.must(b.inside(b.ns, func() error {
		c, err := net.DialIP("ip4:50", nil, &net.IPAddr{IP: a.addr.Addr().AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		for _, p := range [][]byte{short, unknown, forged} {
			if _, err := c.Write(p); err != nil {
				return err
			}
		}
		return nil
	}))
	until(t, "counting", func() bool {
		p, drops := a.stats()
		return drops["short"] == 1 && drops["unknown-spi"] == 1 && p.Drops["icv"] == 1
	})
	for {
		select {
		case e := <-a.plane.Events():
			if e.Kind != ipsec.UnknownSPI {
				continue
			}
			if e.SPI != 0x7777 || e.Remote != b.addr {
				t.Errorf("%+v", e)
			}
		default:
			t.Error("no event")
		}
		break
	}
	b.ping(a.container)
}
