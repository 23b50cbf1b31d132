package main

import (
	"context"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// TestAFounderMovesOverWithoutItsOldFacts: a snapshot of the old environment has another authority than the new one's etcd,
// whose facts would be refused for ever.
func TestAFounderMovesOverWithoutItsOldFacts(t *testing.T) {
	r := newRig(t, nil)
	open := func() *store.Checkpoint {
		cp, err := r.open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cp.Close() })
		return cp
	}
	cp := open()
	id := cp.Local().Identity
	etcd, config := serve(t, id)
	s, err := store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), TLS: config, Self: id.HostID}, cp, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	teststore.Wait(t, "the facts", func() bool { return s.Snapshot().CA != nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = cp.Close()

	r.set.Join = token(t, "default", "", 0)
	cp = open()
	s, err = store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), Self: cp.Local().Identity.HostID}, cp, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if snap := s.Snapshot(); !snap.Empty() {
		t.Errorf("it starts with facts of the environment that it left: revision %d of cluster %x", snap.Revision, snap.ClusterID)
	}
}
