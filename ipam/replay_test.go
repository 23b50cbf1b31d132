package ipam

import (
	"maps"
	"reflect"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// The plugin asks for no replay; if one comes all the same (a Swarm's manager repeats whatever it is told), it adds nothing up.
func TestCase10ReplaysChangeNothing(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	ids := map[string]string{"default": r.network("", ""), "blue": r.network("", "", OptionNetwork, "blue")}
	for _, id := range ids {
		addr := r.mustAddress(id, "")
		r.endpoint(id, "web", addr)
	}
	before := r.Local()
	for range 3 {
		r.restart()
		for name, id := range ids { // in any order
			pool := r.Local().Pools[id]
			_, err := r.pool(pool.Pool.String(), "", OptionNetwork, name)
			refused(t, err, "already on this host")
			if got := r.mustAddress(id, pool.Fact.Gateway.String(), addressType, gatewayType); got != pool.Fact.Gateway {
				t.Errorf("gateway %v", got)
			}
			for k := range before.Leases {
				if k.Network == name && k.Addr != pool.Fact.Gateway {
					_, err := r.address(id, k.Addr.String())
					refused(t, err, "taken by container web")
				}
			}
		}
	}
	after := r.Local()
	if !maps.EqualFunc(before.Pools, after.Pools, func(a, b store.LocalPool) bool {
		return a.ID == b.ID && a.Confirmed == b.Confirmed && reflect.DeepEqual(a.Fact.Dynamic, b.Fact.Dynamic)
	}) || len(before.Leases) != len(after.Leases) || len(before.Blocks) != len(after.Blocks) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for _, e := range after.Endpoints {
		r.gone(e.Addr)
		r.release(ids[e.Network], e.Addr)
		if got := r.mustAddress(ids[e.Network], e.Addr.String()); got != e.Addr {
			t.Errorf("%v is not free after its release", e.Addr)
		}
	}
}
