package tun

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
)

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// A list that is searched from end to end finds the same peer.
func TestRoutesAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		peers := make([]ipsec.Peer, 1+r.IntN(6))
		taken := map[netip.Prefix]int{}
		for i := range peers {
			for range r.IntN(30) {
				addr := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(256))})
				p := netip.PrefixFrom(addr, []int{32, 32, 32, 26, 24, 16, 8, 0, 31}[r.IntN(9)])
				peers[i].Prefixes = append(peers[i].Prefixes, p)
				if _, ok := taken[p.Masked()]; !ok {
					taken[p.Masked()] = i
				}
			}
		}
		routes, _ := newRoutes(peers)
		for range 300 {
			addr := netip.AddrFrom4([4]byte{10 + byte(r.IntN(2)), byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(256))})
			want, longest := nobody, -1
			for p, i := range taken {
				if p.Contains(addr) && p.Bits() > longest {
					want, longest = i, p.Bits()
				}
			}
			if got := routes.find(number(addr)); got != want {
				t.Fatalf("%s: peer %d, want %d of %v", addr, got, want, taken)
			}
		}
	}
}

func TestRoutesErrors(t *testing.T) {
	single := netip.MustParsePrefix("10.1.2.3/32")
	_, errs := newRoutes([]ipsec.Peer{
		{Name: "a", Prefixes: []netip.Prefix{single, single}}, // twice the same is no conflict
		{Name: "b", Prefixes: []netip.Prefix{single, {}, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("10.1.2.0/24")}},
	})
	if len(errs) != 3 {
		t.Errorf("%v", errs)
	}
}

// Nothing is built again for what has not changed, and all is where it was.
func TestPublishCarriesOver(t *testing.T) {
	p, _ := pipePlane(t)
	in, out := testSA(0x1001), testSA(0x2001)
	c := configOf(peerAt("b", addrB, loopback(p), []ipsec.SA{in}, &out))
	for range 2 {
		if errs := p.publish(c); len(errs) > 0 {
			t.Fatal(errs)
		}
	}
	first := p.table.Load()
	first.peers[0].stats.rxBytes.Add(5)
	p.publish(c)
	second := p.table.Load()
	if first.routes != second.routes || first.spis[0x1001].inbound != second.spis[0x1001].inbound ||
		first.peers[0].out != second.peers[0].out || first.peers[0].stats != second.peers[0].stats {
		t.Error("something was made again")
	}
	// A peer in front moves the ordinals, nothing else.
	c.Peers = append([]ipsec.Peer{peerAt("a", addrA, loopback(p), nil, nil)}, c.Peers...)
	p.publish(c)
	third := p.table.Load()
	if third.spis[0x1001].inbound != first.spis[0x1001].inbound || third.spis[0x1001].peer != 1 || third.routes.find(number(addrB)) != 1 ||
		third.peers[1].stats.rxBytes.Load() != 5 || third.peers[0].stats == third.peers[1].stats {
		t.Errorf("%+v", third)
	}
}

func BenchmarkFind(b *testing.B) {
	var p ipsec.Peer
	for i := range 65000 {
		p.Prefixes = append(p.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}), 32))
	}
	routes, _ := newRoutes([]ipsec.Peer{p})
	for b.Loop() {
		routes.find(10<<24 | 42<<16 | 7<<8 | 7)
	}
}
