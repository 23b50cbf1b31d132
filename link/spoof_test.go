package link

import (
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestCase27WithinABridge: two containers of one host talk, whether or not br_netfilter takes their frames through our filter.
func TestCase27WithinABridge(t *testing.T) {
	l := newLAN(t)
	peer := l.container("cc", l.a, addr("10.42.64.3"))
	from, to := l.listen(l.ca, "10.42.64.2:53"), l.listen(peer, "10.42.64.3:53")
	for _, value := range []string{"0", "1"} {
		s := sysctl{path: "net/bridge/bridge-nf-call-iptables", value: value, optional: true}
		ok(t, l.r.Do(func() error { return l.r.sysctl(s) }))
		eventually(t, "a datagram crosses the bridge with bridge-nf-call-iptables="+value, func() bool {
			_, _ = from.WriteToUDPAddrPort([]byte("hello"+value), netip.MustParseAddrPort("10.42.64.3:53"))
			return receives(t, to, "hello"+value, silence)
		})
	}
	ok(t, l.r.SetBridges([]Bridge{l.a, l.b}))
	ok(t, l.r.Do(func() error {
		got, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
		if err == nil && string(got) != "0\n" {
			t.Errorf("bridge-nf-call-iptables is left at %s", got)
		}
		return nil // no br_netfilter, no file
	}))
}

// TestNobodySpeaksForAnother: a packet is taken only from where its source is routed to.
func TestNobodySpeaksForAnother(t *testing.T) {
	l := newLAN(t)
	c := l.listen(l.ca, "10.42.64.2:53")
	_ = must(l.tun.Write(ipv4Packet(addr("10.42.128.2"), addr("10.42.64.2"), 17, udpDatagram(53, "honest"))))(t)
	if !receives(t, c, "honest", patience) {
		t.Fatal("an honest datagram did not arrive")
	}
	// From the tunnel, with a source that is not routed there: of this host, unknown, the gateway's, the router's.
	for _, src := range []string{"10.42.64.3", "10.42.128.9", "10.42.0.1", "100.127.0.1", "192.0.2.1"} {
		_ = must(l.tun.Write(ipv4Packet(addr(src), addr("10.42.64.2"), 17, udpDatagram(53, "forged"))))(t)
	}
	if receives(t, c, "forged", silence) {
		t.Error("a datagram from the tunnel with a forged source arrived")
	}
	// From a container, as a remote one, and as one of nobody's.
	h := l.handle(l.ca)
	eth0 := must(h.LinkByName("eth0"))(t)
	for _, src := range []string{"10.42.128.2", "192.0.2.1"} {
		ok(t, h.AddrAdd(eth0, must(netlink.ParseAddr(src+"/32"))(t)))
	}
	ok(t, l.r.SetRoutes([]Route{
		{Dst: netip.MustParsePrefix("10.42.128.2/32"), Dev: TunName}, {Dst: netip.MustParsePrefix("10.42.128.3/32"), Dev: TunName}}))
	leaves := func(from string, at string) bool {
		s := l.listen(l.ca, at)
		_, _ = s.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("10.42.128.3:53"))
		return comesOut(t, l.tun, silence, between(from, "10.42.128.3"))
	}
	eventually(t, "an honest datagram leaves", func() bool { return leaves("10.42.64.2", "10.42.64.2:0") })
	if leaves("10.42.128.2", "10.42.128.2:0") || leaves("192.0.2.1", "192.0.2.1:0") {
		t.Error("a container's datagram with a forged source left through the tunnel")
	}
}
