package link

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDelTunnel(t *testing.T) {
	w := newWorld(t)
	router := w.handle(w.r.ns)
	ok(t, router.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: TunName}, PeerName: "other"})) // as good as a TUN here
	for range 2 {
		ok(t, w.r.DelTunnel(TunName))
	}
	if _, err := router.LinkByName(TunName); err == nil {
		t.Error("it is still there")
	}
	if err := w.r.DelTunnel("lo"); err == nil {
		t.Error("lo is not ours")
	}
}
