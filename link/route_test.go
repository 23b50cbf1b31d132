package link

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// manyRoutes gives n /32 routes into the tunnel.
func manyRoutes(n int) []Route {
	out := make([]Route, n)
	a := addr("10.42.0.2")
	for i := range out {
		out[i] = Route{Dst: netip.PrefixFrom(a, 32), Dev: TunName, Src: addr("100.127.0.1"), MTU: 1438}
		a = a.Next()
	}
	return out
}

// routed lists the routes of a protocol as text.
func (w *world) routed(protocol int) map[string]bool {
	w.t.Helper()
	got := map[string]bool{}
	filter := &netlink.Route{Protocol: netlink.RouteProtocol(protocol)}
	for _, r := range must(w.r.nl.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL))(w.t) {
		got[fmt.Sprintf("%s src %s mtu %d metric %d", r.Dst, r.Src, r.MTU, r.Priority)] = true
	}
	return got
}

func TestSetRoutes(t *testing.T) {
	w := newWorld(t)
	w.tunnel()
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	want := manyRoutes(1000) // several batches
	ok(t, w.r.SetRoutes(want))
	got := w.routed(RouteProtocol)
	if len(got) != 1000 || !got["10.42.0.2/32 src 100.127.0.1 mtu 1438 metric 109"] {
		t.Fatalf("%d routes, such as %v", len(got), first(got))
	}
	w.quiet("the same routes", func() error { return w.r.SetRoutes(want) })

	// Some gone, one changed, one more.
	want = append(want[:500], Route{Dst: netip.MustParsePrefix("100.127.0.9/32"), Dev: TunName, Src: addr("100.127.0.1"), MTU: 1438})
	want[7].MTU = 1300
	ok(t, w.r.SetRoutes(want))
	got = w.routed(RouteProtocol)
	if len(got) != 501 || !got["10.42.0.9/32 src 100.127.0.1 mtu 1300 metric 109"] || !got["100.127.0.9/32 src 100.127.0.1 mtu 1438 metric 109"] {
		t.Errorf("%d routes", len(got))
	}
	ok(t, w.r.SetRoutes(nil))
	if got := w.routed(RouteProtocol); len(got) != 0 {
		t.Errorf("left: %v", first(got))
	}
	w.quiet("no routes, again", func() error { return w.r.SetRoutes(nil) })
}

func first(m map[string]bool) string {
	for k := range m {
		return k
	}
	return ""
}

// Changes without a look: what is added may be there already, what is deleted may be gone, and nothing else is touched.
func TestChangeRoutes(t *testing.T) {
	w := newWorld(t)
	w.tunnel()
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	want := manyRoutes(600) // several batches
	ok(t, w.r.ChangeRoutes(want[:300], nil))
	ok(t, w.r.ChangeRoutes(want[200:], want[:100]))
	if got := w.routed(RouteProtocol); len(got) != 500 || got["10.42.0.2/32 src 100.127.0.1 mtu 1438 metric 109"] {
		t.Errorf("%d routes, such as %v", len(got), first(got))
	}
	ok(t, w.r.ChangeRoutes(nil, want[:101]))
	changed := want[599]
	changed.MTU = 1300
	gone := want[300]
	gone.Dev = "ms-gone"
	ok(t, w.r.ChangeRoutes([]Route{changed}, []Route{gone}))
	err := w.r.ChangeRoutes([]Route{gone, want[0]}, nil)
	if err == nil || !strings.Contains(err.Error(), "ms-gone") {
		t.Errorf("routes to a device that is not there: %v", err)
	}
	w.quiet("no change", func() error { return w.r.ChangeRoutes(nil, nil) })
	want[599] = changed
	w.quiet("the same routes as a whole", func() error { return w.r.SetRoutes(append(want[101:], want[0])) })
}

func TestSetRoutesLeavesForeignOnes(t *testing.T) {
	w := newWorld(t)
	w.tunnel()
	tun := must(w.r.nl.LinkByName(TunName))(t)
	foreign := func(dst string, metric int) *netlink.Route {
		return &netlink.Route{Dst: must(netlink.ParseIPNet(dst))(t), LinkIndex: tun.Attrs().Index, Scope: netlink.SCOPE_LINK, Protocol: unix.RTPROT_STATIC, Priority: metric}
	}
	ok(t, w.r.nl.RouteAdd(foreign("10.42.0.2/32", 0))) // to the same destination
	ok(t, w.r.nl.RouteAdd(foreign("10.99.0.0/16", 0)))
	other := foreign("10.98.0.0/16", 0)
	other.Protocol, other.Table = RouteProtocol, 100 // our number in another table is not ours
	ok(t, w.r.nl.RouteAdd(other))
	want := manyRoutes(10)
	for i := range want {
		want[i].Src = netip.Addr{}
	}
	for range 2 {
		ok(t, w.r.SetRoutes(want))
		ok(t, w.r.SetRoutes(nil))
	}
	if got := w.routed(unix.RTPROT_STATIC); len(got) != 2 {
		t.Errorf("foreign routes: %v", got)
	}
	if got := must(w.r.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 100}, netlink.RT_FILTER_TABLE))(t); len(got) != 1 {
		t.Errorf("table 100: %v", got)
	}
}

func TestSetRoutesRepairs(t *testing.T) {
	w := newWorld(t)
	w.tunnel()
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	want := manyRoutes(300)
	ok(t, w.r.SetRoutes(want))
	tun := must(w.r.nl.LinkByName(TunName))(t)
	ok(t, w.r.nl.LinkSetDown(tun)) // takes the routes along
	if len(w.routed(RouteProtocol)) != 0 {
		t.Fatal("the routes stayed, the test proves nothing")
	}
	ok(t, w.r.SetTunnel(TunName, 1438, 0))
	ok(t, w.r.SetRoutes(want))
	if got := w.routed(RouteProtocol); len(got) != 300 {
		t.Errorf("%d routes", len(got))
	}
}

func TestSetRoutesGoesOnAfterFailures(t *testing.T) {
	w := newWorld(t)
	w.tunnel()
	want := manyRoutes(600) // their source address is not there: each of them fails
	good := Route{Dst: netip.MustParsePrefix("10.43.0.1/32"), Dev: TunName}
	err := w.r.SetRoutes(append(want, good, Route{Dst: netip.MustParsePrefix("10.43.0.2/32"), Dev: "ms-none"},
		Route{Dst: netip.MustParsePrefix("2001:db8::/64"), Dev: TunName}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"route 10.42.0.2/32: invalid argument", "and 595 more", "ms-none (1): no such link", "2001:db8::/64: not IPv4"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if got := w.routed(RouteProtocol); len(got) != 1 {
		t.Errorf("%d routes, want the good one", len(got))
	}
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	ok(t, w.r.SetRoutes(append(want, good)))
	if got := w.routed(RouteProtocol); len(got) != 601 {
		t.Errorf("%d routes after the cause was gone", len(got))
	}
}

func TestParseRouteTakesAnything(t *testing.T) {
	good := routeChange{dst: netip.MustParsePrefix("10.42.0.2/32"), row: routeRow{dev: 7, src: addr("100.127.0.1"), mtu: 1438}}
	body := good.message().body
	dst, row, mine := parseRoute(body)
	if !mine || dst != good.dst || row != good.row {
		t.Fatalf("got %v %v %v", dst, row, mine)
	}
	for n := range body {
		parseRoute(body[:n])
		for _, v := range []byte{0, 1, 3, 0xff} {
			b := append([]byte(nil), body...)
			b[n] = v
			parseRoute(b)
		}
	}
}

func BenchmarkSetRoutes(b *testing.B) {
	for _, n := range []int{1000, 65000} {
		w := newWorld(b)
		w.tunnel()
		ok(b, w.r.SetAddr(addr("100.127.0.1")))
		want := manyRoutes(n)
		b.Run(fmt.Sprintf("add and delete %d", n), func(b *testing.B) {
			for b.Loop() {
				ok(b, w.r.SetRoutes(want))
				ok(b, w.r.SetRoutes(nil))
			}
			b.ReportMetric(float64(2*n)*float64(b.N)/b.Elapsed().Seconds(), "routes/s")
		})
		ok(b, w.r.SetRoutes(want))
		b.Run(fmt.Sprintf("unchanged %d", n), func(b *testing.B) {
			for b.Loop() {
				ok(b, w.r.SetRoutes(want))
			}
		})
	}
}
