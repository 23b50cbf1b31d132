package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

// TestATokenIsForOneHost: two machines with one token would be one host, with one host's blocks.
func TestATokenIsForOneHost(t *testing.T) {
	token := founded(t)
	first, end := member(t, token)
	if err := first.openStore(end.run, paths{}, func(string) {}); err != nil {
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
	err = second.openStore(again.run, paths{}, func(string) {})
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
	if err := third.openStore(last.run, paths{}, func(string) {}); err != nil {
		t.Errorf("after the first machine's end: %v", err)
	}
}

// TestNoFactsSaysWhy: what dockerd is answered with meanwhile is never an empty sentence.
func TestNoFactsSaysWhy(t *testing.T) {
	if err := noFacts(true, ""); !strings.Contains(err.Error(), "have not come yet") {
		t.Errorf("etcd answers: %q", err)
	}
	if err := noFacts(false, "etcd: silent"); err.Error() != "etcd: silent" {
		t.Errorf("etcd does not: %q", err)
	}
}
