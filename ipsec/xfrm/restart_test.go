package xfrm

import (
	"fmt"
	"testing"
	"time"

	"github.com/meshsec/meshsec/ipsec"
)

// The agent ends and another takes over: the kernel goes on, before and while there are new SAs. With protocol 50 nothing
// is lost, with UDP what arrives while there is no socket.
func TestKernelRestartLosesNothing(t *testing.T) {
	for _, encap := range []ipsec.Encap{ipsec.EncapESP, ipsec.EncapUDP} {
		t.Run(string(encap), func(t *testing.T) { restart(t, pair{encap, ipsec.AES256GCM}) })
	}
}

func restart(t *testing.T, p pair) {
	a, b := newHosts(t)
	k := key(a, b, p, 0x1000)
	if n := a.ping(b, 3, "0.01"); n != 3 {
		t.Fatalf("%d of 3 pings answered before", n)
	}
	f, g := a.begin(b, 0, "0.01"), b.begin(a, 0, "0.01")
	var away time.Duration
	for range 3 {
		began := time.Now()
		a.stop()
		a.start()
		away += time.Since(began)
		// Before its handshakes, the new agent knows no SAs.
		c := a.config(b, p, 0, 0)
		c.Peers[0].In, c.Peers[0].Out = nil, nil
		a.set(c)
		inv := a.inventory()
		if len(inv.States) < 2 {
			t.Fatalf("the SAs of the agent before are gone: %v", inv.world)
		}
		old := inv.Policies[policyKey{out, a.ifID(b)}]
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
	for _, f := range []*flow{f, g} {
		sent, received := f.finish(t, true)
		if p.encap == ipsec.EncapESP {
			lost(t, sent, received, a, b)
		} else if received == 0 {
			t.Error("all lost")
		}
		fmt.Printf("figure: three restarts of the plane, %s, 100 packets per second: %d of %d lost in all; without socket for at most %s in all\n",
			p.encap, sent-received, sent, away.Round(time.Millisecond))
	}
	// The grace ends.
	plane := a.plane.(*Plane)
	eventually(t, "the plane has seen packets on the new SA", func() bool {
		plane.mu.Lock()
		defer plane.mu.Unlock()
		return !plane.proven[b.name].IsZero()
	})
	plane.mu.Lock()
	plane.now = func() time.Time { return time.Now().Add(keepAdopted) }
	plane.mu.Unlock()
	eventually(t, "the old SAs' end", func() bool { return len(a.inventory().States) == 2 })
}

// ifID is that of a peer.
func (h *host) ifID(other *host) uint32 {
	p := h.plane.(*Plane)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ids[other.name]
}

func (h *host) inventory() inventory {
	h.t.Helper()
	inv, err := h.plane.(*Plane).kernel.list()
	h.must(err)
	return inv
}
