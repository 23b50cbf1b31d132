package ipam

import (
	"context"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

func TestCase9ReleasesOfWhatIsUnknown(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ctx := context.Background()
	if err := r.ipam.ReleasePool(ctx, "MeshsecLocal/x/10.0.0.0/8"); err != nil {
		t.Error(err)
	}
	if err := r.ipam.ReleaseAddress(ctx, "MeshsecLocal/x/10.0.0.0/8", "10.0.0.9"); err != nil {
		t.Error(err)
	}
	id := r.network("", "")
	for _, addr := range []string{"10.42.0.9", "192.0.2.1", "fd00::1"} {
		if err := r.ipam.ReleaseAddress(ctx, id, addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	refused(t, r.ipam.ReleaseAddress(ctx, id, "nine"), "no IP address")
}

func TestCase9ReleasePoolFreesAll(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	r.mustAddress(id, "")
	r.mustAddress(id, "10.42.0.9")
	if err := r.ipam.ReleasePool(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if l := r.Local(); len(l.Pools) != 1 || len(l.Leases) != 3 {
		t.Errorf("a second Docker network's failure took the pool from the first: %v, %v", l.Pools, l.Leases)
	}
	r.update(func(l *store.Local) { clear(l.Networks) })
	for range 2 {
		if err := r.ipam.ReleasePool(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
	if l := r.Local(); len(l.Pools)+len(l.Leases)+len(l.Blocks)+len(l.Statics) != 0 {
		t.Errorf("left: %+v", l)
	}
	r.Wait("etcd to follow", func() bool { s := r.Store.Snapshot(); return len(s.Blocks)+len(s.Statics) == 0 })
}

func TestLostRepliesLeakNothingForLongerThanTwoMinutes(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	dynamic, static, held := r.mustAddress(id, ""), r.mustAddress(id, "10.42.0.9"), r.mustAddress(id, "")
	r.endpoint(id, "web", held)
	aux := r.mustPool("", "", OptionNetwork, "blue").ID
	r.mustAddress(aux, "", addressType, gatewayType)
	sweep := func() *store.Local {
		if err := r.ipam.sweep(); err != nil {
			t.Fatal(err)
		}
		return r.Local()
	}
	r.clock.Advance(unconfirmed - time.Second)
	if l := sweep(); len(l.Pools) != 2 || !l.Leases[key(l.Pools[id], dynamic)].Freed.IsZero() || len(l.Statics) != 1 {
		t.Errorf("swept too early: %+v", l)
	}
	r.restart()
	r.clock.Advance(time.Second)
	l := sweep()
	if len(l.Pools) != 1 || len(l.Statics) != 0 || l.Leases[key(l.Pools[id], dynamic)].Freed.IsZero() {
		t.Errorf("left: %+v", l)
	}
	if _, ok := l.Leases[key(l.Pools[id], static)]; ok {
		t.Error("the static address is still leased")
	}
	if !l.Leases[key(l.Pools[id], held)].Freed.IsZero() || l.Leases[key(l.Pools[id], l.Pools[id].Fact.Gateway)].Kind != store.LeaseGateway {
		t.Error("what is in use was freed")
	}
}

// Docker releases once, whatever became of its other calls.
func TestAddressesOfEndpointsThatOutliveTheirRelease(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	dynamic, static := r.mustAddress(id, ""), r.mustAddress(id, "10.42.0.9")
	r.endpoint(id, "web", dynamic)
	r.endpoint(id, "db", static)
	r.release(id, dynamic)
	r.release(id, static)
	for range 200 {
		if got := r.mustAddress(id, ""); got == dynamic {
			t.Fatal("the address of an endpoint was given away")
		}
	}
	_, err := r.address(id, "10.42.0.9")
	refused(t, err, "container db")
	r.gone(static)
	if err := r.ipam.sweep(); err != nil {
		t.Fatal(err)
	}
	if l := r.Local(); len(l.Statics) != 0 {
		t.Errorf("left: %v", l.Statics)
	}
	// Without a sandbox it was a lost DeleteEndpoint.
	last := r.mustAddress(id, "10.42.0.9")
	r.endpoint(id, "db", last)
	r.update(func(l *store.Local) {
		e := l.Endpoints["ep10.42.0.9"]
		e.Joined = false
		l.Endpoints[e.ID] = e
	})
	r.release(id, last)
	if l := r.Local(); len(l.Statics) != 0 || len(l.Endpoints) != 1 {
		t.Errorf("left: %v, %v", l.Statics, l.Endpoints)
	}
}

func TestEmptyBlocksAreReturnedAfterADay(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	addr := r.mustAddress(id, "")
	r.endpoint(id, "web", addr)
	step := func(d time.Duration) int {
		r.clock.Advance(d)
		if err := r.ipam.sweep(); err != nil {
			t.Fatal(err)
		}
		return len(r.Local().Blocks)
	}
	if step(3*memory) != 1 {
		t.Fatal("a block in use was returned")
	}
	r.gone(addr)
	r.release(id, addr)
	if step(memory-time.Second) != 1 {
		t.Error("the block was returned too early")
	}
	if n := step(time.Second); n != 0 {
		t.Errorf("%d blocks kept", n)
	}
	r.Wait("etcd to follow", func() bool { return len(r.Store.Snapshot().Blocks) == 0 })
	r.mustAddress(id, "")
}

// TestARequestForANetworkThatDockerGaveUp: the network is on this host, and Docker, which got no answer to its creation, has given
// the pool back. A second network for a pool that Docker has not given back is refused without a question.
func TestARequestForANetworkThatDockerGaveUp(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	asked, gone := 0, false
	r.ipam.o.Abandoned = func(_ context.Context, id string) bool {
		asked++
		if gone {
			r.update(func(l *store.Local) {
				delete(l.Networks, id)
				l.DropNetwork("blue")
			})
		}
		return gone
	}
	id := r.network("", "", OptionNetwork, "blue")
	_, err := r.pool("", "", OptionNetwork, "blue")
	refused(t, err, "already on this host")
	if asked != 0 {
		t.Error("asked about a network that is in use")
	}
	if err := r.ipam.ReleasePool(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, err = r.pool("", "", OptionNetwork, "blue")
	refused(t, err, "already on this host")
	gone = true
	if got := r.mustPool("", "", OptionNetwork, "blue"); got.ID != id || asked != 2 || !r.Local().Pools[id].Released.IsZero() {
		t.Errorf("%+v after %d questions", got, asked)
	}
}
