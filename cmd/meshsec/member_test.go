package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/freeport"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// founded makes an environment on an embedded etcd, and a token of it.
func founded(t *testing.T) store.Token {
	t.Helper()
	id, err := store.FoundIdentity("default", "", "founder")
	if err != nil {
		t.Fatal(err)
	}
	etcd, config := serve(t, id)
	cp, err := store.OpenCheckpoint(filepath.Join(t.TempDir(), "founder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	s, err := store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), TLS: config, Self: id.HostID}, cp, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := cp.Update(func(l *store.Local) error { l.Identity = id; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken(etcd.Endpoints(), "one", 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// serve runs a founder's embedded etcd for the test's duration.
func serve(t *testing.T, id store.Identity) (*store.Embedded, *tls.Config) {
	t.Helper()
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := store.StartEmbedded(t.Context(), store.EmbedConfig{Dir: t.TempDir(), Name: id.HostID,
		Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), CA: ca, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	config, err := id.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	return etcd, config
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

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}
