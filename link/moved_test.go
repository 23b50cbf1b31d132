package link

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestMoved(t *testing.T) {
	w := newWorld(t)
	w.ethernet("eth0", "192.0.2.1/24", "192.0.2.254", 1500)
	w.ethernet("eth1", "198.51.100.1/24", "", 1500)
	h := w.handle(w.host)
	eth0 := must(h.LinkByName("eth0"))(t)
	ok(t, h.AddrAdd(eth0, must(netlink.ParseAddr("192.0.2.2/24"))(t)))
	list := func(addrs ...string) (all []netip.Addr) {
		for _, a := range addrs {
			all = append(all, netip.MustParseAddr(a))
		}
		return all
	}
	for _, c := range []struct {
		advertise string
		addrs     []netip.Addr
		moved     bool
		fails     bool
	}{
		{"", list("192.0.2.1"), false, false},
		{"", list("192.0.2.9"), true, false},
		{"", list("198.51.100.1"), true, false}, // where the default route was
		{"", list("192.0.2.2"), false, false},   // the kernel's choice of two
		{"192.0.2.1,eth1", list("192.0.2.1", "198.51.100.1"), false, false},
		{"eth1", list("198.51.100.9"), true, false},
		{"203.0.113.1:4500", list("192.0.2.9"), true, false},
		{"203.0.113.1:4500", list("192.0.2.1"), false, false},
		{"192.0.2.9", list("192.0.2.9"), false, true},
		{"192.0.3.0/24", list("192.0.3.1"), false, true},
	} {
		ok(t, inNamespace(w.host, func() error {
			moved, err := Moved(c.advertise, c.addrs)
			if moved != c.moved || (err != nil) != c.fails {
				t.Errorf("%q, %v: %v, %v", c.advertise, c.addrs, moved, err)
			}
			return nil
		}))
	}
}
