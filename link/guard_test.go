package link

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeTo is a route for tests.
func routeTo(t testing.TB, dst string) netlink.Route {
	t.Helper()
	return netlink.Route{Dst: must(netlink.ParseIPNet(dst))(t)}
}

// rules dumps the number of rules of one of our chains, as the kernel lists them.
func (w *world) ruleCount(chain string) int {
	w.t.Helper()
	s := must(openSocket(w.r.ns, unix.NETLINK_NETFILTER))(w.t)
	defer func() { _ = s.close() }()
	body := attr([]byte{unix.NFPROTO_INET, 0, 0, 0}, unix.NFTA_RULE_TABLE, append([]byte(NftTable), 0))
	body = attr(body, unix.NFTA_RULE_CHAIN, append([]byte(chain), 0))
	n := 0
	req := message{kind: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, body: body}
	ok(w.t, s.dump(req, func() { n = 0 }, func([]byte) { n++ }))
	return n
}

func pools(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// TestGuardShutsTheOtherDoor: a container that has lost its link to the mesh still has docker_gwbridge, by which the host
// would forward and masquerade its packets.
func TestGuardShutsTheOtherDoor(t *testing.T) {
	w := newWorld(t)
	sandbox, wan := w.namespace("mst-sandbox"), w.namespace("mst-wan")
	host := w.handle(w.host)
	cable := func(name string, ns int, at string) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		ok(t, host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth1", PeerNamespace: netlink.NsFd(ns)}))
		w.address(host, name, netip.MustParsePrefix(at))
	}
	cable("gwbridge", int(sandbox), "172.18.0.1/16")
	cable("wan", int(wan), "192.0.2.1/24")
	w.address(w.handle(sandbox), "eth1", netip.MustParsePrefix("172.18.0.2/16"))
	w.address(w.handle(wan), "eth1", netip.MustParsePrefix("192.0.2.2/24"))
	def := func(h *netlink.Handle, gw string) {
		r := routeTo(t, "0.0.0.0/0")
		r.Gw = net.ParseIP(gw)
		ok(t, h.RouteAdd(&r))
	}
	def(w.handle(sandbox), "172.18.0.1")
	def(host, "192.0.2.2")
	r := &Router{procSys: "/proc/sys"}
	ok(t, inNamespace(w.host, func() error { return r.sysctl(sysctl{path: "net/ipv4/ip_forward", value: "1"}) }))
	masquerade(t, int(w.host))

	line := w.packetSocket(wan, "eth1")
	fromContainer, fromHost := w.listen(sandbox, "0.0.0.0:4000"), w.listen(w.host, "0.0.0.0:4001")
	leaks := func(canary string, c *net.UDPConn, to string) bool {
		_, _ = c.WriteToUDPAddrPort([]byte(canary), netip.MustParseAddrPort(to))
		return frame(t, line, silence, func(f []byte) bool { return bytes.Contains(f, []byte(canary)) })
	}
	eventually(t, "without the guard a canary leaves in the clear", func() bool {
		return leaks("canary-before", fromContainer, "10.42.128.2:9") && leaks("canary-host-before", fromHost, "10.42.128.2:9")
	})
	ok(t, w.r.SetGuard(pools("10.42.0.0/16", "10.44.0.0/16")))
	for _, to := range []string{"10.42.0.0:9", "10.42.128.2:9", "10.42.255.255:9", "10.44.1.1:9"} {
		if leaks("canary-container", fromContainer, to) {
			t.Errorf("a container's packet for %s left in the clear", to)
		}
		if leaks("canary-host", fromHost, to) {
			t.Errorf("the host's packet for %s left in the clear", to)
		}
	}
	for _, to := range []string{"198.51.100.7:9", "10.41.255.255:9", "10.43.0.0:9"} {
		if !leaks("outside", fromContainer, to) || !leaks("outside-host", fromHost, to) {
			t.Errorf("%s is outside the pools but was dropped", to)
		}
	}
	// Source addresses from a pool.
	w.address(w.handle(sandbox), "eth1", netip.MustParsePrefix("10.42.64.2/32"))
	spoof := w.listen(sandbox, "10.42.64.2:4002")
	if leaks("canary-source", spoof, "198.51.100.7:9") {
		t.Error("a packet from a pool left in the clear")
	}
}

// masquerade is what Docker does to what leaves docker_gwbridge.
func masquerade(t testing.TB, ns int) {
	nft := must(nftables.New(nftables.WithNetNSFd(ns)))(t)
	table := nft.AddTable(&nftables.Table{Name: "docker", Family: nftables.TableFamilyIPv4})
	chain := nft.AddChain(&nftables.Chain{Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule{}.oif("wan").add(&expr.Masq{})})
	ok(t, nft.Flush())
}

func (m rule) add(e expr.Any) rule { return append(m, e) }

func TestSetGuardTwiceAndRepaired(t *testing.T) {
	w := newWorld(t)
	all := pools("10.43.0.0/16", "10.42.0.0/16", "10.42.0.0/24", "10.50.0.0/16")
	ok(t, w.r.SetGuard(all))
	w.quiet("the same guard", func() error { return w.r.SetGuard(all) })
	nft := must(nftables.New(nftables.WithNetNSFd(int(w.host))))(t)
	table := &nftables.Table{Name: NftTable, Family: nftables.TableFamilyINet}
	set := must(nft.GetSetByName(table, guardSet))(t)
	set.KeyType = nftables.TypeIPAddr
	for name, harm := range map[string]func(){
		"flushed":         nft.FlushRuleset,
		"elements":        func() { nft.FlushSet(set) },
		"the output hook": func() { nft.FlushChain(&nftables.Chain{Name: "output", Table: table}) },
	} {
		t.Run(name, func(t *testing.T) {
			harm()
			ok(t, nft.Flush())
			ok(t, w.r.SetGuard(all))
			got := must(w.r.guardRanges())(t)
			if len(got) != 2 || got[0] != (addrRange{addr("10.42.0.0"), addr("10.44.0.0")}) || got[1] != (addrRange{addr("10.50.0.0"), addr("10.51.0.0")}) {
				t.Errorf("ranges %v", got)
			}
			for _, chain := range must(nft.ListChainsOfTableFamily(nftables.TableFamilyINet))(t) {
				if n := len(must(nft.GetRules(table, chain))(t)); n != 2 {
					t.Errorf("chain %s: %d rules", chain.Name, n)
				}
			}
		})
	}
	for _, bad := range []string{"2001:db8::/64", "0.0.0.0/0", "255.255.255.0/24"} {
		if err := w.r.SetGuard(pools(bad)); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	ok(t, w.r.SetGuard(nil))
	if got := must(w.r.guardRanges())(t); len(got) != 0 {
		t.Errorf("ranges %v", got)
	}
}

// TestAddGuardKeepsWhatWasThere: a call of Docker's may come before the first round after a start.
func TestAddGuardKeepsWhatWasThere(t *testing.T) {
	w := newWorld(t)
	ok(t, w.r.SetGuard(pools("10.42.0.0/16", "10.60.0.0/16")))
	again := w.open()
	ok(t, again.EnsureBridge(bridgeOf("new", "10.43.0.0/16")))
	got := must(again.guardRanges())(t)
	if len(got) != 2 || got[0] != (addrRange{addr("10.42.0.0"), addr("10.44.0.0")}) || got[1].from != addr("10.60.0.0") {
		t.Errorf("ranges %v", got)
	}
}
