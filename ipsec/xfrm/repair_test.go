package xfrm

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// repairWithin is how long the plane may take to find out and to put things right.
const repairWithin = 5 * time.Second

// Whatever is done to the kernel's objects while packets flow: nothing leaves in the clear, and it is repaired.
func TestKernelSabotage(t *testing.T) {
	a, b := newHosts(t)
	key(a, b, usual, 0x1000)
	dev := func(h, other *host) string { return deviceName(other.name, false) }
	inRouter := func(h *host, args string) {
		h.must(h.router.Do(func() error { ip(h.t, args); return nil }))
	}
	// replace puts a device of another kind in the place of the one to b, against a plane that has it back in no time.
	replace := func(t *testing.T, kind string) {
		eventually(t, "the interface replaced", func() bool {
			_ = a.router.Do(func() error { return exec.Command("ip", "link", "del", dev(a, b)).Run() })
			add := strings.Fields("link add " + dev(a, b) + " " + kind)
			return a.router.Do(func() error { return exec.Command("ip", add...).Run() }) == nil
		})
	}
	for _, c := range []struct {
		what string
		do   func(t *testing.T)
	}{
		{"SAs flushed", func(t *testing.T) { ip(t, "-n "+a.ns+" xfrm state flush") }},
		{"SAs flushed at both", func(t *testing.T) { ip(t, "-n "+a.ns+" xfrm state flush"); ip(t, "-n "+b.ns+" xfrm state flush") }},
		{"policies flushed", func(t *testing.T) { ip(t, "-n "+a.ns+" xfrm policy flush") }},
		{"all flushed", func(t *testing.T) { ip(t, "-n "+a.ns+" xfrm policy flush"); ip(t, "-n "+a.ns+" xfrm state flush") }},
		{"outbound policy turned to nothing", func(t *testing.T) {
			id := a.ifID(b)
			ip(t, fmt.Sprintf("-n %s xfrm policy update dir out if_id %#x tmpl src 192.0.2.1 dst 192.0.2.77 proto esp reqid 7 mode tunnel", a.ns, id))
		}},
		{"policy that lets everything through", func(t *testing.T) {
			id := a.ifID(b)
			ip(t, fmt.Sprintf("-n %s xfrm policy update dir out if_id %#x", a.ns, id))
		}},
		{"interface down", func(*testing.T) { inRouter(a, "link set "+dev(a, b)+" down") }},
		{"interface deleted", func(*testing.T) { inRouter(a, "link del "+dev(a, b)) }},
		{"interface with another MTU and filter", func(t *testing.T) {
			inRouter(a, "link set "+dev(a, b)+" mtu 500")
			a.must(a.router.Do(func() error {
				return os.WriteFile("/proc/sys/net/ipv4/conf/"+dev(a, b)+"/rp_filter", []byte("2"), 0)
			}))
		}},
		{"interface that uses the router's SAs", func(t *testing.T) {
			replace(t, fmt.Sprintf("type xfrm if_id %#x", a.ifID(b)))
		}},
		{"interface bound to another device", func(t *testing.T) { replace(t, "type xfrm dev lo if_id 7") }},
		{"interface that is none of IPsec", func(t *testing.T) { replace(t, "type bridge") }},
		{"module path broken", func(t *testing.T) {
			breakModulePath(t)
			ip(t, "-n "+a.ns+" xfrm policy flush")
			ip(t, "-n "+a.ns+" xfrm state flush")
			inRouter(a, "link del "+dev(a, b))
		}},
		{"routes deleted", func(*testing.T) { inRouter(a, "route flush proto 109") }},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			if n := a.ping(b, 3, "0.01"); n != 3 {
				t.Fatalf("%d of 3 pings answered before", n)
			}
			underlay, far := listen(t, a, a.ns, "ul0"), listen(t, b, b.ns, "ul0")
			f := a.begin(b, 0, "0.02")
			g := b.begin(a, 0, "0.02")
			eventually(t, "packets on the underlay", func() bool { return underlay.sealed.Load() > 20 })
			c.do(t)
			within(t, repairWithin, "whole again", func() bool { return whole(t, a, b) && whole(t, b, a) })
			within(t, repairWithin, "answers again", func() bool { return a.ping(b, 1, "1") == 1 && b.ping(a, 1, "1") == 1 })
			f.finish(t, true)
			g.finish(t, true)
			underlay.dry(t)
			far.dry(t)
		})
	}
}

// whole tells whether the kernel has all that a host with one peer needs, right now.
func whole(t testing.TB, h, other *host) bool {
	t.Helper()
	p := h.plane.(*Plane)
	inv, err := p.kernel.list()
	h.must(err)
	d := inv.Devices[deviceName(other.name, false)]
	if !d.Up || !d.Strict || d.MTU != 1438 || d.IfID == 0 {
		return false
	}
	for _, dir := range []direction{in, fwd} {
		if inv.Policies[policyKey{dir, d.IfID}].Dst != h.addr.Addr() {
			return false
		}
	}
	o := inv.Policies[policyKey{out, d.IfID}]
	_, there := inv.States[stateKey{o.Dst, o.SPI}]
	routes := 0
	h.must(h.router.Do(func() error {
		routes = strings.Count(ip(t, "route show proto 109"), " dev "+d.Name)
		return nil
	}))
	return there && o.Dst == other.addr.Addr() && routes == 2
}
