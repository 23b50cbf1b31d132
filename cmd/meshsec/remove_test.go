package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// A removed host can come back neither with its state nor, having lost that, with its token.
func TestARemovedHostCanNotComeBack(t *testing.T) {
	id, err := store.FoundIdentity("default", "", "founder")
	if err != nil {
		t.Fatal(err)
	}
	etcd, _ := serve(t, id)
	ca, err := id.Authority()
	if err != nil {
		t.Fatal(err)
	}
	founder, life := member(t, mustToken(t, ca, etcd))
	err = founder.checkpoint.Update(func(l *store.Local) error { l.Identity = id; return nil })
	if err != nil {
		t.Fatal(err)
	}
	founder.id, founder.set = id, settings.Settings{Environment: "default", Etcd: etcd.Endpoints(), Routers: netip.MustParsePrefix("100.127.0.0/16")}
	founder.store = open(t, founder, etcd)
	if err := founder.store.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	founder.group.Go(func() error { return founder.store.Run(life.run) })

	token := mustToken(t, ca, etcd)
	n, its := member(t, token)
	if err := n.openStore(its.run, paths{}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	n.store.SetHost(store.Host{Name: "edge"})
	teststore.Wait(t, "the host", func() bool { return len(founder.store.Snapshot().Hosts) == 1 })

	for _, ref := range []string{"", "nobody"} {
		if _, err := founder.removeHost(t.Context(), ref, ""); err == nil || !strings.Contains(err.Error(), "meshsec hosts") {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := n.removeHost(t.Context(), "edge", ""); err == nil || !strings.Contains(err.Error(), "certificate authority") {
		t.Errorf("removed by a host without the authority: %v", err)
	}
	if removed, err := founder.removeHost(t.Context(), "edge", ""); err != nil || removed != token.HostID {
		t.Fatalf("%s, %v", removed, err)
	}
	teststore.Wait(t, "the host to notice", func() bool { return errors.Is(n.store.Removed(), store.ErrRemoved) })
	its.close()

	again, anew := member(t, token) // its state is lost
	err = again.openStore(anew.run, paths{}, func(string) {})
	if !errors.Is(err, errSetting) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("the old token: %v", err)
	}
}

func mustToken(t *testing.T, ca store.CA, etcd *store.Embedded) store.Token {
	t.Helper()
	token, err := ca.NewToken(etcd.Endpoints(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// open opens the store of a node whose identity is settled.
func open(t *testing.T, n *node, etcd *store.Embedded) *store.Store {
	t.Helper()
	config, err := n.id.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), TLS: config, Self: n.id.HostID}, n.checkpoint, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
