package xfrm

import (
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// The agent ends and another takes over: with protocol 50 the kernel loses nothing, before and while there are new SAs.
func TestKernelRestartLosesNothing(t *testing.T) {
	p := pair{ipsec.EncapESP, ipsec.AES256GCM}
	a, b := newHosts(t)
	k := key(a, b, p, 0x1000)
	if n := a.ping(b, 3, "0.01"); n != 3 {
		t.Fatalf("%d of 3 pings answered before", n)
	}
	f, g := a.begin(b, 0, "0.01"), b.begin(a, 0, "0.01")
	for range 3 {
		a.stop()
		a.start()
		// Before its handshakes, the new agent knows no SAs.
		c := a.config(b, p, 0, 0)
		c.Peers[0].In, c.Peers[0].Out = nil, nil
		a.set(c)
		inv := a.inventory()
		if len(inv.States) < 2 {
			t.Fatalf("the SAs of the agent before are gone: %v", inv.world)
		}
		old := inv.Policies[policyKey{out, a.plane.(*Plane).ids[b.name]}]
		if old.SPI == 0 {
			t.Fatalf("the outbound policy of the agent before is gone: %v", inv.world)
		}
		k.follow(a)
		k.forget(a)
		k.rekey()
		eventually(t, "packets on the new SA", func() bool {
			return a.inventory().counters[stateKey{a.addr.Addr(), k.current()}].Packets > 10
		})
		inv = a.inventory()
		if _, there := inv.States[stateKey{a.addr.Addr(), k.current() - 2}]; !there {
			t.Error("the inbound SA of the agent before has no grace")
		}
	}
	for who, f := range map[string]*flow{a.name: f, b.name: g} {
		if sent, received := f.finish(t, true); sent != received {
			t.Errorf("from %s: %d of %d lost", who, sent-received, sent)
		}
	}
	// The grace ends.
	plane := a.plane.(*Plane)
	plane.mu.Lock()
	plane.now = func() time.Time { return time.Now().Add(keepAdopted) }
	plane.mu.Unlock()
	eventually(t, "the old SAs' end", func() bool { return len(a.inventory().States) == 2 })
}

func (h *host) inventory() inventory {
	h.t.Helper()
	inv, err := h.plane.(*Plane).kernel.list()
	h.must(err)
	return inv
}
