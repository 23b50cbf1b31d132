package driver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// leftNothing waits until neither etcd nor this host's checkpoint knows the network.
func (r *rig) leftNothing(network string) {
	r.t.Helper()
	r.Wait("the network to go from etcd", func() bool { return !r.known(network) })
	r.Wait("the checkpoint to forget it", func() bool { return len(r.Local().Unused) == 0 })
	r.empty()
}

// before lets the driver do fn once, when a network's fact is in etcd and is about to be written down.
func (r *rig) before(fn func()) {
	once := sync.OnceFunc(fn)
	r.driver.o.Now = func() time.Time {
		if len(r.Local().Unused) > 0 {
			once()
		}
		return r.Now()
	}
}

// The agent may end before the fact of a network that was removed is deleted; the next one does it.
func TestANetworkRemovedBeforeACrashGoesFromEtcd(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	r.remove(net1, r.network(net1, "blue")) // nothing runs that would delete the fact
	r.restart()
	if _, ok := r.Local().Unused["blue"]; !ok {
		t.Error("not in the checkpoint")
	}
	r.Wait("the facts", func() bool { return r.known("blue") })
	r.run()
	r.leftNothing("blue")
}

// The agent ends between the fact and the checkpoint, and Docker has given up when the next one is there.
func TestACrashWhileANetworkIsCreated(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool, data := r.pool("blue")
	r.before(func() { _ = r.Checkpoint.Close() }) // so that no more is written
	if err := r.driver.CreateNetwork(t.Context(), request(net1, data)); err == nil {
		t.Fatal("no error")
	}
	r.restart()
	r.Wait("the facts", func() bool { return r.known("blue") })
	r.run()
	if err := r.driver.keep(t.Context()); err != nil || !r.known("blue") || len(r.Local().Unused) != 1 {
		t.Errorf("not kept for Docker, which may ask again: %v", err)
	}
	if err := r.ipam.ReleasePool(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	r.leftNothing("blue")
}

// Docker repeats itself on a connection that broke.
func TestACrashWhileANetworkIsCreatedAndDockerAsksAgain(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	pool, data := r.pool("blue")
	r.before(func() { _ = r.Checkpoint.Close() })
	if err := r.driver.CreateNetwork(t.Context(), request(net1, data)); err == nil {
		t.Fatal("no error")
	}
	r.restart()
	r.run()
	if err := r.driver.CreateNetwork(t.Context(), request(net1, data)); err != nil {
		t.Fatal(err)
	}
	if len(r.Local().Unused) != 0 {
		t.Error("a network in use is to be deleted")
	}
	r.Wait("the fact", func() bool { return r.known("blue") })
	r.end(net1, pool, ep1, r.start(net1, pool, ep1, "web"))
	r.remove(net1, pool)
	r.leftNothing("blue")
}

func TestANetworkThatDockerHasGivenUpGoesFromEtcd(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	r.run()
	pool, data := r.pool("blue")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.before(cancel)
	refused(t, r.driver.CreateNetwork(ctx, request(net1, data)), "canceled")
	if err := r.ipam.ReleasePool(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	r.leftNothing("blue")
}

// Nobody knows what etcd did with a request that it did not answer.
func TestANetworkThatEtcdDidNotAnswerForIsRemembered(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	_, data := r.pool("blue")
	e.StopEtcd()
	ctx, cancel := context.WithTimeout(t.Context(), shortly)
	defer cancel()
	refused(t, r.driver.CreateNetwork(ctx, request(net1, data)), "etcd")
	r.restart()
	if since, ok := r.Local().Unused["blue"]; !ok || since.IsZero() {
		t.Errorf("remembered: %v", r.Local().Unused)
	}
}

// A first attempt has left the fact; the second one asks for another gateway, is refused, and must not keep it either.
func TestANetworkThatIsNotAsItIsAskedForGoesFromEtcd(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	r.run()
	pool, data := r.pool("blue")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.before(cancel)
	refused(t, r.driver.CreateNetwork(ctx, request(net1, data)), "canceled")
	other := data
	other.Gateway = "10.43.0.254/16"
	refused(t, r.driver.CreateNetwork(t.Context(), request(net1, other)), "on every host")
	if err := r.ipam.ReleasePool(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	r.leftNothing("blue")
}

// What another host made, or uses, is not this host's to delete, whatever the clock said by which this host has noted it.
func TestAnUnusedNetworkOfAnotherHostStays(t *testing.T) {
	for name, c := range map[string]struct {
		skew time.Duration
		kept int // entries until the other host has left
	}{"slow clock": {-time.Hour, 0}, "same time": {0, 0}, "fast clock": {time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			e := teststore.New(t)
			one, two := newRig(t, e, "one"), newRig(t, e, "two")
			pool := two.network(net2, "blue")
			addr := two.start(net2, pool, ep2, "db")
			one.Wait("the other host's block", func() bool { return len(one.Store.Snapshot().Blocks) == 1 && one.known("blue") })
			fact := one.Store.Snapshot().Networks["blue"]
			err := one.Checkpoint.Update(func(l *store.Local) error { l.Unused["blue"] = fact.Since.Add(c.skew); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if err := one.driver.keep(t.Context()); err != nil {
				t.Error(err)
			}
			if left := one.Local().Unused; len(left) != c.kept {
				t.Errorf("remembered: %v", left)
			}
			another := fact
			another.Since = fact.Since.Add(time.Minute)
			if there, err := one.Store.CreateNetwork(t.Context(), another); err != nil || !there.Since.Equal(fact.Since) {
				t.Errorf("the network of another host was deleted, or %v", err)
			}
			two.end(net2, pool, ep2, addr)
			two.remove(net2, pool)
			one.run()
			two.run()
			one.leftNothing("blue")
		})
	}
}

// The network leaves this host while its fact is on the way back into etcd, from which another host has deleted it.
func TestANetworkThatLeavesWhileItIsRestored(t *testing.T) {
	e := teststore.New(t)
	r, wire := newWiredRig(t, e, "one")
	pool := r.network(net1, "blue")
	other := e.Host("two")
	other.Wait("the network to go", func() bool {
		gone, err := other.Store.DeleteNetwork(t.Context(), "blue")
		return err == nil && gone
	})
	r.Wait("the network to go", func() bool { return !r.known("blue") })
	wire.Freeze()
	restored := make(chan error, 1)
	go func() { restored <- r.driver.Restore(t.Context(), "blue") }()
	r.Wait("its turn", func() bool { return len(r.driver.facts) == 1 })
	r.remove(net1, pool)
	r.run()
	wire.Heal()
	if err := <-restored; err != nil && !errors.Is(err, store.ErrNoNetwork) {
		t.Error(err)
	}
	r.leftNothing("blue")
	if known := e.Host("three").Store.Snapshot().Networks; len(known) != 0 {
		t.Errorf("left in etcd: %v", known)
	}
}
