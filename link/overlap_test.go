package link

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
)

// ethernet makes a link in the host's namespace with an address and, if gw is given, a default route.
func (w *world) ethernet(name, at, gw string, mtu int) {
	w.t.Helper()
	h := w.handle(w.host)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	ok(w.t, h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "p"}))
	w.address(h, name, netip.MustParsePrefix(at))
	ok(w.t, h.LinkSetUp(must(h.LinkByName(name+"p"))(w.t)))
	if gw != "" {
		r := routeTo(w.t, "0.0.0.0/0")
		r.Gw = addr(gw).AsSlice()
		ok(w.t, h.RouteAdd(&r))
	}
}

func TestCase28HostOverlap(t *testing.T) {
	w := newWorld(t)
	w.ethernet("eth0", "192.0.2.1/24", "192.0.2.254", 1500)
	w.ethernet("docker0", "172.17.0.1/16", "", 1500)
	r := routeTo(t, "10.42.7.0/24")
	r.Gw = addr("192.0.2.253").AsSlice()
	ok(t, w.handle(w.host).RouteAdd(&r))
	for pool, want := range map[string]string{
		"10.42.0.0/16":   "route 10.42.7.0/24 dev eth0", // inside
		"10.42.7.8/29":   "route 10.42.7.0/24 dev eth0", // around
		"172.17.0.0/24":  "route 172.17.0.0/16 dev docker0",
		"192.0.2.128/25": "route 192.0.2.0/24 dev eth0",
		"10.43.0.0/16":   "", // only the default route
	} {
		ok(t, inNamespace(w.host, func() error {
			got, err := HostOverlap(netip.MustParsePrefix(pool))
			if got != want {
				t.Errorf("%s: %q, want %q", pool, got, want)
			}
			return err
		}))
	}
}

func TestNameserverOverlap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	p := netip.MustParsePrefix("10.42.0.0/16")
	for text, want := range map[string]string{
		"nameserver 10.42.0.53\n":                         "nameserver 10.42.0.53",
		"nameserver 192.0.2.1\nnameserver 10.42.0.53":     "nameserver 10.42.0.53",
		"# nameserver 10.42.0.53\nsearch 10.42.0.53\n":    "",
		"nameserver 10.43.0.53\nnameserver\nnameserver x": "",
		"": "",
	} {
		ok(t, os.WriteFile(file, []byte(text), 0o600))
		if got := must(nameserverOverlap(p, file))(t); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := must(nameserverOverlap(p, file+".none"))(t); got != "" {
		t.Errorf("missing file: %q", got)
	}
	if _, err := nameserverOverlap(p, t.TempDir()); err == nil {
		t.Error("no error for a directory")
	}
}
