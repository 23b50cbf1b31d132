package plugin

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// check compares what the plugin has with what Docker has: no address is held twice, and checkpoint, etcd and links say the same.
func (e *dockerd) check(when string) {
	e.t.Helper()
	held := map[string]string{}
	e.running.Range(func(id, addr any) bool {
		if other, twice := held[addr.(string)]; twice {
			e.t.Errorf("%s: %v is held by %s and %s", when, addr, other, id)
		}
		held[addr.(string)] = id.(string)
		return true
	})
	e.later.Add(int64(3 * time.Minute))
	e.settle(when, func() string {
		return e.differs(held)
	})
}

// settle waits until check finds nothing, with a new agent where this one dies meanwhile.
func (e *dockerd) settle(when string, check func() string) {
	e.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(wait)
	for {
		e.rise()
		e.reconcile()
		found := check()
		if found == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			e.t.Fatalf("%s: %s", when, found)
		}
	}
}

func (e *dockerd) differs(held map[string]string) string {
	local, snap := e.cp.Local(), e.st.Snapshot()
	bits := netip.MustParsePrefix(e.subnet).Bits()
	for addr, id := range held {
		if got := netip.PrefixFrom(local.Endpoints[id].Addr, bits).String(); got != addr {
			return fmt.Sprintf("endpoint %s has %s, Docker has %s", id, got, addr)
		}
	}
	facts := map[string]string{}
	for k, f := range snap.EachEndpoint {
		addr := netip.PrefixFrom(k.Addr, bits).String()
		facts[addr] = f.ID
		if _, gone := e.lost.Load(f.ID); held[addr] != f.ID && !gone {
			return fmt.Sprintf("etcd has %s of %v, which Docker has not", f.ID, k.Addr)
		}
	}
	for addr, id := range held {
		if facts[addr] != id {
			return fmt.Sprintf("etcd has %q for %s, Docker has %s", facts[addr], addr, id)
		}
	}
	for k, lease := range local.Leases {
		addr := netip.PrefixFrom(k.Addr, bits).String()
		if _, ok := held[addr]; lease.Kind == store.LeaseEndpoint && lease.Freed.IsZero() && !ok {
			if !e.wasLost(addr) {
				return fmt.Sprintf("the lease of %s, which Docker does not hold", addr)
			}
		}
	}
	veths, _ := e.links.Veths()
	if len(veths) != len(local.Endpoints) {
		return fmt.Sprintf("%d veths, %d endpoints", len(veths), len(local.Endpoints))
	}
	return ""
}

func (e *dockerd) wasLost(addr string) (lost bool) {
	e.lost.Range(func(_, a any) bool {
		lost = a == addr
		return !lost
	})
	return lost
}

// reconcile does what the reconciler does with ports of no endpoint.
func (e *dockerd) reconcile() {
	here := map[string]bool{}
	for id := range e.cp.Local().Endpoints {
		_, end := link.EndpointLink(id)
		here[end] = true
	}
	veths, _ := e.links.Veths()
	for _, end := range veths {
		if !here[end] {
			_ = e.links.DelVeth("", end)
		}
	}
}
