package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// TestACopyOfTheFounderFindsTheOriginal: a founder's state is copied, and started at another address. The copy says so and does
// not start, the original says so and assigns no addresses; when the original is off, the copy starts: it may be a backup.
func TestACopyOfTheFounderFindsTheOriginal(t *testing.T) {
	state, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	original := founder(t, state)()
	if err := os.CopyFS(elsewhere, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	begin := func() error {
		n := &node{log: quiet(), set: original.set, addrs: []netip.Addr{netip.MustParseAddr("127.0.0.7")}}
		ctx, cancel := context.WithCancel(t.Context())
		n.stop = cancel
		n.group, ctx = errgroup.WithContext(ctx)
		defer func() {
			if err := n.close(); err != nil {
				t.Error(err)
			}
		}()
		if err := n.openCheckpoint(paths{state: elsewhere}); err != nil {
			return err
		}
		return n.openStore(ctx, paths{state: elsewhere}, func(string) {})
	}
	if err := begin(); !errors.Is(err, store.ErrTwin) {
		t.Fatalf("the copy: %v", err)
	}
	teststore.Wait(t, "the original's word", func() bool { return errors.Is(original.store.Twin(), store.ErrTwin) })
	if err := original.close(); err != nil {
		t.Fatal(err)
	}
	if err := begin(); err != nil {
		t.Errorf("the only one: %v", err)
	}
}
