package link

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
)

// lan is a world with two networks, a container on each, and a tunnel behind which the rest of both is.
type lan struct {
	*world
	a, b   Bridge
	ca, cb netns.NsHandle // 10.42.64.2 and 10.43.64.2
	tun    *os.File
}

func newLAN(t *testing.T) *lan {
	w := newWorld(t)
	l := &lan{world: w, a: bridgeOf("default", "10.42.0.0/16"), b: bridgeOf("other", "10.43.0.0/16")}
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	ok(t, w.r.SetFilter(l.filter()))
	ok(t, w.r.SetBridges([]Bridge{l.a, l.b}))
	l.tun = w.tunnel()
	l.ca, l.cb = w.container("aa", l.a, addr("10.42.64.2")), w.container("bb", l.b, addr("10.43.64.2"))
	ok(t, w.r.SetRoutes([]Route{
		{Dst: netip.MustParsePrefix("10.42.128.2/32"), Dev: TunName, Src: addr("100.127.0.1"), MTU: 1438},
		{Dst: netip.MustParsePrefix("10.43.128.2/32"), Dev: TunName, Src: addr("100.127.0.1"), MTU: 1438},
		{Dst: netip.MustParsePrefix("100.127.0.2/32"), Dev: TunName, Src: addr("100.127.0.1"), MTU: 1438},
	}))
	return l
}

func (l *lan) filter() Filter {
	f := Filter{Routers: netip.MustParsePrefix("100.127.0.0/16")}
	for _, b := range []Bridge{l.a, l.b} {
		f.Networks = append(f.Networks, FilterNetwork{Bridge: b.Name, Pool: b.Pool, Gateway: b.Gateway})
	}
	return f
}

// via gives a container a route by its gateway, as nobody but an attacker would set it.
func (l *lan) via(ns netns.NsHandle, dst string, gw netip.Addr) {
	l.t.Helper()
	h := l.handle(ns)
	eth0 := must(h.LinkByName("eth0"))(l.t)
	r := routeTo(l.t, dst)
	r.LinkIndex, r.Gw = eth0.Attrs().Index, gw.AsSlice()
	ok(l.t, h.RouteAdd(&r))
}

func TestFilterLetsANetworkThrough(t *testing.T) {
	l := newLAN(t)
	c := l.listen(l.ca, "10.42.64.2:53")
	to := netip.MustParseAddrPort("10.42.128.2:53")
	eventually(t, "a datagram leaves through the tunnel", func() bool {
		_, _ = c.WriteToUDPAddrPort([]byte("out"), to)
		return comesOut(t, l.tun, silence, between("10.42.64.2", "10.42.128.2"))
	})
	_ = must(l.tun.Write(ipv4Packet(addr("10.42.128.2"), addr("10.42.64.2"), 17, udpDatagram(53, "in"))))(t)
	if !receives(t, c, "in", patience) {
		t.Error("a datagram from the tunnel did not arrive")
	}
}

func TestFilterKeepsNetworksApart(t *testing.T) {
	l := newLAN(t)
	ca, cb := l.listen(l.ca, "10.42.64.2:53"), l.listen(l.cb, "10.43.64.2:53")
	// What would be let in is let in, so silence below is the filter's.
	_ = must(l.tun.Write(ipv4Packet(addr("10.43.128.2"), addr("10.43.64.2"), 17, udpDatagram(53, "same"))))(t)
	if !receives(t, cb, "same", patience) {
		t.Fatal("the network's own datagram did not arrive")
	}
	for _, src := range []string{"10.42.128.2", "100.127.0.2"} {
		_ = must(l.tun.Write(ipv4Packet(addr(src), addr("10.43.64.2"), 17, udpDatagram(53, "foreign"))))(t)
	}
	l.via(l.ca, "10.43.0.0/16", l.a.Gateway)
	l.via(l.ca, "100.127.0.0/16", l.a.Gateway)
	for _, to := range []string{"10.43.64.2:53", "10.43.128.2:53", "100.127.0.2:53", "100.127.0.1:53"} {
		_, _ = ca.WriteToUDPAddrPort([]byte("foreign"), netip.MustParseAddrPort(to))
	}
	if receives(t, cb, "foreign", silence) {
		t.Error("a datagram of another network, or of a router, arrived")
	}
	if comesOut(t, l.tun, silence, func(p []byte) bool {
		return between("10.42.64.2", "10.43.128.2")(p) || between("10.42.64.2", "100.127.0.2")(p)
	}) {
		t.Error("a datagram for another network, or a router, left through the tunnel")
	}
}

func TestFilterOfICMP(t *testing.T) {
	l := newLAN(t)
	inner := ipv4Packet(addr("10.42.64.2"), addr("10.42.128.2"), 17, udpDatagram(53, "x!"))
	heard := l.packetSocket(l.ca, "eth0")
	arrives := func(kind byte) bool {
		_ = must(l.tun.Write(ipv4Packet(addr("100.127.0.2"), addr("10.42.64.2"), 1, icmpMessage(kind, inner))))(t)
		return frame(t, heard, silence, func(f []byte) bool { return between("100.127.0.2", "10.42.64.2")(f[14:]) && f[34] == kind })
	}
	eventually(t, "another router's ICMP error arrives", func() bool { return arrives(icmpUnreachable) })
	if !arrives(icmpTimeExceeded) {
		t.Error("time exceeded did not arrive")
	}
	if arrives(icmpEchoRequest) {
		t.Error("another router's ping arrived at a container")
	}
	// The router answers another router, and its own containers about their gateway; nothing else.
	answered := func(src, dst string) bool {
		_ = must(l.tun.Write(ipv4Packet(addr(src), addr(dst), 1, icmpMessage(icmpEchoRequest, inner))))(t)
		return comesOut(t, l.tun, silence, between(dst, src))
	}
	if !answered("100.127.0.2", "100.127.0.1") {
		t.Error("no answer to another router")
	}
	if answered("10.42.128.2", "100.127.0.1") || answered("10.42.128.2", "10.42.0.1") {
		t.Error("a remote container reached the router itself")
	}
}

func TestFilterClampsMSS(t *testing.T) {
	l := newLAN(t)
	heard := l.packetSocket(l.ca, "eth0")
	syn := make([]byte, 24)
	binary.BigEndian.PutUint16(syn[2:], 80)
	syn[12], syn[13] = 6<<4, 0x02                              // six words, SYN
	copy(syn[20:], []byte{2, 4, 1460 >> 8, 1460 & 0xff})       // MSS 1460
	want := []byte{2, 4, (1438 - 40) >> 8, (1438 - 40) & 0xff} // what fits the tunnel
	eventually(t, "a clamped SYN arrives", func() bool {
		_ = must(l.tun.Write(ipv4Packet(addr("10.42.128.2"), addr("10.42.64.2"), 6, syn)))(t)
		return frame(t, heard, silence, func(f []byte) bool {
			return between("10.42.128.2", "10.42.64.2")(f[14:]) && len(f) >= 58 && slices.Equal(f[54:58], want)
		})
	})
}

func TestSetFilterTwiceAndRepaired(t *testing.T) {
	l := newLAN(t)
	l.quiet("the same filter", func() error { return l.r.SetFilter(l.filter()) })
	nft := must(nftables.New(nftables.WithNetNSFd(int(l.r.ns))))(t)
	table := &nftables.Table{Name: NftTable, Family: nftables.TableFamilyINet}
	arrive := &nftables.Chain{Name: "arrive", Table: table}
	for name, harm := range map[string]func(){
		"flushed":  nft.FlushRuleset,
		"a chain":  func() { nft.FlushChain(arrive) },
		"one more": func() { nft.AddRule(&nftables.Rule{Table: table, Chain: arrive, Exprs: rule{}.accept()}) },
		"one set": func() {
			ok(t, nft.AddSet(&nftables.Set{Table: table, Name: "x", ID: 7, KeyType: nftables.TypeIPAddr}, nil))
		},
		"the policy": func() {
			accept := nftables.ChainPolicyAccept
			nft.AddChain(&nftables.Chain{Name: "forward", Table: table, Policy: &accept})
		},
	} {
		t.Run(name, func(t *testing.T) {
			harm()
			ok(t, nft.Flush())
			ok(t, l.r.SetFilter(l.filter()))
			if got := must(nft.ListChainsOfTableFamily(nftables.TableFamilyINet))(t); len(got) != 4 || *got[0].Policy != nftables.ChainPolicyDrop {
				t.Errorf("chains: %v", got)
			}
			for chain, rules := range map[string]int{"forward": 7, "arrive": 8, "leave": 2, "input": 5} {
				if got := l.ruleCount(chain); got != rules {
					t.Errorf("chain %s: %d rules, want %d", chain, got, rules)
				}
			}
		})
	}
	// Another table is not ours.
	other := nft.AddTable(&nftables.Table{Name: "foreign", Family: nftables.TableFamilyINet})
	ok(t, nft.Flush())
	l.quiet("a foreign table is there", func() error { return l.r.SetFilter(l.filter()) })
	ok(t, l.r.SetFilter(Filter{}))
	if got := must(nft.ListTables())(t); len(got) != 2 {
		t.Errorf("tables %v, want ours and %s", got, other.Name)
	}
}

func TestSetFilterOfManyNetworks(t *testing.T) {
	w := newWorld(t)
	f := Filter{Routers: netip.MustParsePrefix("100.127.0.0/16")}
	p := netip.MustParsePrefix("10.0.0.0/24")
	for range 200 {
		f.Networks = append(f.Networks, FilterNetwork{Bridge: BridgeName(p.String()), Pool: p, Gateway: p.Addr().Next()})
		next := p.Addr().As4()
		next[1]++
		p = netip.PrefixFrom(netip.AddrFrom4(next), 24)
	}
	ok(t, w.r.SetFilter(f))
	w.quiet("the same filter", func() error { return w.r.SetFilter(f) })
	// An agent that starts knows nothing of what is there; it writes once.
	again := w.open()
	ok(t, again.SetFilter(f))
	w.quiet("the same filter, after a restart", func() error { return again.SetFilter(f) })
}
