package main

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestAFailedStartLeavesNoEtcd: a founder that can't open its facts has closed the etcd that it had started for them.
func TestAFailedStartLeavesNoEtcd(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	start := founder(t, state)
	was := start()
	if err := was.close(); err != nil {
		t.Fatal(err)
	}
	n := &node{log: quiet(), set: was.set, addrs: was.addrs, stop: func() {}}
	group, ctx := errgroup.WithContext(t.Context())
	n.group = group
	if err := n.openCheckpoint(paths{state: state}); err != nil {
		t.Fatal(err)
	}
	n.set.Environment = "no/name"
	if err := n.openStore(ctx, paths{state: state}, func(string) {}); err == nil {
		t.Fatal("facts of an environment without a proper name are open")
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.set.EtcdPort)); err == nil {
		c.Close()
		t.Error("etcd is still there")
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	start()
}
