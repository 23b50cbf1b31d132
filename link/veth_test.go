package link

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// checkVeth fails unless both ends are as AddVeth leaves them.
func (w *world) checkVeth(v Veth) {
	w.t.Helper()
	port, err1 := w.r.nl.LinkByName(v.RouterEnd)
	end, err2 := w.handle(w.host).LinkByName(v.ContainerEnd)
	bridge, err3 := w.r.nl.LinkByName(v.Bridge)
	if err1 != nil || err2 != nil || err3 != nil {
		w.t.Fatalf("%s: %v, %v, %v", v.RouterEnd, err1, err2, err3)
	}
	p, e := port.Attrs(), end.Attrs()
	if p.MasterIndex != bridge.Attrs().Index || p.MTU != v.MTU || p.RawFlags&1 == 0 {
		w.t.Errorf("router end: master %d, MTU %d, flags %s", p.MasterIndex, p.MTU, p.Flags)
	}
	if e.MTU != v.MTU || e.HardwareAddr.String() != v.MAC.String() || e.RawFlags&1 != 0 || p.ParentIndex != e.Index {
		w.t.Errorf("container's end: MTU %d, MAC %s, flags %s, pair %v", e.MTU, e.HardwareAddr, e.Flags, p.ParentIndex == e.Index)
	}
}

func TestAddVeth(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	v := vethOf("aa", b, addr("10.42.64.2"))
	if err := w.r.AddVeth(v); err == nil || !strings.Contains(err.Error(), b.Name) {
		t.Errorf("without its bridge: got %v", err)
	}
	ok(t, w.r.SetBridges([]Bridge{b}))
	ok(t, w.r.AddVeth(v))
	w.checkVeth(v)
	w.quiet("the same pair", func() error { return w.r.AddVeth(v) })
	if got := must(w.r.Veths())(t); !slices.Equal(got, []string{v.RouterEnd}) {
		t.Errorf("Veths: %v", got)
	}
	ok(t, w.r.DelVeth(v.ContainerEnd, v.RouterEnd))
	w.quiet("deleting it again", func() error { return w.r.DelVeth(v.ContainerEnd, v.RouterEnd) })
	if got := must(w.r.Veths())(t); len(got) != 0 {
		t.Errorf("Veths: %v", got)
	}
}

func TestAddVethRepairs(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	v := vethOf("aa", b, addr("10.42.64.2"))
	host := w.handle(w.host)
	port := func() netlink.Link { return must(w.r.nl.LinkByName(v.RouterEnd))(t) }
	end := func() netlink.Link { return must(host.LinkByName(v.ContainerEnd))(t) }
	sandbox := w.namespace("mst-sandbox")
	for name, harm := range map[string]func() error{
		"port out of bridge": func() error { return w.r.nl.LinkSetNoMaster(port()) },
		"port down":          func() error { return w.r.nl.LinkSetDown(port()) },
		"port MTU":           func() error { return w.r.nl.LinkSetMTU(port(), 1200) },
		"end MTU":            func() error { return host.LinkSetMTU(end(), 1200) },
		"end MAC":            func() error { return host.LinkSetHardwareAddr(end(), mac("02:00:00:00:00:01")) },
		"end in a sandbox":   func() error { return host.LinkSetNsFd(end(), int(sandbox)) },
		"deleted":            func() error { return host.LinkDel(end()) },
		"port elsewhere":     func() error { return w.r.nl.LinkSetNsFd(port(), int(sandbox)) },
	} {
		t.Run(name, func(t *testing.T) {
			ok(t, w.r.AddVeth(v))
			ok(t, harm())
			ok(t, w.r.AddVeth(v))
			w.checkVeth(v)
		})
	}
}

func TestDelVethFindsEitherEnd(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	v := vethOf("aa", b, addr("10.42.64.2"))
	w.container("aa", b, addr("10.42.64.2")) // the end is in the container, under another name
	ok(t, w.r.DelVeth(v.ContainerEnd, v.RouterEnd))
	if got := must(w.r.Veths())(t); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	ok(t, w.r.AddVeth(v))
	ok(t, w.r.nl.LinkSetNsFd(must(w.r.nl.LinkByName(v.RouterEnd))(t), int(w.namespace("mst-else"))))
	ok(t, w.r.DelVeth(v.ContainerEnd, v.RouterEnd))
	if l, err := find(w.handle(w.host), v.ContainerEnd); l != nil || err != nil {
		t.Errorf("left: %v, %v", l, err)
	}
}

func TestVethOnlyOurs(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	host := w.handle(w.host)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	ok(t, host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth1"}))
	if w.r.DelVeth("eth0", "mvaa") == nil || w.r.DelVeth("msaa", "eth0") == nil {
		t.Error("deletes links without our prefix")
	}
	attrs.Name = "msaa01234567"
	ok(t, host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	v := vethOf("aa", b, addr("10.42.64.2"))
	if w.r.AddVeth(v) == nil || w.r.DelVeth(v.ContainerEnd, v.RouterEnd) == nil {
		t.Error("takes a bridge for a veth")
	}
	if _, err := host.LinkByName(attrs.Name); err != nil {
		t.Errorf("the bridge is gone: %v", err)
	}
}

func TestSetPorts(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.r.now = func() time.Time { return now }
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	v, gone := vethOf("aa", b, addr("10.42.64.2")), vethOf("bb", b, addr("10.42.64.3"))
	ok(t, w.r.AddVeth(v))
	w.quiet("ports as they should be", func() error { return w.r.SetPorts([]Veth{v, gone}) })

	// The bridge was deleted and made anew: its ports are loose.
	ok(t, w.r.nl.LinkDel(must(w.r.nl.LinkByName(b.Name))(t)))
	if err := w.r.SetPorts([]Veth{v}); err == nil || !strings.Contains(err.Error(), b.Name) {
		t.Errorf("without the bridge: %v", err)
	}
	ok(t, w.r.SetBridges([]Bridge{b}))
	ok(t, w.r.SetPorts([]Veth{v}))
	w.checkVeth(v)

	foreign := netlink.NewLinkAttrs()
	foreign.Name = "eth9"
	ok(t, w.r.nl.LinkAdd(&netlink.Veth{LinkAttrs: foreign, PeerName: "eth8"}))
	ok(t, w.r.SetPorts(nil))
	w.checkVeth(v) // perhaps only too new for these facts
	now = now.Add(orphanFor / 2)
	ok(t, w.r.SetPorts([]Veth{v})) // wanted again: the time starts anew
	ok(t, w.r.SetPorts(nil))
	now = now.Add(orphanFor / 2)
	ok(t, w.r.SetPorts(nil))
	w.checkVeth(v)
	ok(t, w.r.AddVeth(v)) // Docker asks for it again: the same
	now = now.Add(orphanFor / 2)
	ok(t, w.r.SetPorts(nil))
	w.checkVeth(v)
	now = now.Add(orphanFor)
	ok(t, w.r.SetPorts(nil))
	if got := must(w.r.Veths())(t); len(got) != 0 {
		t.Errorf("orphans left: %v", got)
	}
	if _, err := w.r.nl.LinkByName("eth9"); err != nil {
		t.Errorf("a foreign veth is gone: %v", err)
	}
}
