package ipam

import (
	"errors"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// Another host leaves the network for good and deletes its fact while this one goes on using it.
func TestANetworkThatAnotherHostDeletedIsPutBack(t *testing.T) {
	e := teststore.New(t)
	here, there := newRig(t, e, "here"), newRig(t, e, "there")
	id := here.network("10.60.0.0/16", "")
	there.sees(here)
	pool := here.Checkpoint.Local().Pools[id]
	here.update(func(l *store.Local) { clear(l.Blocks) })
	there.Wait("the network's fact to be deleted", func() bool {
		gone, err := there.Store.DeleteNetwork(t.Context(), pool.Network)
		return err == nil && gone
	})
	if _, err := here.address(id, ""); err != nil {
		t.Errorf("dynamic: %v", err)
	}
	if _, err := here.address(id, "10.60.0.9"); err != nil {
		t.Errorf("static: %v", err)
	}
}

// The network leaves this host, and its fact is deleted, while a block is fetched ahead of need.
func TestANetworkThatHasLeftIsNotPutBack(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	id := r.network("10.60.0.0/16", "")
	pool := r.Local().Pools[id]
	if err := r.driver.DeleteNetwork(t.Context(), "docker-"+pool.Network); err != nil {
		t.Fatal(err)
	}
	r.Wait("the network's fact to be deleted", func() bool {
		gone, err := r.Store.DeleteNetwork(t.Context(), pool.Network)
		return err == nil && gone
	})
	if err := r.ipam.grow(t.Context(), pool); !errors.Is(err, store.ErrNoNetwork) {
		t.Errorf("a block of it: %v", err)
	}
	if known := e.Host("two").Store.Snapshot().Networks; len(known) != 0 {
		t.Errorf("back in etcd: %v", known)
	}
}
