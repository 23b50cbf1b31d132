package link

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// placesOf gives the ports that a MAC address is at.
func (w *world) placesOf(bridge string, mac net.HardwareAddr) (ports []string) {
	w.t.Helper()
	b := must(w.r.nl.LinkByName(bridge))(w.t)
	for _, e := range must(w.r.nl.NeighList(0, unix.AF_BRIDGE))(w.t) {
		if e.MasterIndex == b.Attrs().Index && e.Vlan == 0 && bytes.Equal(e.HardwareAddr, mac) {
			ports = append(ports, must(w.r.nl.LinkByIndex(e.LinkIndex))(w.t).Attrs().Name)
		}
	}
	return ports
}

// TestNobodyTakesOverAnAddress: whatever ca claims, its neighbours and the router go on as if it had not.
func TestNobodyTakesOverAnAddress(t *testing.T) {
	h := newHostile(t)
	third := h.container("dd", h.a, addr("10.42.64.4"))
	from, to := h.listen(third, "10.42.64.4:0"), h.listen(h.neighbour, "10.42.64.3:53")
	local, remote := netip.MustParseAddrPort("10.42.64.3:53"), netip.MustParseAddrPort("10.42.128.2:53")
	reaches := func(word string) bool {
		_, _ = from.WriteToUDPAddrPort([]byte(word), local)
		_, _ = from.WriteToUDPAddrPort([]byte(word), remote)
		return receives(t, to, word, patience) && comesOut(t, h.tun, patience, between("10.42.64.4", "10.42.128.2"))
	}
	if !reaches("before") {
		t.Fatal("the neighbours do not reach each other")
	}
	other := MACOf(addr("10.42.64.3"))
	for range 3 {
		for _, victim := range []string{"10.42.64.3", "10.42.64.4", "10.42.128.2", "10.42.0.1"} {
			for _, op := range []uint16{arpRequest, arpReply} {
				h.send(h.arp(op, h.own, victim, h.own))
				f := h.arp(op, h.own, victim, h.own)
				copy(f, MACOf(addr("10.42.64.4"))) // unicast, as one that answers would
				h.send(f)
			}
		}
		// A bridge learns from frames for the link's own protocols before nftables sees them, and does not pass them on.
		for last := range byte(16) {
			for _, src := range []net.HardwareAddr{other, h.a.MAC, mac("02:00:00:00:00:07")} {
				h.send(set(h.datagram("10.42.64.2"), 0, append([]byte{0x01, 0x80, 0xc2, 0, 0, last}, src...)...))
			}
		}
	}
	for word := range 3 {
		if !reaches("after" + string(rune('0'+word))) {
			t.Error("a neighbour is not reached any more")
		}
	}
	if frame(t, h.fd, silence, func(f []byte) bool { return bytes.Contains(f, []byte("after")) }) {
		t.Error("ca hears what is for others")
	}
	for a, want := range map[string]net.HardwareAddr{"10.42.64.3": other, "10.42.128.2": h.a.MAC} {
		if got := h.world.neighbour(third, "eth0", addr(a)); !bytes.Equal(got, want) {
			t.Errorf("%s is at %s for its neighbour, want %s", a, got, want)
		}
	}
	for _, a := range []string{"10.42.64.3", "10.42.128.2"} {
		if got := h.world.neighbour(h.r.ns, h.a.Name, addr(a)); bytes.Equal(got, h.own) {
			t.Errorf("the router takes ca for %s", a)
		}
	}
	if got := h.placesOf(h.a.Name, other); len(got) != 1 || got[0] != vethOf("cc", h.a, addr("10.42.64.3")).RouterEnd {
		t.Errorf("the neighbour's MAC address is at %v", got)
	}
	if got := h.placesOf(h.a.Name, mac("02:00:00:00:00:07")); len(got) != 0 {
		t.Errorf("the bridge learned nobody's MAC address at %v", got)
	}
}

// TestOwnMACChanged: the fact says which MAC address a container has; one that changes it is cut off until it changes back.
func TestOwnMACChanged(t *testing.T) {
	h := newHostile(t)
	c, to := h.handle(h.ca), h.listen(h.neighbour, "10.42.64.3:53")
	eth0 := must(c.LinkByName("eth0"))(t)
	for _, step := range []struct {
		mac  net.HardwareAddr
		goes bool
	}{{mac("02:00:00:00:00:07"), false}, {MACOf(addr("10.42.64.3")), false}, {h.own, true}} {
		ok(t, c.LinkSetHardwareAddr(eth0, step.mac))
		s := h.listen(h.ca, "10.42.64.2:0")
		try := func() bool {
			_, _ = s.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("10.42.64.3:53"))
			return receives(t, to, "hello", silence)
		}
		if step.goes {
			eventually(t, "it is back", try)
		} else if try() {
			t.Errorf("%s: a datagram arrived", step.mac)
		}
	}
}

// TestOneMACOnePair: of two containers on a bridge with one MAC address, one would get the other's frames.
func TestOneMACOnePair(t *testing.T) {
	w := newWorld(t)
	b, other := bridgeOf("default", "10.42.0.0/16"), bridgeOf("other", "10.43.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b, other}))
	first, second := vethOf("aa", b, addr("10.42.64.2")), vethOf("bb", b, addr("10.42.64.3"))
	second.MAC = first.MAC
	ok(t, w.r.AddVeth(first))
	if err := w.r.AddVeth(second); err == nil {
		t.Error("a second container with the MAC address was made")
	}
	if got := w.placesOf(b.Name, first.MAC); len(got) != 1 || got[0] != first.RouterEnd {
		t.Errorf("the MAC address is at %v", got)
	}
	second.MAC = b.MAC
	if err := w.r.AddVeth(second); err == nil {
		t.Error("a container with the gateway's MAC address was made")
	}
	elsewhere := vethOf("cc", other, addr("10.43.64.2"))
	elsewhere.MAC = first.MAC
	ok(t, w.r.AddVeth(elsewhere))
	// An end that nobody wants any more does not keep its address.
	ok(t, w.r.SetPorts([]Veth{first}))
	ok(t, w.r.SetPorts(nil))
	second.MAC = first.MAC
	ok(t, w.r.AddVeth(second))
	if got := w.placesOf(b.Name, first.MAC); len(got) != 1 || got[0] != second.RouterEnd {
		t.Errorf("the MAC address is at %v, want the new container's", got)
	}
}

// TestNoPortWithoutItsGuard: what can't be guarded is not made, and stays down.
func TestNoPortWithoutItsGuard(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	v := vethOf("aa", b, addr("10.42.64.2"))
	bad := v
	bad.Addr = netip.Addr{}
	for range 2 {
		if err := w.r.AddVeth(bad); err == nil {
			t.Error("a pair without an address was made")
		}
	}
	ns := w.r.sources.ns
	w.r.sources.ns = -1
	err := w.r.AddVeth(v)
	w.r.sources.ns = ns
	if err == nil {
		t.Error("a pair was made though there is no guard")
	}
	if l, _ := find(w.r.nl, v.RouterEnd); l != nil {
		t.Error("the pair is there")
	}
	ok(t, w.r.AddVeth(v))
	port := must(w.r.nl.LinkByName(v.RouterEnd))(t)
	ok(t, w.r.nl.LinkSetDown(port))
	w.r.sources.ns = -1
	err = w.r.SetPorts([]Veth{v})
	w.r.sources.ns = ns
	if l := must(w.r.nl.LinkByName(v.RouterEnd))(t); err == nil || l.Attrs().RawFlags&unix.IFF_UP != 0 {
		t.Errorf("the port was set up without its guard: %v", err)
	}
	ok(t, w.r.SetPorts([]Veth{v}))
	w.checkVeth(v)
}
