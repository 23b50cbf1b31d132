package link

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkUnchangedRound is what a round of the reconciler costs on a host with two networks and fifty containers.
func BenchmarkUnchangedRound(b *testing.B) {
	w := newWorld(b)
	one, two := bridgeOf("default", "10.42.0.0/16"), bridgeOf("other", "10.43.0.0/16")
	f := Filter{Routers: netip.MustParsePrefix("100.127.0.0/16")}
	for _, x := range []Bridge{one, two} {
		f.Networks = append(f.Networks, FilterNetwork{Bridge: x.Name, Pool: x.Pool, Gateway: x.Gateway})
	}
	w.tunnel()
	var ports []Veth
	routes := manyRoutes(1000)
	for name, step := range map[string]func() error{
		"guard":   func() error { return w.r.SetGuard([]netip.Prefix{one.Pool, two.Pool}) },
		"addr":    func() error { return w.r.SetAddr(addr("100.127.0.1")) },
		"filter":  func() error { return w.r.SetFilter(f) },
		"bridges": func() error { return w.r.SetBridges([]Bridge{one, two}) },
		"ports":   func() error { return w.r.SetPorts(ports) },
		"routes":  func() error { return w.r.SetRoutes(routes) },
	} {
		if name == "ports" {
			ok(b, w.r.SetBridges([]Bridge{one, two}))
			a := addr("10.42.64.2")
			for i := range 50 {
				v := vethOf(fmt.Sprintf("%08x", i), one, a)
				ok(b, w.r.AddVeth(v))
				ports, a = append(ports, v), a.Next()
			}
		}
		if name == "routes" {
			ok(b, w.r.SetAddr(addr("100.127.0.1")))
		}
		ok(b, step())
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ok(b, step())
			}
		})
	}
}
