package ipam

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

func newManager(t *testing.T, e *teststore.Environment, name string) *rig {
	t.Helper()
	r := newRig(t, e, name)
	r.managed = true
	r.open()
	return r
}

// ask is the leader's RequestPool.
func (r *rig) ask(subnet, ipRange string) (PoolReply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return r.ipam.RequestPool(ctx, PoolRequest{AddressSpace: GlobalSpace, Pool: subnet, SubPool: ipRange, Options: map[string]string{"com.docker.network.ipam.serial": "true"}})
}

// lead is all that a leader asks for when a network is made, or when it has become the leader. The network driver's part is the
// fact and the name.
func (r *rig) lead(subnet, ipRange string) (id string) {
	r.t.Helper()
	reply, err := r.ask(subnet, ipRange)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mustAddress(reply.ID, "", addressType, gatewayType)
	there, err := r.Store.CreateNetwork(context.Background(), r.Local().Managed[reply.ID].Fact)
	if err != nil {
		r.t.Fatal(err)
	}
	r.update(func(l *store.Local) {
		m := l.Managed[reply.ID]
		m.Fact, m.DockerID = there, "swarm-"+there.Name
		l.Managed[m.ID] = m
	})
	r.Wait("the network's fact", func() bool { return r.Store.Snapshot().Networks[there.Name].Name != "" })
	return reply.ID
}

// The leader's address and the node's are one, with one claim: the node's. The leader's own node is like any other.
func TestALeaderAndTheNodesShareOneClaim(t *testing.T) {
	e := teststore.New(t)
	leader, node := newManager(t, e, "leader"), newManager(t, e, "node")
	const subnet = "10.60.0.0/28"
	id := leader.lead(subnet, "")
	one, two := leader.mustAddress(id, ""), leader.mustAddress(id, "")
	if one == two || len(leader.Local().Statics) != 0 {
		t.Fatalf("%v, %v, claims %v", one, two, leader.Local().Statics)
	}
	node.Wait("the network's fact", func() bool { return len(node.Store.Snapshot().Networks) == 1 })
	pool, own := node.network(subnet, ""), leader.network(subnet, "")
	node.mustAddress(pool, one.String())
	leader.mustAddress(own, two.String())
	leader.sees(node)
	if len(node.Local().Statics) != 1 || len(leader.Local().Statics) != 1 || len(node.Local().Blocks)+len(leader.Local().Blocks) != 0 {
		t.Errorf("claims: %v, %v", node.Local().Statics, leader.Local().Statics)
	}

	// What was given back is used again last, and not before the node has given it back, too.
	leader.release(id, one)
	seen := map[netip.Addr]bool{one: true, two: true, p(subnet).Addr().Next(): true}
	for range 11 {
		addr := leader.mustAddress(id, "")
		if seen[addr] || !p(subnet).Contains(addr) {
			t.Errorf("%v is given out twice, or while a node has it", addr)
		}
		seen[addr] = true
	}
	_, err := leader.address(id, "")
	refused(t, err, "no free address", subnet)
	node.release(pool, one)
	leader.Wait("the node's release", func() bool {
		_, claimed := leader.Store.Snapshot().Statics[store.AddrKey{Network: "10.60.0.0-28", Addr: one}]
		return !claimed
	})
	if again := leader.mustAddress(id, ""); again != one {
		t.Errorf("%v, not %v", again, one)
	}
}

// A new leader is told everything by Docker, and keeps off what nodes have claimed without its knowing.
func TestANewLeader(t *testing.T) {
	e := teststore.New(t)
	first, second, node := newManager(t, e, "first"), newManager(t, e, "second"), newManager(t, e, "node")
	const subnet = "10.60.0.0/28"
	id := first.lead(subnet, "")
	known, unknown := first.mustAddress(id, ""), first.mustAddress(id, "")
	node.Wait("the network's fact", func() bool { return len(node.Store.Snapshot().Networks) == 1 })
	node.mustAddress(node.network(subnet, ""), unknown.String())
	second.sees(node)
	for range 2 { // and once more, after a restart of its dockerd
		if again := second.lead(subnet, ""); again != id {
			t.Errorf("PoolID %s, was %s", again, id)
		}
		if got := second.mustAddress(id, known.String()); got != known {
			t.Errorf("%v, not %v", got, known)
		}
	}
	if got := second.mustAddress(id, ""); got == known || got == unknown {
		t.Errorf("%v is given out twice", got)
	}
	allotted := len(second.Local().Allotted)
	second.restart()
	if got := second.mustAddress(id, known.String()); got != known || len(second.Local().Allotted) != allotted {
		t.Errorf("after a restart: %v, %v", got, second.Local().Allotted)
	}
}

// What a leader asks for and may not have; --ip-range holds it, too.
func TestALeadersWrongWishes(t *testing.T) {
	e := teststore.New(t)
	r := newManager(t, e, "one")
	id := r.lead("10.60.0.0/24", "10.60.0.128/28")
	for _, c := range []struct{ addr, word string }{
		{"10.61.0.1", "outside"}, {"10.60.0.1", "gateway"}, {"10.60.0.255", "broadcast"}, {"fd00::1", "not IPv4"}, {"x", "no IP address"},
	} {
		_, err := r.address(id, c.addr)
		refused(t, err, c.word)
	}
	for range 16 {
		if addr := r.mustAddress(id, ""); !p("10.60.0.128/28").Contains(addr) {
			t.Errorf("%v is outside --ip-range", addr)
		}
	}
	_, err := r.address(id, "")
	refused(t, err, "no free address")
	_, err = r.ask("10.60.0.0/24", "")
	refused(t, err, "already the Swarm's")
	_, err = r.ask("10.60.0.0/20", "")
	refused(t, err, "overlaps")
	_, err = r.address(id, "10.60.0.9", addressType, gatewayType)
	refused(t, err, "--gateway")
	_, err = r.ipam.RequestPool(t.Context(), PoolRequest{AddressSpace: GlobalSpace, Pool: "10.62.0.0/16", Options: map[string]string{OptionBlock: "27"}})
	refused(t, err, OptionBlock)
	local := newRig(t, e, "local")
	_, err = local.ask("10.62.0.0/16", "")
	refused(t, err, "SCOPE=global")
}

// A pool ends with the release that follows FreeNetwork, or by itself when no network came of it, and everything that was
// allotted with it.
func TestTheEndOfAManagedPool(t *testing.T) {
	r := newManager(t, teststore.New(t), "one")
	id := r.lead("10.60.0.0/24", "")
	r.mustAddress(id, "")
	if err := r.ipam.ReleasePool(t.Context(), id); err != nil || len(r.Local().Managed) != 1 {
		t.Errorf("released while the Swarm has its network: %v", err)
	}
	freed := func() {
		r.update(func(l *store.Local) {
			m := l.Managed[id]
			m.DockerID = ""
			l.Managed[id] = m
		})
	}
	freed()
	if err := r.ipam.ReleasePool(t.Context(), id); err != nil || len(r.Local().Managed)+len(r.Local().Allotted) != 0 {
		t.Errorf("%v, left %v", err, r.Local())
	}
	r.lead("10.60.0.0/24", "")
	r.mustAddress(id, "")
	freed() // and the release is lost
	r.clock.Advance(unconfirmed)
	if err := r.ipam.sweep(); err != nil || len(r.Local().Managed)+len(r.Local().Allotted) != 0 {
		t.Errorf("%v, left %v", err, r.Local())
	}
}
