package main

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// TestATokenIsForOneHost: two machines with one token would be one host, with one host's blocks.
func TestATokenIsForOneHost(t *testing.T) {
	token := founded(t)
	first, end := member(t, token)
	if err := first.openStore(end.run, paths{}); err != nil {
		t.Fatal(err)
	}
	key, err := first.id.Public()
	if err != nil {
		t.Fatal(err)
	}
	first.store.SetHost(store.Host{Name: "one", HandshakeKey: key, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Port: 4500})
	published := func() bool {
		s := first.store.Snapshot()
		return s.Alive[token.HostID] && bytes.Equal(s.Hosts[token.HostID].HandshakeKey, key)
	}
	teststore.Wait(t, "the first machine's fact and lease", published)

	second, again := member(t, token)
	err = second.openStore(again.run, paths{})
	if err == nil || !strings.Contains(err.Error(), "one at 192.0.2.7:4500") || !strings.Contains(err.Error(), "meshsec token") {
		t.Errorf("a second machine with the token: %v", err)
	}
	if second.checkpoint.Local().Identity.Router.IsValid() {
		t.Error("it has a router address")
	}
	if !published() {
		t.Error("the first machine's fact was overwritten")
	}
	again.close()

	end.close() // its lease goes with it: what comes now is the same machine after its disk was lost
	third, last := member(t, token)
	if err := third.openStore(last.run, paths{}); err != nil {
		t.Errorf("after the first machine's end: %v", err)
	}
}

// founded makes an environment on an embedded etcd, and a token of it.
func founded(t *testing.T) store.Token {
	t.Helper()
	id, err := store.FoundIdentity("default", "", "founder")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := store.StartEmbedded(t.Context(), store.EmbedConfig{Dir: t.TempDir(), Name: id.HostID,
		Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ClientPort: freePort(t), PeerPort: freePort(t), CA: ca, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	tls, err := id.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	cp, err := store.OpenCheckpoint(t.TempDir() + "/founder.db")
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	s, err := store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), TLS: tls, Self: id.HostID}, cp, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Found(t.Context(), id.CA); err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken(etcd.Endpoints(), "one", 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// life is the context that a node's parts run in, and what ends them.
type life struct {
	run   context.Context
	close func()
}

// member is a node with a fresh checkpoint that is about to join with the token.
func member(t *testing.T, token store.Token) (*node, life) {
	t.Helper()
	n := &node{log: quiet(), set: settings.Settings{Environment: "default", Join: token.Encode(), Routers: netip.MustParsePrefix("100.127.0.0/16")}}
	ctx, cancel := context.WithCancel(t.Context())
	n.stop = cancel
	n.group, ctx = errgroup.WithContext(ctx)
	if err := n.openCheckpoint(paths{state: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	end := func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return n, life{ctx, end}
}
