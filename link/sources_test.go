package link

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checkSources fails unless exactly these pairs may send.
func (w *world) checkSources(want ...Veth) {
	w.t.Helper()
	have := must(w.r.sourcesThere())(w.t)
	for _, v := range want {
		if s := must(newSource(v))(w.t); have[v.RouterEnd] != s {
			w.t.Errorf("%s may send as %x, want %x", v.RouterEnd, have[v.RouterEnd], s)
		}
	}
	if len(have) != len(want) {
		w.t.Errorf("%d ports may send, want %d", len(have), len(want))
	}
}

func TestSourcesFollowThePorts(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	one, two, three := vethOf("aa", b, addr("10.42.64.2")), vethOf("bb", b, addr("10.42.64.3")), vethOf("cc", b, addr("10.42.64.4"))
	ok(t, w.r.AddVeth(one))
	ok(t, w.r.SetPorts([]Veth{one, three})) // the third has no pair yet
	w.checkSources(one)
	ok(t, w.r.AddVeth(two))
	ok(t, w.r.SetPorts([]Veth{one})) // by facts that do not know of the second yet
	w.checkSources(one, two)
	w.quiet("the same ports", func() error { return w.r.SetPorts([]Veth{one, two}) })
	ok(t, w.r.SetPorts([]Veth{two})) // the first may not send any more, though its pair is kept for a while
	w.checkSources(two)
	moved := two
	moved.Addr, moved.MAC = addr("10.42.64.9"), MACOf(addr("10.42.64.9"))
	ok(t, w.r.SetPorts([]Veth{moved}))
	w.checkSources(moved)
	ok(t, w.r.DelVeth(moved.ContainerEnd, moved.RouterEnd))
	ok(t, w.r.AddVeth(three))
	ok(t, w.r.SetPorts([]Veth{three}))
	w.checkSources(three)
	bad := three
	bad.MAC = nil
	if err := w.r.SetPorts([]Veth{bad}); err == nil {
		t.Error("a port without a MAC address")
	}
	w.checkSources()
}

// TestSourcesOfTheAgentBefore: a container is joined before the first round after a start; the others go on.
func TestSourcesOfTheAgentBefore(t *testing.T) {
	h := newHostile(t)
	old := vethOf("aa", h.a, addr("10.42.64.2"))
	ok(t, h.r.SetPorts([]Veth{old, vethOf("bb", h.b, addr("10.43.64.2")), vethOf("cc", h.a, addr("10.42.64.3"))}))
	h.send(h.datagram("10.42.64.3"))
	eventually(t, "a drop is counted", func() bool { return must(h.r.Drops())(t)[dropSource] == 1 })
	h.r = h.open()
	young := vethOf("ee", h.a, addr("10.42.64.5"))
	ok(t, h.r.AddVeth(young))
	if !h.arrives(h.datagram("10.42.64.2")) || h.arrives(h.datagram("10.42.64.3")) {
		t.Error("an agent's start has changed what a container may send")
	}
	if got := must(h.r.Drops())(t)[dropSource]; got != 2 {
		t.Errorf("%d drops counted, want those of the agent before, too", got)
	}
	ok(t, h.r.SetPorts([]Veth{young}))
	h.checkSources(young)
}

func TestSourceGuardRepaired(t *testing.T) {
	h := newHostile(t)
	all := []Veth{vethOf("aa", h.a, addr("10.42.64.2")), vethOf("bb", h.b, addr("10.43.64.2")), vethOf("cc", h.a, addr("10.42.64.3"))}
	ok(t, h.r.SetPorts(all))
	h.quiet("the same ports", func() error { return h.r.SetPorts(all) })
	nft := must(nftables.New(nftables.WithNetNSFd(int(h.r.ns))))(t)
	table := &nftables.Table{Name: NftTable, Family: nftables.TableFamilyBridge}
	own := must(newSource(all[0]))(t)
	spoof := own
	copy(spoof[unix.IFNAMSIZ+8:], addr("10.42.64.3").AsSlice())
	port, neighbour := must(h.r.nl.LinkByName(all[0].RouterEnd))(t), must(h.r.nl.LinkByName(all[2].RouterEnd))(t)
	entry := &netlink.Neigh{LinkIndex: neighbour.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: all[2].MAC, Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP}
	for name, harm := range map[string]func() error{
		"flushed":          func() error { nft.FlushRuleset(); return nft.Flush() },
		"a chain":          func() error { nft.FlushChain(&nftables.Chain{Name: "ip", Table: table}); return nft.Flush() },
		"an element less":  func() error { return changeSet(nft, table, nft.SetDeleteElements, own) },
		"an element more":  func() error { return changeSet(nft, table, nft.SetAddElements, spoof) },
		"an entry less":    func() error { return h.r.nl.NeighDel(entry) },
		"an entry astray":  func() error { e := *entry; e.LinkIndex = port.Attrs().Index; return h.r.nl.NeighSet(&e) },
		"a port learns":    func() error { return h.r.nl.LinkSetLearning(port, true) },
		"a port overhears": func() error { return h.r.nl.LinkSetFlood(port, true) },
		"the policy": func() error {
			accept := nftables.ChainPolicyAccept
			nft.AddChain(&nftables.Chain{Name: "port", Table: table, Policy: &accept})
			return nft.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ok(t, harm())
			ok(t, h.r.SetPorts(all))
			h.checkSources(all...)
			if !h.arrives(h.datagram("10.42.64.2")) || h.arrives(h.datagram("10.42.64.3")) {
				t.Error("not repaired")
			}
			f := must(h.r.forwarding())(t)
			if !f.shut[port.Attrs().Index] || f.ports[place{port.Attrs().MasterIndex, [6]byte(all[2].MAC)}] != neighbour.Attrs().Index {
				t.Errorf("not repaired: %+v", f)
			}
		})
	}
}

func changeSet(c *nftables.Conn, t *nftables.Table, change func(*nftables.Set, []nftables.SetElement) error, s source) error {
	if err := change(sourceSetOf(t), []nftables.SetElement{{Key: s[:]}}); err != nil {
		return err
	}
	return c.Flush()
}

// BenchmarkAddVeth makes and deletes a pair beside others.
func BenchmarkAddVeth(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			br := bridgeOf("default", "10.42.0.0/16")
			ok(b, w.r.SetBridges([]Bridge{br}))
			var all []Veth
			a := netip.MustParseAddr("10.42.64.1")
			for i := range n {
				a = a.Next()
				all = append(all, vethOf(fmt.Sprintf("%06x", i), br, a))
				ok(b, w.r.AddVeth(all[i]))
			}
			ok(b, w.r.SetPorts(all))
			one := vethOf("ffffff", br, a.Next())
			for b.Loop() {
				ok(b, w.r.AddVeth(one))
				b.StopTimer()
				ok(b, w.r.DelVeth(one.ContainerEnd, one.RouterEnd))
				b.StartTimer()
			}
		})
	}
}
