package link

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// hostile is a LAN in which root in container ca, 10.42.64.2, sends what it likes; 10.42.64.3 is its neighbour.
type hostile struct {
	*lan
	neighbour netns.NsHandle
	heard     int // every frame at the neighbour
	fd        int // of ca's eth0
	index     int
	own       net.HardwareAddr
}

func newHostile(t *testing.T) *hostile {
	h := &hostile{lan: newLAN(t), own: MACOf(addr("10.42.64.2"))}
	h.neighbour = h.container("cc", h.a, addr("10.42.64.3"))
	h.heard, h.fd = h.packetSocket(h.neighbour, "eth0"), h.packetSocket(h.ca, "eth0")
	h.index = must(h.handle(h.ca).LinkByName("eth0"))(t).Attrs().Index
	eventually(t, "an honest frame arrives", func() bool { return h.arrives(h.datagram("10.42.64.2")) })
	return h
}

func (h *hostile) send(f []byte) {
	h.t.Helper()
	ok(h.t, unix.Sendto(h.fd, f, 0, &unix.SockaddrLinklayer{Ifindex: h.index, Halen: 6}))
}

// arrives sends a frame and tells whether the neighbour gets it.
func (h *hostile) arrives(f []byte) bool {
	h.t.Helper()
	h.send(f)
	return frame(h.t, h.heard, silence, func(got []byte) bool { return bytes.Equal(got, f) })
}

var everybody = mac("ff:ff:ff:ff:ff:ff")

func ether(src, dst net.HardwareAddr, kind uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(append(append([]byte{}, dst...), src...), kind)
	return append(b, payload...)
}

// datagram is a broadcast frame with a datagram from an address, and from ca's MAC address.
func (h *hostile) datagram(from string) []byte {
	return ether(h.own, everybody, unix.ETH_P_IP, ipv4Packet(addr(from), addr("10.42.64.3"), 17, udpDatagram(53, "x")))
}

// fragment is a later fragment of a datagram: nothing but the addresses says whose it is.
func (h *hostile) fragment(from string) []byte {
	f := h.datagram(from)
	binary.BigEndian.PutUint16(f[20:], 0x2000|185)
	f[24], f[25] = 0, 0
	binary.BigEndian.PutUint16(f[24:], checksum(f[14:34]))
	return f
}

func (h *hostile) udp(from, to string, sport, dport uint16) []byte {
	d := udpDatagram(dport, "dhcp")
	binary.BigEndian.PutUint16(d, sport)
	return ether(h.own, everybody, unix.ETH_P_IP, ipv4Packet(addr(from), addr(to), 17, d))
}

// arp is ARP in which sender and target are one address.
func (h *hostile) arp(op uint16, etherSrc net.HardwareAddr, sender string, mac net.HardwareAddr) []byte {
	return gratuitous(op, etherSrc, addr(sender), mac)
}

// tag puts a VLAN tag behind the addresses.
func tag(f []byte, kind, vid uint16) []byte {
	t := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, kind), vid)
	return append(append(append([]byte{}, f[:12]...), t...), f[12:]...)
}

func set(f []byte, at int, b ...byte) []byte {
	f = bytes.Clone(f)
	copy(f[at:], b)
	return f
}

func TestSourceGuardLetsTheHonestPass(t *testing.T) {
	h := newHostile(t)
	before := must(h.r.Drops())(t)
	asks := h.arp(arpRequest, h.own, "10.42.64.2", h.own)
	copy(asks[38:], addr("10.42.64.9").AsSlice())
	for name, f := range map[string][]byte{
		"a datagram":   h.datagram("10.42.64.2"),
		"a fragment":   h.fragment("10.42.64.2"),
		"ARP request":  asks,
		"announcement": h.arp(arpRequest, h.own, "10.42.64.2", h.own),
		"ARP reply":    h.arp(arpReply, h.own, "10.42.64.2", h.own),
	} {
		if !h.arrives(f) {
			t.Errorf("%s does not arrive", name)
		}
	}
	for reason, n := range must(h.r.Drops())(t) {
		if n != before[reason] && reason != dropIPv6 { // the containers' kernels look for IPv6 routers
			t.Errorf("%s: %d dropped", reason, n-before[reason])
		}
	}
}

func TestSourceGuard(t *testing.T) {
	h := newHostile(t)
	other, gateway, stranger := MACOf(addr("10.42.64.3")), h.a.MAC, mac("02:00:00:00:00:07")
	ra := append([]byte{0x60, 0, 0, 0, 0, 16, 58, 255}, make([]byte, 32)...)
	ra = append(ra, 134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0)
	discover := h.udp("10.42.64.2", "255.255.255.255", 68, 67)
	own, reply := h.datagram("10.42.64.2"), h.arp(arpReply, h.own, "10.42.64.2", h.own)
	for _, c := range []struct {
		name, reason string
		f            []byte
	}{
		{"the neighbour's address", dropSource, h.datagram("10.42.64.3")},
		{"a remote address", dropSource, h.datagram("10.42.128.2")},
		{"the gateway's address", dropSource, h.datagram("10.42.0.1")},
		{"nobody's address", dropSource, h.datagram("10.42.64.99")},
		{"another network's address", dropSource, h.datagram("10.43.64.2")},
		{"a router's address", dropSource, h.datagram("100.127.0.1")},
		{"no address", dropSource, h.datagram("0.0.0.0")},
		{"the neighbour's MAC", dropSource, set(own, 6, other...)},
		{"the gateway's MAC", dropSource, set(own, 6, gateway...)},
		{"nobody's MAC", dropSource, set(own, 6, stranger...)},
		{"the neighbour's both", dropSource, set(h.datagram("10.42.64.3"), 6, other...)},
		{"a fragment of the neighbour's", dropSource, h.fragment("10.42.64.3")},
		{"a fragment of a remote one's", dropSource, h.fragment("10.42.128.2")},
		{"a fragment with another MAC", dropSource, set(h.fragment("10.42.64.2"), 6, other...)},
		{"a truncated header", dropSource, own[:28]},
		{"reply for the neighbour", dropARP, h.arp(arpReply, h.own, "10.42.64.3", h.own)},
		{"reply for a remote one", dropARP, h.arp(arpReply, h.own, "10.42.128.2", h.own)},
		{"reply for the gateway", dropARP, h.arp(arpReply, h.own, "10.42.0.1", h.own)},
		{"request as the neighbour", dropARP, h.arp(arpRequest, h.own, "10.42.64.3", h.own)},
		{"request as a remote one", dropARP, h.arp(arpRequest, h.own, "10.42.128.2", h.own)},
		{"request as the gateway", dropARP, h.arp(arpRequest, h.own, "10.42.0.1", h.own)},
		{"the neighbour's, wholly", dropARP, h.arp(arpReply, other, "10.42.64.3", other)},
		{"own address at the neighbour", dropARP, h.arp(arpReply, h.own, "10.42.64.2", other)},
		{"own reply in another's frame", dropARP, h.arp(arpReply, other, "10.42.64.2", h.own)},
		{"a probe", dropARP, h.arp(arpRequest, h.own, "0.0.0.0", h.own)},
		{"reverse ARP", dropARP, set(reply, 21, 3)},
		{"ARP of another hardware", dropARP, set(reply, 15, 6)},
		{"ARP of longer addresses", dropARP, set(reply, 18, 8)},
		{"truncated ARP", dropARP, reply[:30]},
		{"DHCP offer", dropDHCP, h.udp("10.42.64.2", "10.42.64.3", 67, 68)},
		{"DHCP discover", dropDHCP, discover},
		{"DHCP discover without an address", dropDHCP, h.udp("0.0.0.0", "255.255.255.255", 68, 67)},
		{"a first fragment of DHCP", dropDHCP, set(discover, 20, 0x20)},
		{"a tag", dropVLAN, tag(own, unix.ETH_P_8021Q, 7)},
		{"a priority tag", dropVLAN, tag(own, unix.ETH_P_8021Q, 0)},
		{"a service tag", dropVLAN, tag(own, unix.ETH_P_8021AD, 7)},
		{"two tags", dropVLAN, tag(tag(own, unix.ETH_P_8021Q, 7), unix.ETH_P_8021AD, 7)},
		{"tagged ARP", dropVLAN, tag(h.arp(arpReply, h.own, "10.42.64.3", h.own), unix.ETH_P_8021Q, 0)},
		{"router advertisement", dropIPv6, ether(h.own, everybody, unix.ETH_P_IPV6, ra)},
		{"spanning tree", dropProtocol, ether(h.own, mac("01:80:c2:00:00:00"), 38, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...))},
		{"IPv4 in SNAP", dropProtocol, ether(h.own, everybody, 36, append([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, own[14:]...))},
		{"PPPoE", dropProtocol, ether(h.own, everybody, unix.ETH_P_PPP_DISC, make([]byte, 40))},
		{"MPLS", dropProtocol, ether(h.own, everybody, unix.ETH_P_MPLS_UC, make([]byte, 40))},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := must(h.r.Drops())(t)[c.reason]
			h.send(c.f)
			eventually(t, "it is counted as "+c.reason, func() bool { return must(h.r.Drops())(t)[c.reason] > before })
		})
	}
	// The honest one comes last, so what comes before it has been let in.
	last := h.datagram("10.42.64.2")
	last[len(last)-1] = 'z'
	h.send(last)
	let := 0
	frame(t, h.heard, patience, func(f []byte) bool {
		if len(f) > 14 && bytes.Equal(f[6:12], h.own) || bytes.Equal(f[6:12], stranger) {
			let++
		}
		return bytes.Equal(f, last)
	})
	if let != 1 {
		t.Errorf("%d frames arrived, want only the last", let)
	}
}

// TestSourceGuardOfOffloadedTags: the kernel sends a tag beside the frame, not in it.
func TestSourceGuardOfOffloadedTags(t *testing.T) {
	h := newHostile(t)
	c := h.handle(h.ca)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "eth0.7", h.index
	if err := c.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 7}); err != nil {
		t.Skipf("no VLAN devices: %v", err)
	}
	before := must(h.r.Drops())(t)[dropVLAN]
	h.address(c, "eth0.7", netip.MustParsePrefix("192.0.2.2/24"))
	s := h.listen(h.ca, "192.0.2.2:0")
	eventually(t, "it is counted", func() bool {
		_, _ = s.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("192.0.2.3:9"))
		return must(h.r.Drops())(t)[dropVLAN] > before
	})
}
