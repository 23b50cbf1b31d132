package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/freeport"
	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// TestAWipedEtcdGetsItsAuthorityBack: the founder's embedded etcd has lost its files, and everything that was in them is put
// back from what the hosts have.
func TestAWipedEtcdGetsItsAuthorityBack(t *testing.T) {
	start := founder(t, t.TempDir())
	first := start()
	was := first.store.Snapshot()
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(first.state, "etcd")); err != nil {
		t.Fatal(err)
	}
	if now := start().store.Snapshot(); now.ClusterID == was.ClusterID || !bytes.Equal(now.CA, was.CA) {
		t.Errorf("cluster %x after %x", now.ClusterID, was.ClusterID)
	}
}

// began is a founder that runs but for its mesh.
type began struct {
	*node
	state string
	ctx   context.Context
}

// founder gives what starts the founder of an environment, again and again on the same state.
func founder(t *testing.T, state string) (start func() began) {
	set := settings.Settings{Environment: "default", Routers: netip.MustParsePrefix("100.127.0.0/16"), EtcdPort: freeport.Port(t), EtcdPeerPort: freeport.Port(t)}
	return func() began {
		n := &node{log: quiet(), set: set, addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
		ctx, cancel := context.WithCancel(t.Context())
		n.stop = cancel
		n.group, ctx = errgroup.WithContext(ctx)
		t.Cleanup(func() {
			if err := n.close(); err != nil {
				t.Error(err)
			}
		})
		if err := n.openCheckpoint(paths{state: state}); err != nil {
			t.Fatal(err)
		}
		if err := n.openStore(ctx, paths{state: state}, func(string) {}); err != nil {
			t.Fatal(err)
		}
		n.store.SetHost(store.Host{Name: "founder"})
		teststore.Wait(t, "all facts in etcd", func() bool {
			s := n.store.Snapshot()
			return !s.FromDisk && len(s.CA) > 0 && s.Hosts[n.id.HostID].Name != "" && len(s.Routers) > 0
		})
		return began{n, state, ctx}
	}
}
