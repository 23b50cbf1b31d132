package link

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// newServices is a lan whose router serves UDP 53 and TCP 80, each address so often in a second; 0: as often as it likes.
func newServices(t *testing.T, rate uint32) *lan {
	w := newWorld(t, WithServices(servicesOf(rate)...))
	l := &lan{world: w, a: bridgeOf("default", "10.42.0.0/16"), b: bridgeOf("other", "10.43.0.0/16")}
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	ok(t, w.r.SetFilter(l.filter()))
	ok(t, w.r.SetBridges([]Bridge{l.a, l.b}))
	l.ca, l.cb = w.container("aa", l.a, addr("10.42.64.2")), w.container("bb", l.b, addr("10.43.64.2"))
	return l
}

func servicesOf(rate uint32) []Service {
	return []Service{{UDP: true, Port: 53, Rate: rate}, {Port: 80, Rate: rate}}
}

// onLink gives a namespace the route to the services as Docker does: by eth0, without a next hop.
func (l *lan) onLink(ns netns.NsHandle) {
	l.t.Helper()
	h := l.handle(ns)
	eth0 := must(h.LinkByName("eth0"))(l.t)
	ok(l.t, h.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: toIPNet(host(ServiceAddr))}))
}

// repeats answers datagrams at an address of the router with the sender's address.
func (l *lan) repeats(at string) {
	l.t.Helper()
	c := l.listen(l.r.ns, at)
	go func() {
		b := make([]byte, 100)
		for {
			_, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort([]byte(from.Addr().String()), from)
		}
	}()
}

// asks sends until the answer comes: the first packets may find no neighbour.
func (l *lan) asks(ns netns.NsHandle, from, to string) (answer string) {
	c := l.listen(ns, from)
	for range 5 {
		_, _ = c.WriteToUDPAddrPort([]byte("?"), netip.MustParseAddrPort(to))
		if receives(l.t, c, netip.MustParseAddrPort(from).Addr().String(), silence) {
			return netip.MustParseAddrPort(from).Addr().String()
		}
	}
	return ""
}

func TestServicesAreReachedByTheOwnAddress(t *testing.T) {
	l := newServices(t, 0)
	l.onLink(l.ca)
	l.onLink(l.cb)
	for _, at := range []string{"169.254.169.250:53", "169.254.169.250:54", "10.42.0.1:53", "100.127.0.1:53"} {
		l.repeats(at)
	}
	for from, ns := range map[string]netns.NsHandle{"10.42.64.2": l.ca, "10.43.64.2": l.cb} {
		if got := l.asks(ns, from+":0", "169.254.169.250:53"); got != from {
			t.Errorf("%s: the service sees %q", from, got)
		}
	}
	// Nothing else of the router.
	l.via(l.ca, "100.127.0.0/16", l.a.Gateway)
	for _, to := range []string{"169.254.169.250:54", "10.42.0.1:53", "100.127.0.1:53"} {
		if l.asks(l.ca, "10.42.64.2:0", to) != "" {
			t.Errorf("a container reached %s", to)
		}
	}
}

func TestServicesTakeTCPOnTheirPortsOnly(t *testing.T) {
	l := newServices(t, 0)
	l.onLink(l.ca)
	for _, port := range []string{"80", "22"} {
		ok(t, l.r.Do(func() error {
			s, err := net.Listen("tcp4", "169.254.169.250:"+port)
			if err == nil {
				t.Cleanup(func() { _ = s.Close() })
			}
			return err
		}))
	}
	dial := func(port string) error {
		return inNamespace(l.ca, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), silence)
			defer cancel()
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", "169.254.169.250:"+port)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
	eventually(t, "TCP 80 is open", func() bool { return dial("80") == nil })
	if dial("22") == nil {
		t.Error("TCP 22 of the router is open")
	}
}

// TestComplaint18ServicesNeedTheOwnAddress: who sends as somebody else is dropped at its port, so a source address is an identity.
func TestComplaint18ServicesNeedTheOwnAddress(t *testing.T) {
	l := newServices(t, 0)
	l.onLink(l.ca)
	l.repeats("169.254.169.250:53")
	l.address(l.handle(l.ca), "eth0", netip.MustParsePrefix("10.42.64.9/16"))
	if l.asks(l.ca, "10.42.64.9:0", "169.254.169.250:53") != "" {
		t.Error("a container spoke to the services with another address")
	}
	if counts := must(l.r.Drops())(t); counts[dropSource]+counts[dropARP] == 0 {
		t.Errorf("not counted: %v", counts)
	}
}

func TestServiceAddressComesAndGoesWithTheServices(t *testing.T) {
	l := newServices(t, 0)
	has := func() bool {
		h := l.handle(l.r.ns)
		for _, b := range []Bridge{l.a, l.b} {
			br := must(h.LinkByName(b.Name))(t)
			found := false
			for _, a := range must(h.AddrList(br, unix.AF_INET))(t) {
				found = found || a.IP.String() == ServiceAddr.String()
			}
			if !found {
				return false
			}
		}
		return true
	}
	set := func(r *Router) error { return r.SetBridges([]Bridge{l.a, l.b}) }
	if !has() {
		t.Fatal("no address of the services")
	}
	l.quiet("the same bridges", func() error { return set(l.r) })
	br := must(l.handle(l.r.ns).LinkByName(l.a.Name))(t)
	ok(t, l.handle(l.r.ns).AddrDel(br, &netlink.Addr{IPNet: toIPNet(host(ServiceAddr)), Scope: unix.RT_SCOPE_LINK}))
	ok(t, set(l.r))
	if !has() {
		t.Error("not repaired")
	}
	ok(t, set(l.open()))
	if has() {
		t.Error("an agent without services left their address")
	}
}

// TestGiveService: the route moves from one interface of a container to the other, and not into another container.
func TestGiveService(t *testing.T) {
	l := newServices(t, 0)
	l.repeats("169.254.169.250:53")
	sandbox := filepath.Join(l.dir, "mst-aa")
	v := vethOf("a2", l.b, addr("10.43.64.3"))
	_, port1 := EndpointLink("aa0123456789abcdef")
	if err := l.r.GiveService(sandbox, v.RouterEnd); err == nil || !strings.Contains(err.Error(), "not there") {
		t.Errorf("got %v", err)
	}
	ok(t, l.r.AddVeth(v))
	if err := l.r.GiveService(sandbox, v.RouterEnd); err == nil {
		t.Error("a route by an end that is still the host's")
	}
	for bad, word := range map[string]string{filepath.Join(l.dir, "none"): "none", l.dir: "not a network namespace"} {
		if err := l.r.GiveService(bad, port1); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	ok(t, l.r.GiveService(sandbox, port1))
	if got := l.asks(l.ca, "10.42.64.2:0", "169.254.169.250:53"); got != "10.42.64.2" {
		t.Fatalf("asked as %q", got)
	}
	// The second interface arrives, and takes over.
	end := must(l.handle(l.host).LinkByName(v.ContainerEnd))(t)
	ok(t, l.handle(l.host).LinkSetNsFd(end, int(l.ca)))
	h := l.handle(l.ca)
	if err := l.r.GiveService(sandbox, v.RouterEnd); err == nil || !strings.Contains(err.Error(), syscall.ENETDOWN.Error()) {
		t.Errorf("by a link that is down: %v", err)
	}
	l.address(h, v.ContainerEnd, netip.MustParsePrefix("10.43.64.3/16"))
	for range 2 {
		ok(t, l.r.GiveService(sandbox, v.RouterEnd))
	}
	eth0 := must(h.LinkByName("eth0"))(t)
	ok(t, h.LinkSetDown(eth0))
	if got := l.asks(l.ca, "10.43.64.3:0", "169.254.169.250:53"); got != "10.43.64.3" {
		t.Errorf("asked as %q", got)
	}
}
