package driver

import (
	"context"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
)

// run runs the driver until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.driver.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) known(network string) bool {
	_, ok := r.Store.Snapshot().Networks[network]
	return ok
}

func TestCase16StopStartRemoveLeaveNothingBehind(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	r.run()
	pool := r.network(net1, "blue")
	addr := r.start(net1, pool, ep1, "web")
	r.end(net1, pool, ep1, addr)
	if again := r.start(net1, pool, ep2, "web"); again != addr {
		t.Errorf("web had %s and got %s", addr, again)
	}
	r.end(net1, pool, ep2, addr)
	static := r.address(pool, "10.43.0.9", "db")
	if _, err := r.driver.CreateEndpoint(t.Context(), EndpointRequest{NetworkID: net1, EndpointID: ep1, Address: static}); err != nil {
		t.Fatal(err)
	}
	r.Wait("the facts", func() bool { s := r.Store.Snapshot(); return len(s.Statics) == 1 && s.EndpointCount() == 1 })
	r.end(net1, pool, ep1, static)
	r.remove(net1, pool)
	r.empty()
	r.Wait("etcd to be empty", func() bool {
		s := r.Store.Snapshot()
		return len(s.Networks)+len(s.Blocks)+len(s.Statics)+s.EndpointCount() == 0
	})
}

func TestNetworksStayWhileOtherHostsUseThem(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	one.run()
	two.run()
	pool1 := one.network(net1, "blue")
	two.Wait("the network", func() bool { return two.known("blue") })
	pool2 := two.network(net2, "blue")
	addr := two.start(net2, pool2, ep2, "db")
	one.Wait("the other host's block", func() bool { return len(one.Store.Snapshot().Blocks) == 1 })
	one.remove(net1, pool1)
	one.Wait("the first host to think it over", func() bool { return len(one.Local().Unused) == 0 })
	if !two.known("blue") {
		t.Fatal("the network of another host was deleted")
	}
	two.end(net2, pool2, ep2, addr)
	two.remove(net2, pool2)
	one.Wait("the network to go with its last user", func() bool { return !one.known("blue") && !two.known("blue") })
}

// A host without containers leaves no trace of its use of a network, so another one may delete it.
func TestANetworkThatWasDeletedByAnotherHostIsRestored(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	pool1 := one.network(net1, "blue")
	one.run()
	two.Wait("the network", func() bool { return two.known("blue") })
	since := two.Store.Snapshot().Networks["blue"].Since
	pool2 := two.network(net2, "blue")
	one.remove(net1, pool1)
	two.Wait("the network to go", func() bool { return !two.known("blue") })
	two.run()
	two.Wait("the network to be back", func() bool { return two.known("blue") })
	if got := two.Store.Snapshot().Networks["blue"]; !got.Since.Equal(since) || got.Pool.String() != "10.43.0.0/16" {
		t.Errorf("restored as %+v", got)
	}
	two.end(net2, pool2, ep2, two.start(net2, pool2, ep2, "db"))
}
