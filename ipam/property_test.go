package ipam

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
)

// world is what Docker on two hosts believes in: the oracle.
type world struct {
	*rand.Rand
	t     *testing.T
	hosts []*rig
	id    string
	live  map[netip.Addr]*rig // addresses of endpoints, and whose they are
	given map[netip.Addr]*rig // addresses whose endpoint has not been made yet
}

// Invariant 3: whatever the order of requests, releases, lost calls, crashes and leaps of the clock, no address is held by two.
func TestNeverTwice(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			e := teststore.New(t)
			w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, hosts: []*rig{newRig(t, e, "one"), newRig(t, e, "two")},
				live: map[netip.Addr]*rig{}, given: map[netip.Addr]*rig{}}
			for n, r := range w.hosts {
				r.Wait("the network", func() bool { return n == 0 || len(r.Store.Snapshot().Networks) == 1 })
				w.id = r.network("10.50.0.0/26", "")
			}
			for range 400 {
				w.step()
			}
		})
	}
}

func (w *world) step() {
	r := w.hosts[w.IntN(2)]
	switch n := w.IntN(20); {
	case n < 7:
		w.start(r, "")
	case n < 9:
		w.start(r, fmt.Sprintf("10.50.0.%d", w.IntN(64)))
	case n < 10: // the reply gets lost
		if addr, err := r.address(w.id, ""); err == nil {
			w.check(r, addr.Addr())
			w.given[addr.Addr()] = r
		}
	case n < 14:
		w.stop(true, true)
	case n < 15: // ReleaseAddress gets lost
		w.stop(true, false)
	case n < 16: // DeleteEndpoint gets lost: the container may go on
		w.stop(false, true)
	case n < 17:
		r.restart()
	case n < 18:
		w.pass(r, time.Duration(w.Int64N(int64(3*unconfirmed))))
	case n < 19:
		r.clock.Advance(-time.Duration(w.Int64N(int64(unconfirmed))))
	default:
		w.pass(r, memory)
	}
}

// start is RequestAddress, CreateEndpoint, Join.
func (w *world) start(r *rig, addr string) {
	name := fmt.Sprint("c", w.IntN(10))
	got, err := r.address(w.id, addr, endpointName, name)
	if err != nil {
		return // taken, reserved, or all are
	}
	if addr == "" || w.given[got.Addr()] != r { // one that is asked for again after a lost reply is no second one
		w.check(r, got.Addr())
	}
	delete(w.given, got.Addr())
	w.live[got.Addr()] = r
	r.endpoint(w.id, name, got.Addr())
}

func (w *world) check(r *rig, addr netip.Addr) {
	w.t.Helper()
	for what, holders := range map[string]map[netip.Addr]*rig{"an endpoint": w.live, "a request": w.given} {
		if holder, held := holders[addr]; held {
			w.t.Fatalf("%v was given away by host %s while %s of host %s holds it", addr, r.ID, what, holder.ID)
		}
	}
}

// stop is DeleteEndpoint, ReleaseAddress for any container.
func (w *world) stop(deletes, releases bool) {
	addrs := slices.SortedFunc(maps.Keys(w.live), netip.Addr.Compare)
	if len(addrs) == 0 {
		return
	}
	addr := addrs[w.IntN(len(addrs))]
	r := w.live[addr]
	if deletes {
		delete(w.live, addr)
		r.gone(addr)
	}
	if releases {
		r.release(w.id, addr)
	}
}

// pass lets time go by on a host, which sweeps.
func (w *world) pass(r *rig, d time.Duration) {
	r.clock.Advance(d)
	if err := r.ipam.sweep(); err != nil {
		w.t.Error(err)
	}
	l := r.Local()
	for addr, holder := range w.given {
		lease, leased := l.Leases[key(l.Pools[w.id], addr)]
		if holder == r && (!leased || !lease.Freed.IsZero()) {
			delete(w.given, addr) // after two minutes
		}
	}
}
