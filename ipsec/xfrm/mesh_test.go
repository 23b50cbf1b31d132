package xfrm

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// mesh is a Config in the making: peers 0, 1, … with SAs that are made anew when a plane says so.
type mesh struct {
	k       *fakeKernel
	peers   map[int][2]ipsec.SPI // inbound, outbound; 0: none yet
	spi     ipsec.SPI
	further map[int]int // endpoint → peer
}

func newMesh(k *fakeKernel, peers ...int) *mesh {
	m := &mesh{k: k, peers: map[int][2]ipsec.SPI{}, spi: firstSPI}
	for _, i := range peers {
		m.peers[i] = [2]ipsec.SPI{}
	}
	return m
}

// rekey gives a peer new SAs.
func (m *mesh) rekey(i int) {
	m.peers[i] = [2]ipsec.SPI{m.spi, m.spi + 1}
	m.spi += 2
}

func peerName(i int) string { return fmt.Sprintf("%08x-host", 0xa0+i) }

func endpoint(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i), 9}), 32)
}

func (m *mesh) config() ipsec.Config {
	c := ipsec.Config{Router: netip.MustParseAddr("100.127.0.1"), MTU: 1438}
	for i := range 20 {
		sas, ok := m.peers[i]
		if !ok {
			continue
		}
		own := []netip.Prefix{endpoint(i)}
		for e, at := range m.further {
			if at == i {
				own = append(own, endpoint(e))
			}
		}
		slices.SortFunc(own, ipsec.ComparePrefixes)
		for _, prefix := range own {
			m.k.homes[prefix] = peerAddr(i)
		}
		p := ipsec.Peer{Name: peerName(i), Remote: netip.AddrPortFrom(peerAddr(i), ourPort), Encap: ipsec.EncapUDP, Prefixes: own}
		if sas[0] != 0 {
			o := sa(sas[1], ipsec.AES256GCM)
			p.In, p.Out = []ipsec.SA{sa(sas[0], ipsec.AES256GCM)}, &o
		}
		c.Peers = append(c.Peers, p)
	}
	return c
}

// settle sets the config until there is no error and no event that asks for new SAs.
func (m *mesh) settle(p *Plane) {
	m.k.t.Helper()
	for range 10 {
		err := p.Set(m.k.t.Context(), m.config())
		if !m.heed(p) && err == nil {
			return
		}
	}
	m.k.t.Fatal("it does not converge")
}

// heed makes new SAs for those that can't be used any more.
func (m *mesh) heed(p *Plane) (heeded bool) {
	for {
		select {
		case e := <-p.Events():
			for i, sas := range m.peers {
				if e.Kind == ipsec.SPILimit && peerName(i) == e.Peer && (e.SPI == sas[0] || e.SPI == sas[1]) {
					m.rekey(i)
					heeded = true
				}
			}
		default:
			return heeded
		}
	}
}

// whole fails the test unless the kernel has what the config asks for, and nothing else.
func (m *mesh) whole(p *Plane) {
	m.k.t.Helper()
	m.settle(p)
	for _, s := range m.peers {
		m.k.inventory.counters[stateKey{us, s[0]}] = counter{Packets: 1}
	}
	m.settle(p)
	p.now = func() time.Time { return time.Now().Add(time.Hour) } // graces are over
	m.settle(p)
	sas := 0
	for i, s := range m.peers {
		if s[0] != 0 {
			sas += 2
			if !m.k.sealed(endpoint(i)) {
				m.k.t.Errorf("peer %d can't be reached: %v", i, m.k.world)
			}
		}
	}
	if len(m.k.States) != sas || len(m.k.Devices) != len(m.peers) || len(m.k.Policies) != 2*len(m.peers)+sas/2 || len(m.k.routes) != len(m.peers)+len(m.further) || len(m.k.Strays) > 0 {
		m.k.t.Fatalf("%d peers, but: %v", len(m.peers), m.k.world)
	}
}
