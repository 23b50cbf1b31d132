package store

import (
	"crypto/ed25519"
	"net/netip"
	"testing"
	"time"
)

// A host with another key (a new token, a renewed certificate) signs everything anew; so does one whose claim was defaced.
func TestPublisherSignsAnewWithAnotherKey(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	e := testEndpoint(hostA, 2)
	a.SetHost(Host{Name: "alpha"})
	mustUpdate(t, a.cp, func(l *Local) {
		l.Identity.Router = netip.MustParseAddr("100.127.0.1")
		l.Blocks[testBlock] = Claim{}
		l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
	})
	all := func(snap *Snapshot) bool {
		return len(snap.Hosts) == 1 && len(snap.Blocks) == 1 && len(snap.Routers) == 1 && snap.EndpointCount() == 1 && len(snap.Bad) == 0
	}
	a.await(t, "all facts", all)
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(hostA, "alpha", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, a.cp, func(l *Local) { l.Identity.Cert, l.Identity.Key = cert, Secret{key} })
	s.hosts[hostA] = a.cp.Local().Identity
	b := s.join(t, hostB) // knows the new key only
	b.await(t, "all facts, signed with the new key", all)
	block := Prefix(testEnv) + blockKey(testBlock).String()
	c := s.client(t)
	if _, err := c.Put(callCtx(t), block, `{"v":1,"host":"`+hostA+`"}`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the defaced claim put right", func() bool {
		r, err := c.Get(callCtx(t), block)
		_, host, _ := keyPair(cert, Secret{key})
		return err == nil && len(r.Kvs) == 1 && unseal(signerOf(host).Public().(ed25519.PublicKey), testEnv, blockKey(testBlock).String(), r.Kvs[0].Value) == nil
	})
}
