package tun

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
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

// What is made from the routes before is what is made anew, for packets and for the kernel; and those before still hold.
func TestRoutesThatChangeAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	random := func() (c ipsec.Config) {
		c.Router, c.MTU = netip.AddrFrom4([4]byte{100, 127, 0, byte(r.IntN(8) / 7)}), 1400+r.IntN(8)/7
		for i := range 2 + r.IntN(8)/7 {
			c.Peers = append(c.Peers, ipsec.Peer{Name: string(rune('a' + i)), MTU: 1300 + r.IntN(8)/7})
		}
		for i := range byte(20) {
			if p := r.IntN(len(c.Peers) + 1); p < len(c.Peers) {
				prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, i % 2, i}), 32-int(i)/18)
				c.Peers[p].Prefixes = append(c.Peers[p].Prefixes, prefix)
			}
		}
		for i := range c.Peers {
			slices.SortFunc(c.Peers[i].Prefixes, ipsec.ComparePrefixes)
		}
		return c
	}
	entries := func(peers []ipsec.Peer) (list []peer) {
		for _, p := range peers {
			list = append(list, peer{name: p.Name, prefixes: p.Prefixes})
		}
		return list
	}
	all := func(rs *routes) (found [512]int) {
		for i := range found {
			found[i] = rs.find(10<<24 + uint32(i))
		}
		return found
	}
	was := random()
	have, _ := newRoutes(was.Peers)
	kernel := map[netip.Prefix]link.Route{}
	for _, route := range tunnelRoutes(was) {
		kernel[route.Dst] = route
	}
	for range 1000 {
		is, before := random(), all(have)
		want, errs := newRoutes(is.Peers)
		got := have.next(entries(was.Peers), is.Peers)
		if anew := got == nil; anew != (len(was.Peers) != len(is.Peers)) || len(errs) > 0 {
			t.Fatalf("%v → %v: made anew: %v, %v", was.Peers, is.Peers, anew, errs)
		}
		if got != nil && all(got) != all(want) || all(have) != before {
			t.Fatalf("%v → %v", was.Peers, is.Peers)
		}
		add, del := changedRoutes(was, is)
		for _, route := range add {
			kernel[route.Dst] = route
		}
		for _, route := range del {
			delete(kernel, route.Dst)
		}
		if list := tunnelRoutes(is); len(list) != len(kernel) || slices.ContainsFunc(list, func(r link.Route) bool { return kernel[r.Dst] != r }) {
			t.Fatalf("%v → %v: the kernel has %v, added %v, deleted %v", was.Peers, is.Peers, kernel, add, del)
		}
		if was, have = is, got; got == nil {
			have = want
		}
	}
	// What is in conflict is looked at as a whole, so that the loser has it when the winner lets go.
	single := netip.MustParsePrefix("10.1.2.3/32")
	both := []ipsec.Peer{{Name: "a", Prefixes: []netip.Prefix{single}}, {Name: "b", Prefixes: []netip.Prefix{single}}}
	broken, _ := newRoutes(both)
	if broken.next(entries(both), both) != nil {
		t.Error("a conflict was carried over")
	}
	one := []ipsec.Peer{both[0], {Name: "b"}}
	if good, _ := newRoutes(one); good.next(entries(one), both) != nil {
		t.Error("a conflict was not seen")
	}
}

// BenchmarkOneRoute is what one endpoint more or less costs, in the table and in what the kernel is told.
func BenchmarkOneRoute(b *testing.B) {
	for _, n := range []int{1000, 50000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var configs [2]ipsec.Config
			var peers [2][]peer
			for i := range n {
				if i%(n/25) == 0 {
					configs[0].Peers = append(configs[0].Peers, ipsec.Peer{Name: fmt.Sprint(i)})
				}
				p := &configs[0].Peers[len(configs[0].Peers)-1]
				p.Prefixes = append(p.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)}), 32))
			}
			configs[1].Peers = slices.Clone(configs[0].Peers)
			configs[1].Peers[7].Prefixes = slices.Delete(slices.Clone(configs[1].Peers[7].Prefixes), 5, 6)
			for i, c := range configs {
				for _, p := range c.Peers {
					peers[i] = append(peers[i], peer{name: p.Name, prefixes: p.Prefixes})
				}
			}
			routes, _ := newRoutes(configs[0].Peers)
			for i := 0; b.Loop(); i++ {
				was, is := i%2, 1-i%2
				routes = routes.next(peers[was], configs[is].Peers)
				if add, del := changedRoutes(configs[was], configs[is]); len(add) != was || len(del) != is {
					b.Fatalf("added %v, deleted %v", add, del)
				}
			}
		})
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
