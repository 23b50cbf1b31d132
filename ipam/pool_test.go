package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

func TestCase7PoolsByNameAndSubnet(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	for _, c := range []struct {
		subnet, ipRange string
		options         []string
		id              string
	}{
		{"", "", nil, "MeshsecLocal/default/10.42.0.0/16"},
		{"10.50.0.0/16", "", nil, "MeshsecLocal/10.50.0.0-16/10.50.0.0/16"},
		{"10.51.0.0/16", "10.51.5.0/24", nil, "MeshsecLocal/10.51.0.0-16/10.51.0.0/16/10.51.5.0/24"},
		{"", "", []string{OptionNetwork, "blue"}, "MeshsecLocal/blue/10.43.0.0/16"},
		{"10.60.0.0/20", "", []string{OptionNetwork, "green", OptionBlock, "27"}, "MeshsecLocal/green/10.60.0.0/20"},
		{"", "", []string{OptionNetwork, "red"}, "MeshsecLocal/red/10.44.0.0/16"},
	} {
		reply := r.mustPool(c.subnet, c.ipRange, c.options...)
		if again := r.mustPool(c.subnet, c.ipRange, c.options...); reply.ID != c.id || again.ID != c.id || !strings.Contains(c.id, reply.Pool.String()) {
			t.Errorf("%+v: got %+v, then %+v", c, reply, again)
		}
	}
	if got := r.Local().Pools["MeshsecLocal/green/10.60.0.0/20"].Fact.BlockLen; got != 27 {
		t.Errorf("blocks of /%d", got)
	}
	_, err := r.pool("", "", OptionNetwork, "yellow")
	refused(t, err, "yellow", "POOLS", "--subnet")
	if n := len(r.Store.Snapshot().Networks); n != 0 {
		t.Errorf("%d networks in etcd before any was created", n)
	}
}

func TestTheDefaultPoolAsSubnetIsTheDefaultNetwork(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	if reply := r.mustPool("10.42.0.0/16", ""); !strings.Contains(reply.ID, "/default/") {
		t.Errorf("got %s", reply.ID)
	}
}

func TestCase7ExistingNetworks(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	one.network("10.50.0.0/16", "", OptionNetwork, "blue", OptionBlock, "27")
	one.network("", "")
	two.Wait("the networks", func() bool { return len(two.Store.Snapshot().Networks) == 2 })

	for name, c := range map[string]struct {
		subnet, ipRange string
		options         []string
	}{"by pool": {"10.50.0.0/16", "", nil}, "by name": {"", "", []string{OptionNetwork, "blue"}},
		"by both":     {"10.50.0.0/16", "", []string{OptionNetwork, "blue"}},
		"same blocks": {"", "", []string{OptionNetwork, "blue", OptionBlock, "27"}}} {
		if reply := two.mustPool(c.subnet, c.ipRange, c.options...); reply.ID != "MeshsecLocal/blue/10.50.0.0/16" {
			t.Errorf("%s: got %s", name, reply.ID)
		}
	}
	_, err := two.pool("10.51.0.0/16", "", OptionNetwork, "blue")
	refused(t, err, "blue", "10.50.0.0/16")
	_, err = two.pool("", "", OptionNetwork, "blue", OptionBlock, "26")
	refused(t, err, "blue", "/27")
	for _, other := range []string{"10.50.0.0/17", "10.48.0.0/12", "10.50.0.0/24"} {
		_, err = two.pool(other, "")
		refused(t, err, "blue", "10.50.0.0/16", other)
	}
	_, err = two.pool("10.50.0.0/16", "", OptionNetwork, "green")
	refused(t, err, "10.50.0.0/16", "network blue")
	// The first host has them already.
	for _, options := range [][]string{nil, {OptionNetwork, "blue"}} {
		_, err = one.pool("", "", options...)
		refused(t, err, "already on this host", "docker-", "--ipam-opt meshsec.network=NAME")
	}
}

func TestCase7PoolsThatOverlapWithTheHost(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	r.Store.SetHost(store.Host{V: store.Version, ID: r.ID, Name: "one", Addrs: []netip.Addr{a("10.90.0.7")}})
	r.Wait("the address", func() bool { return len(r.Store.Snapshot().Hosts[r.ID].Addrs) == 1 })
	r.busy[p("10.42.7.0/24")] = "route 10.42.7.0/24 dev eth0"
	r.busy[p("10.43.0.53/32")] = "nameserver 10.43.0.53"

	_, err := r.pool("", "")
	refused(t, err, "10.42.0.0/16", "route 10.42.7.0/24 dev eth0", "--ipam-opt meshsec.network=default --subnet")
	_, err = r.pool("10.42.0.0/20", "")
	refused(t, err, "route 10.42.7.0/24 dev eth0")
	_, err = r.pool("10.90.0.0/16", "")
	refused(t, err, "underlay address 10.90.0.7", "one")
	if reply := r.mustPool("", "", OptionNetwork, "blue"); reply.Pool != p("10.44.0.0/16") {
		t.Errorf("a pool that is free for this host was not found: got %v", reply.Pool)
	}
	if n := len(r.Local().Pools); n != 1 {
		t.Errorf("%d pools after refusals", n)
	}
	// A network that exists is refused too, where the host has a route into it.
	r.mustPool("10.60.0.0/16", "")
	r.confirm("MeshsecLocal/10.60.0.0-16/10.60.0.0/16")
	two := newRig(t, e, "two")
	two.busy[p("10.60.0.0/24")] = "route 10.60.0.0/24 dev wg0"
	_, err = two.pool("10.60.0.0/16", "")
	refused(t, err, "route 10.60.0.0/24 dev wg0")
}

// dockerd repeats an automatic request without end while it does not like the answer, and releases only then.
func TestCase7RepeatedAutomaticRequestsAreBounded(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	for _, options := range [][]string{nil, {OptionNetwork, "blue"}} {
		var err error
		var reply PoolReply
		times := 0
		for err == nil && times < 100 {
			var next PoolReply
			if next, err = r.pool("", "", options...); err == nil {
				reply = next
			}
			times++
		}
		refused(t, err, reply.Pool.String(), "--subnet")
		if times != maxAsked+1 {
			t.Errorf("an error after %d requests", times)
		}
		if err := r.ipam.ReleasePool(context.Background(), reply.ID); err != nil {
			t.Error(err)
		}
		r.mustPool("", "", options...) // a user's next try is a new one
	}
	for range 3 * maxAsked { // and slow repetitions are a user's
		r.mustPool("", "")
		r.clock.Advance(askedWithin + time.Second)
	}
}

func TestProvisionalPoolsAreOneAtATime(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	first := r.mustPool("10.50.0.0/16", "")
	_, err := r.pool("10.50.0.0/16", "10.50.128.0/17")
	refused(t, err, first.ID, "being created")
	r.clock.Advance(unconfirmed)
	if err := r.ipam.sweep(); err != nil {
		t.Fatal(err)
	}
	r.mustPool("10.50.0.0/16", "10.50.128.0/17")
}

func TestParallelRequestsChooseDifferentPools(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	var group sync.WaitGroup
	pools := make([]netip.Prefix, 2)
	for n := range pools {
		group.Go(func() {
			reply, err := r.pool("", "", OptionNetwork, fmt.Sprint("n", n))
			if err != nil {
				t.Error(err)
			}
			pools[n] = reply.Pool
		})
	}
	group.Wait()
	if pools[0] == pools[1] {
		t.Errorf("both got %v", pools[0])
	}
}

func TestNothingIsDoneBeforeTheFactsAreKnown(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	idle, err := store.Open(store.Config{Environment: "other", Endpoints: []string{"http://127.0.0.1:1"}, Self: r.ID}, emptyCheckpoint(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	i := New(idle, r.Checkpoint, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = i.RequestPool(ctx, PoolRequest{AddressSpace: LocalSpace, Pool: "10.50.0.0/16"})
	refused(t, err, "127.0.0.1:1")
	if !errors.Is(err, store.ErrUnreachable) || len(r.Local().Pools) != 0 {
		t.Errorf("got %v and %d pools", err, len(r.Local().Pools))
	}
}

func emptyCheckpoint(t testing.TB) *store.Checkpoint {
	cp, err := store.OpenCheckpoint(t.TempDir() + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cp.Close() })
	return cp
}
