package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestPublisherPutsBackWhatEtcdLost(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	e := testEndpoint(hostA, 2)
	static := AddrKey{"default", netip.MustParseAddr("10.42.0.9")}
	a.SetHost(Host{Name: "alpha"})
	mustUpdate(t, a.cp, func(l *Local) {
		l.Identity.Router = netip.MustParseAddr("100.127.0.1")
		l.Blocks[testBlock], l.Statics[static] = Claim{}, Claim{}
		l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
	})
	all := func(snap *Snapshot) bool {
		return len(snap.Hosts) == 1 && len(snap.Blocks) == 1 && len(snap.Statics) == 1 && len(snap.Routers) == 1 && snap.EndpointCount() == 1
	}
	a.await(t, "all facts", all)
	for range 3 {
		if _, err := s.client(t).Delete(callCtx(t), a.prefix, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		a.await(t, "the loss", func(snap *Snapshot) bool { return len(snap.Networks) == 0 })
		a.await(t, "all facts again", all)
		mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
		a.await(t, "the network", func(snap *Snapshot) bool { return len(snap.Networks) == 1 })
	}
}

func TestPublisherRemovesWhatIsNotLocal(t *testing.T) {
	s := embeddedServer(t)
	e, other := testEndpoint(hostA, 2), testEndpoint(hostB, 3)
	for _, f := range []Endpoint{e, other} {
		s.put(t, f.Host, endpointKey(f.Key()), f)
	}
	a := s.join(t, hostA)
	a.await(t, "the end of the own endpoint that is not local", func(snap *Snapshot) bool {
		_, mine := snap.Endpoint(e.Key())
		_, theirs := snap.Endpoint(other.Key())
		return !mine && theirs
	})
}

func TestPublisherDoesNothingBeforeTheFirstList(t *testing.T) {
	s := embeddedServer(t)
	cp, _ := tempCheckpoint(t)
	st, err := Open(s.config(t, hostA), cp, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	e := testEndpoint(hostA, 2)
	mustUpdate(t, cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	if _, err := st.publishOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.client(t).Get(callCtx(t), st.prefix, clientv3.WithPrefix())
	if err != nil || r.Count != 0 {
		t.Errorf("%d keys were written without a list, %v", r.Count, err)
	}
}

func TestPublisherIsQuietWhenNothingChanges(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	e := testEndpoint(hostA, 2)
	e.Since = time.Now() // with a monotonic reading and a location
	e.Labels, e.Aliases = map[string]string{}, []string{}
	a.SetHost(Host{Name: "alpha", Since: time.Now(), Addrs: []netip.Addr{}})
	mustUpdate(t, a.cp, func(l *Local) {
		l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
		l.Blocks[testBlock] = Claim{Since: time.Now()}
	})
	a.await(t, "the facts", func(snap *Snapshot) bool {
		return snap.EndpointCount() == 1 && len(snap.Hosts) == 1 && len(snap.Blocks) == 1
	})
	eventually(t, "a plan without work", func() bool {
		have, _, _ := a.own.view()
		p := a.plan(have)
		return len(p.claims)+len(p.writes)+len(p.releases) == 0
	})
}

func TestPublisherReleasesClaims(t *testing.T) {
	s := embeddedServer(t)
	b := s.join(t, hostB)
	a := s.join(t, hostA, func(c *Config) { c.ClaimGrace = 300 * time.Millisecond })
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	static := AddrKey{"default", netip.MustParseAddr("10.42.0.9")}
	for range 2 { // a claim that never gets into the checkpoint, twice
		if owner, err := a.ClaimStatic(callCtx(t), static); err != nil || owner != hostA {
			t.Fatal(owner, err)
		}
		a.await(t, "the claim", func(snap *Snapshot) bool { return len(snap.Statics) == 1 })
		a.await(t, "its release", func(snap *Snapshot) bool { return len(snap.Statics) == 0 })
	}
	if owner, err := b.ClaimStatic(callCtx(t), static); err != nil || owner != hostB {
		t.Errorf("released, but owned by %q, %v", owner, err)
	}
}

// What a host takes and gives up before it may publish, for it has just started, goes as soon as it may: not after the grace.
func TestAClaimGivenUpBeforeTheFirstWordIsReleasedWithIt(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA, func(c *Config) { c.ClaimGrace = time.Hour })
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	eventually(t, "the end of the start", func() bool { return a.settled.Load() != nil })
	later := time.Now().Add(time.Hour)
	a.settled.Store(&later)
	static := AddrKey{"default", netip.MustParseAddr("10.42.0.9")}
	if owner, err := a.ClaimStatic(callCtx(t), static); err != nil || owner != hostA {
		t.Fatal(owner, err)
	}
	a.await(t, "the claim", func(snap *Snapshot) bool { return len(snap.Statics) == 1 })
	mustUpdate(t, a.cp, func(l *Local) { l.Statics[static] = Claim{} })
	eventually(t, "the publisher's look", func() bool { return a.own.pinned(staticKey(static).String(), time.Hour) == 0 })
	mustUpdate(t, a.cp, func(l *Local) { delete(l.Statics, static) })
	now := time.Now()
	a.settled.Store(&now)
	poke(a.publish)
	a.await(t, "its release", func(snap *Snapshot) bool { return len(snap.Statics) == 0 })
}

func TestPublisherLeavesAFreshClaimAlone(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.join(t, hostA), s.join(t, hostB)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	static := AddrKey{"default", netip.MustParseAddr("10.42.0.9")}
	// Released and claimed again and again: at no time may another host get it while it is claimed here.
	for n := range 20 {
		owner, err := a.ClaimStatic(callCtx(t), static)
		if err != nil || owner != hostA {
			t.Fatal(n, owner, err)
		}
		if owner, err := b.ClaimStatic(callCtx(t), static); err != nil || owner != hostA {
			t.Fatalf("round %d: %q took a claimed address, %v", n, owner, err)
		}
		mustUpdate(t, a.cp, func(l *Local) { l.Statics[static] = Claim{} })
		if owner, err := b.ClaimStatic(callCtx(t), static); err != nil || owner != hostA {
			t.Fatalf("round %d: %q took a claimed address, %v", n, owner, err)
		}
		mustUpdate(t, a.cp, func(l *Local) { delete(l.Statics, static) })
	}
}

func TestPublisherReportsConflicts(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.join(t, hostA), s.join(t, hostB)
	mustCreate(t, b, testNetwork("default", "10.42.0.0/16"))
	if _, err := b.ClaimBlock(callCtx(t), testBlock); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, b.cp, func(l *Local) { l.Blocks[testBlock] = Claim{} })
	mustUpdate(t, a.cp, func(l *Local) { l.Blocks[testBlock] = Claim{} })
	eventually(t, "the conflict", func() bool { return a.Conflicts()[blockKey(testBlock).String()] == hostB })
	mustUpdate(t, a.cp, func(l *Local) { delete(l.Blocks, testBlock) })
	eventually(t, "its end", func() bool { return len(a.Conflicts()) == 0 })
	r, err := s.client(t).Get(callCtx(t), a.key(blockKey(testBlock)))
	if err != nil || len(r.Kvs) != 1 || claimHost(r.Kvs[0].Value) != hostB || r.Kvs[0].Version != 1 {
		t.Errorf("the block changed hands: %v, %v", r, err)
	}
}

func TestPublisherManyAndOneBad(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	const many = 300 // more than a transaction holds
	mustUpdate(t, a.cp, func(l *Local) {
		for n := range many {
			e := testEndpoint(hostA, n)
			if n == 7 {
				e.Labels = map[string]string{"big": strings.Repeat("x", maxValue)}
			}
			l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
		}
	})
	a.await(t, "all endpoints but the one that is too long", func(snap *Snapshot) bool { return snap.EndpointCount() == many-1 })
	mustUpdate(t, a.cp, func(l *Local) { clear(l.Endpoints) })
	a.await(t, "their end", func(snap *Snapshot) bool { return snap.EndpointCount() == 0 })
}

func TestPublisherKeepsUnknownFields(t *testing.T) {
	s := embeddedServer(t)
	e := testEndpoint(hostA, 2)
	e.Extra = map[string]json.RawMessage{"future": json.RawMessage(`[1]`)}
	s.put(t, hostA, endpointKey(e.Key()), e)
	cp, _ := tempCheckpoint(t)
	e.Extra, e.Name = nil, "renamed"
	mustUpdate(t, cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	a := s.joinWith(t, hostA, cp)
	a.await(t, "the new name", func(snap *Snapshot) bool { got, _ := snap.Endpoint(e.Key()); return got.Name == "renamed" })
	if got, _ := a.Snapshot().Endpoint(e.Key()); string(got.Extra["future"]) != "[1]" {
		t.Errorf("got %v", got.Extra)
	}
}

func TestSnapshotSurvivesWithoutEtcd(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	if err := a.Found(callCtx(t)); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	for n := range 3 {
		e := testEndpoint(hostA, n)
		mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	}
	if _, err := s.client(t).Put(callCtx(t), a.prefix+"hosts/bad", "x"); err != nil {
		t.Fatal(err)
	}
	a.await(t, "everything", func(snap *Snapshot) bool { return snap.EndpointCount() == 3 && len(snap.Bad) == 1 && snap.CA != nil })
	a.stop()
	s.stop()
	before := a.Snapshot()
	b := s.joinWith(t, hostA, a.cp)
	got := b.Snapshot()
	if !got.FromDisk || got.Empty() || got.Revision != before.Revision || got.ClusterID != before.ClusterID ||
		got.EndpointCount() != 3 || len(got.Networks) != 1 || got.CA == nil || len(got.Alive) != 0 {
		t.Errorf("from disk: %+v", got)
	}
	mustUpdate(t, b.cp, func(l *Local) { clear(l.Endpoints) })
	s.start(t)
	b.await(t, "etcd's own facts", func(snap *Snapshot) bool { return !snap.FromDisk && snap.EndpointCount() == 0 && len(snap.Bad) == 1 })
	if _, err := a.cp.loadSnapshot("other"); err == nil {
		t.Error("the snapshot of another environment was taken")
	}
}

func TestRefreshListsAgain(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	taken := a.Snapshot().Taken
	a.Refresh()
	eventually(t, "a new list", func() bool { return a.Snapshot().Taken.After(taken) })
}

func TestOpenRefusesNonsense(t *testing.T) {
	cp, _ := tempCheckpoint(t)
	for _, c := range []Config{
		{}, {Environment: "a/b", Endpoints: []string{"http://192.0.2.1"}}, {Environment: "a"},
		{Environment: "a", Endpoints: []string{"http://192.0.2.1"}, Self: "me"},
	} {
		if s, err := Open(c, cp, quietLog(t)); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", c)
		}
	}
}

func BenchmarkEndpointPropagation(b *testing.B) {
	s := embeddedServer(b)
	from, to := s.join(b, hostA), s.join(b, hostB)
	changed := to.Subscribe()
	n := 0
	for b.Loop() {
		n++
		e := testEndpoint(hostA, 2)
		e.Name = fmt.Sprint("c", n)
		mustUpdate(b, from.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
		for {
			if got, _ := to.Snapshot().Endpoint(e.Key()); got.Name == e.Name {
				break
			}
			<-changed
		}
	}
}
