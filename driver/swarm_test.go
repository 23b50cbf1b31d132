package driver

import (
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/ipam"
)

const swarmNet = "sd95na8w2f8mrct0ynm9fpvgn"

// dockerd keeps a Swarm's networks nowhere: when it was killed it makes the same one again, and has none of its endpoints.
func TestASwarmNetworkIsMadeAgainAfterAKillOfDockerd(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(swarmNet, "blue")
	r.start(swarmNet, pool, "ep1", "web.1")
	r.restart()
	if again := r.network(swarmNet, "blue"); again != pool {
		t.Errorf("the pool is %s, was %s", again, pool)
	}
	r.linkless()
	if l := r.Local(); len(l.Endpoints) != 0 || len(l.Networks) != 1 {
		t.Errorf("%+v", l)
	}
	r.end(swarmNet, pool, "ep2", r.start(swarmNet, pool, "ep2", "web.1"))
	r.remove(swarmNet, pool)
	r.linkless()
	if l := r.Local(); len(l.Networks)+len(l.Pools)+len(l.Leases) != 0 {
		t.Errorf("left: %+v", l)
	}
}

// Another network with the pool of a Swarm's is refused when its ID is known, and the refusal takes nothing away.
func TestASecondNetworkBesideASwarms(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool := r.network(swarmNet, "blue")
	addr := r.start(swarmNet, pool, "ep1", "web.1")
	second, data := r.pool("blue")
	err := r.driver.CreateNetwork(t.Context(), request(net1, data))
	refused(t, err, "blue", "already on this host", swarmNet[:12])
	if err := r.ipam.ReleasePool(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, ok := veth(r, "ep1"); !ok || len(r.Local().Endpoints) != 1 {
		t.Error("the Swarm's endpoint is gone")
	}
	_, err = r.ipam.RequestPool(t.Context(), ipam.PoolRequest{AddressSpace: ipam.LocalSpace, Pool: data.Pool, SubPool: "10.43.128.0/24"})
	refused(t, err, "already on this host")
	r.end(swarmNet, pool, "ep1", addr)
}
