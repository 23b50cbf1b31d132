package store

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRevokeShutsAHostOut(t *testing.T) {
	s := embeddedServer(t)
	grace := func(c *Config) { c.RemovalGrace = time.Second }
	a, b := s.join(t, hostA, grace), s.join(t, hostB)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	a.SetHost(Host{Name: "alpha"})
	b.SetHost(Host{Name: "beta"})
	router, err := b.ClaimRouter(callCtx(t), netip.MustParsePrefix("100.127.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	e := testEndpoint(hostB, 2)
	if owner, err := b.ClaimBlock(callCtx(t), testBlock); err != nil || owner != hostB {
		t.Fatal(owner, err)
	}
	mustUpdate(t, b.cp, func(l *Local) {
		l.Identity.Router = router
		l.Blocks[testBlock] = Claim{}
		l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
	})
	a.await(t, "everything of b", func(snap *Snapshot) bool {
		return len(snap.Hosts) == 2 && snap.EndpointCount() == 1 && snap.Blocks[testBlock].Host == hostB && snap.Alive[hostB]
	})
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Removed(); err != nil {
		t.Error(err)
	}
	if err := a.Revoke(callCtx(t), ca, hostA); err == nil {
		t.Error("a host removed itself, and with it the authority")
	}
	for range 2 {
		if err := a.Revoke(callCtx(t), ca, hostB); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []*member{a, b} {
		m.await(t, "the end of b", func(snap *Snapshot) bool {
			return len(snap.Hosts) == 1 && snap.EndpointCount() == 0 && !snap.Alive[hostB] && snap.Revoked[hostB].Name == "beta"
		})
	}
	if err := b.Removed(); !errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), "meshsec token") {
		t.Errorf("got %v, want ErrRemoved with what to do", err)
	}
	if _, err := b.ClaimStatic(callCtx(t), AddrKey{"default", netip.MustParseAddr("10.42.0.9")}); !errors.Is(err, ErrRemoved) {
		t.Errorf("claimed by a removed host: %v", err)
	}
	a.await(t, "its block and router address free after the grace", func(snap *Snapshot) bool {
		return len(snap.Blocks) == 0 && snap.Routers[router].Host == ""
	})
	if owner, err := a.ClaimBlock(callCtx(t), testBlock); err != nil || owner != hostA {
		t.Errorf("the block of a removed host: %q, %v", owner, err)
	}
	// Without the revocation in etcd, a host that joins later would let it in.
	if _, err := s.client(t).Delete(callCtx(t), a.key(revokedKey(hostB))); err != nil {
		t.Fatal(err)
	}
	c := s.join(t, "cccccccccccccccc")
	c.await(t, "the revocation put back", func(snap *Snapshot) bool { return snap.Revoked[hostB].Host == hostB })
}

func TestRevokeOverwritesAForgery(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	s.put(t, hostA, revokedKey(hostB), Revocation{V: 1, Host: hostB, Since: time.Now()})
	key := revokedKey(hostB).String()
	a.await(t, "the forgery", func(snap *Snapshot) bool {
		return strings.Contains(snap.Bad[key], "signature") && len(snap.Revoked) == 0
	})
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(callCtx(t), ca, hostB); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the revocation", func(snap *Snapshot) bool { return snap.Revoked[hostB].Host == hostB && snap.Bad[key] == "" })
	if err := a.Revoke(callCtx(t), ca, "nobody"); err == nil {
		t.Error("a host that can't be was removed")
	}
	if err := a.Revoke(callCtx(t), CA{}, hostB); err == nil {
		t.Error("removed without the authority's key")
	}
}
