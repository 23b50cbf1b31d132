package link

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// checkBridge fails unless the bridge is as it should be.
func (w *world) checkBridge(b Bridge) {
	w.t.Helper()
	l, err := find(w.r.nl, b.Name)
	if err != nil || l == nil {
		w.t.Fatalf("bridge %s: %v, %v", b.Name, l, err)
	}
	a := l.Attrs()
	if a.MTU != b.MTU || a.HardwareAddr.String() != b.MAC.String() || a.RawFlags&1 == 0 {
		w.t.Errorf("bridge %s: MTU %d, MAC %s, flags %s", b.Name, a.MTU, a.HardwareAddr, a.Flags)
	}
	addrs := must(w.r.nl.AddrList(l, netlink.FAMILY_V4))(w.t)
	if len(addrs) != 1 || fromIPNet(addrs[0].IPNet) != netip.PrefixFrom(b.Gateway, b.Pool.Bits()) {
		w.t.Errorf("bridge %s: addresses %v", b.Name, addrs)
	}
	ok(w.t, w.r.Do(func() error {
		for path, want := range map[string]string{"conf/" + b.Name + "/proxy_arp": "1", "neigh/" + b.Name + "/proxy_delay": "0"} {
			if got := must(os.ReadFile("/proc/sys/net/ipv4/" + path))(w.t); strings.TrimSpace(string(got)) != want {
				w.t.Errorf("%s = %s, want %s", path, got, want)
			}
		}
		return nil
	}))
}

func TestSetBridges(t *testing.T) {
	w := newWorld(t)
	a, b := bridgeOf("default", "10.42.0.0/16"), bridgeOf("a network with a long name", "10.43.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{a, b}))
	w.checkBridge(a)
	w.checkBridge(b)
	w.quiet("the same bridges", func() error { return w.r.SetBridges([]Bridge{b, a}) })

	ok(t, w.r.SetBridges([]Bridge{b}))
	if l, err := find(w.r.nl, a.Name); l != nil || err != nil {
		t.Errorf("bridge %s is still there", a.Name)
	}
	w.checkBridge(b)
}

func TestSetBridgesRepairs(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	get := func() netlink.Link { return must(w.r.nl.LinkByName(b.Name))(t) }
	for name, harm := range map[string]func() error{
		"deleted":       func() error { return w.r.nl.LinkDel(get()) },
		"down":          func() error { return w.r.nl.LinkSetDown(get()) },
		"mtu":           func() error { return w.r.nl.LinkSetMTU(get(), 1200) },
		"mac":           func() error { return w.r.nl.LinkSetHardwareAddr(get(), mac("02:00:00:00:00:01")) },
		"other address": func() error { return w.r.nl.AddrAdd(get(), must(netlink.ParseAddr("10.42.0.9/16"))(t)) },
		"no address":    func() error { return w.r.nl.AddrDel(get(), must(netlink.ParseAddr("10.42.0.1/16"))(t)) },
		"sysctl": func() error {
			return w.r.Do(func() error { return w.r.sysctl(sysctl{path: "net/ipv4/conf/" + b.Name + "/proxy_arp", value: "0"}) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			ok(t, w.r.SetBridges([]Bridge{b}))
			ok(t, harm())
			ok(t, w.r.SetBridges([]Bridge{b}))
			w.checkBridge(b)
		})
	}
}

func TestSetBridgesOnlyOurs(t *testing.T) {
	w := newWorld(t)
	foreign := netlink.NewLinkAttrs()
	foreign.Name = "foreign"
	ok(t, w.r.nl.LinkAdd(&netlink.Bridge{LinkAttrs: foreign}))
	ok(t, w.r.SetBridges(nil))
	if l, err := find(w.r.nl, "foreign"); err != nil || l == nil {
		t.Error("a foreign bridge was deleted")
	}
	// A link with a bridge's name that is none: an error, and the other bridge is made all the same.
	a, b := bridgeOf("taken", "10.42.0.0/16"), bridgeOf("free", "10.43.0.0/16")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.Name
	ok(t, w.r.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other"}))
	if err := w.r.SetBridges([]Bridge{a, b}); err == nil || !strings.Contains(err.Error(), a.Name) {
		t.Errorf("got %v, want an error that names %s", err, a.Name)
	}
	w.checkBridge(b)
	if err := w.r.SetBridges([]Bridge{{Network: "x", Name: "eth0", Pool: a.Pool, Gateway: a.Gateway}}); err == nil {
		t.Error("a bridge without our prefix was made")
	}
}

// TestEnsureBridgeOutlivesOlderFacts: the reconciler may be half way through a round that knows nothing of the network.
func TestEnsureBridgeOutlivesOlderFacts(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.r.now = func() time.Time { return now }
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetGuard([]netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}))
	ok(t, w.r.EnsureBridge(b))
	w.quiet("the same bridge", func() error { return w.r.EnsureBridge(b) })
	ok(t, w.r.SetGuard(nil))
	ok(t, w.r.SetBridges(nil))
	w.checkBridge(b)
	if got := must(w.r.guardRanges())(t); len(got) != 1 || got[0].from != addr("10.42.0.0") {
		t.Errorf("guard %v, want the new pool only", got)
	}
	ok(t, w.r.SetBridges([]Bridge{b})) // now it is known
	ok(t, w.r.SetBridges(nil))
	if l, _ := find(w.r.nl, b.Name); l != nil {
		t.Error("still there after it was known and gone")
	}
	ok(t, w.r.EnsureBridge(b))
	now = now.Add(2 * freshFor)
	ok(t, w.r.SetBridges(nil))
	if l, _ := find(w.r.nl, b.Name); l != nil {
		t.Error("still there though nobody has wanted it for long")
	}
}
