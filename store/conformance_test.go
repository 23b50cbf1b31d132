package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything that the Store expects of etcd, held against each server that it is to work with.
func TestConformance(t *testing.T) {
	embedded := func(t testing.TB) *server { return embeddedServer(t) }
	servers := map[string]func(testing.TB) *server{"embedded": embedded, "debian": debianServer}
	cases := map[string]func(*testing.T, *server){
		"create if absent":           conformCreateIfAbsent,
		"race of two claimants":      conformClaimRace,
		"overlapping networks race":  conformNetworkRace,
		"watch, delete":              conformWatch,
		"compaction":                 conformCompaction,
		"restored, other cluster":    conformOtherCluster,
		"restored, same cluster":     conformBackwards,
		"lease expiry":               conformLease,
		"another environment's etcd": conformForeign,
	}
	for name, start := range servers {
		for what, run := range cases {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				run(t, start(t))
			})
		}
	}
}

var testBlock = BlockKey{"default", netip.MustParsePrefix("10.42.64.0/26")}

func conformCreateIfAbsent(t *testing.T, s *server) {
	a, b := s.join(t, hostA), s.join(t, hostB)
	ctx := callCtx(t)
	if err := a.Found(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Found(ctx); err != nil {
		t.Errorf("founding twice with the same authority: %v", err)
	}
	if err := b.Verify(ctx); err != nil {
		t.Error(err)
	}
	other, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	cp, _ := tempCheckpoint(t)
	mustUpdate(t, cp, func(l *Local) { l.Identity = Identity{Environment: testEnv, HostID: hostB, CA: other.Cert} })
	stranger, err := Open(s.config(t, ""), cp, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := stranger.Found(ctx); !errors.Is(err, ErrFounded) || !strings.Contains(err.Error(), "set JOIN") {
		t.Errorf("got %v, want ErrFounded with what to do", err)
	}
	if err := stranger.Verify(ctx); err == nil || !strings.Contains(err.Error(), "another certificate authority") {
		t.Errorf("got %v, want an error about the authority", err)
	}
	if _, err := a.ClaimBlock(ctx, testBlock); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("claim without a network: got %v, want ErrNoNetwork", err)
	}
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	different := testNetwork("default", "10.50.0.0/16")
	if got, err := b.CreateNetwork(ctx, different); err != nil || got.Pool.String() != "10.42.0.0/16" {
		t.Errorf("got %v, %v, want the network that exists", got.Pool, err)
	}
	for _, m := range []*member{a, b, a} {
		if owner, err := m.ClaimBlock(ctx, testBlock); err != nil || owner != hostA {
			t.Errorf("%s: owner %q, %v, want %s", m.cfg.Self, owner, err, hostA)
		}
	}
	one, err := a.ClaimRouter(ctx, netip.MustParsePrefix("100.127.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.ClaimRouter(ctx, netip.MustParsePrefix("100.127.0.0/16"))
	if err != nil || again != one {
		t.Errorf("router address: %s, then %s, %v", one, again, err)
	}
}

func conformClaimRace(t *testing.T, s *server) {
	a, b := s.join(t, hostA), s.join(t, hostB)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	for n := range 20 {
		block := BlockKey{"default", netip.PrefixFrom(testEndpoint(hostA, n*64).Addr, 26)}
		static := AddrKey{"default", block.Prefix.Addr().Next()}
		owners := [2]string{}
		var wg sync.WaitGroup
		for i, m := range []*member{a, b} {
			wg.Go(func() {
				var err error
				if n%2 == 0 {
					owners[i], err = m.ClaimBlock(callCtx(t), block)
				} else if i == 0 { // a block against a single address in it
					owners[i], err = m.ClaimBlock(callCtx(t), block)
				} else {
					owners[i], err = m.ClaimStatic(callCtx(t), static)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if owners[0] != owners[1] || owners[0] != hostA && owners[0] != hostB {
			t.Errorf("round %d: owners %q", n, owners)
		}
	}
	routers := map[netip.Addr]string{}
	for n := range 4 { // more hosts than fit
		m := s.join(t, fmt.Sprintf("%016x", n))
		addr, err := m.ClaimRouter(callCtx(t), netip.MustParsePrefix("100.127.0.0/30"))
		if n >= 2 {
			if err == nil || !strings.Contains(err.Error(), "100.127.0.0/30") {
				t.Errorf("got %s, %v, want an error that names the full pool", addr, err)
			}
			continue
		}
		if other, taken := routers[addr]; err != nil || taken {
			t.Errorf("%s: %s, %v: taken by %q", m.cfg.Self, addr, err, other)
		}
		routers[addr] = m.cfg.Self
	}
}

func conformNetworkRace(t *testing.T, s *server) {
	a, b := s.join(t, hostA), s.join(t, hostB)
	for n := range 10 {
		first := testNetwork(fmt.Sprintf("a%d", n), fmt.Sprintf("10.%d.0.0/16", n))
		second := testNetwork(fmt.Sprintf("b%d", n), fmt.Sprintf("10.%d.128.0/17", n))
		var errs [2]error
		var wg sync.WaitGroup
		wg.Go(func() { _, errs[0] = a.CreateNetwork(callCtx(t), first) })
		wg.Go(func() { _, errs[1] = b.CreateNetwork(callCtx(t), second) })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v and %v: exactly one must succeed", n, errs[0], errs[1])
		}
		if lost := errors.Join(errs[:]...); !strings.Contains(lost.Error(), "overlaps") {
			t.Errorf("got %v, want an error that names the other network", lost)
		}
	}
}

func conformWatch(t *testing.T, s *server) {
	a, b := s.join(t, hostA), s.join(t, hostB)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	b.await(t, "the network", func(snap *Snapshot) bool { return len(snap.Networks) == 1 })
	if _, err := a.ClaimBlock(callCtx(t), testBlock); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, a.cp, func(l *Local) { l.Blocks[testBlock] = Claim{} })
	b.await(t, "the block", func(snap *Snapshot) bool { return snap.Blocks[testBlock].Host == hostA })
	if _, err := b.DeleteNetwork(callCtx(t), "default"); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Snapshot().Networks["default"]; !ok {
		t.Error("a network with a block in it was deleted")
	}
	mustUpdate(t, a.cp, func(l *Local) { delete(l.Blocks, testBlock) })
	b.await(t, "the block's release", func(snap *Snapshot) bool { return len(snap.Blocks) == 0 })
	if _, err := b.DeleteNetwork(callCtx(t), "default"); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the network's end", func(snap *Snapshot) bool { return len(snap.Networks) == 0 })
}

func conformCompaction(t *testing.T, s *server) {
	a := s.join(t, hostA)
	c := s.client(t)
	s.stop() // so that the watch falls behind
	s.start(t)
	var last int64
	for n := range 20 {
		last = s.put(t, hostB, hostKey(hostB), s.hostFact(t, hostB, fmt.Sprint("beta", n), uint64(n)))
	}
	if _, err := c.Compact(callCtx(t), last); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the last value", func(snap *Snapshot) bool { return snap.Hosts[hostB].Name == "beta19" })
	// Others write as well and compact, while here nothing changes: what was listed since can still be held against etcd.
	for range 20 {
		r, err := c.Put(callCtx(t), "/other/key", "value")
		if err != nil {
			t.Fatal(err)
		}
		last = r.Header.Revision
	}
	if _, err := c.Compact(callCtx(t), last); err != nil {
		t.Fatal(err)
	}
	a.Refresh()
	eventually(t, "another list", func() bool { return a.Snapshot().Revision >= last })
	if err := a.goesOn(callCtx(t), a.Snapshot()); err != nil {
		t.Error(err)
	}
}

func conformLease(t *testing.T, s *server) {
	short := func(c *Config) { c.LeaseTTL = time.Second }
	a, b := s.join(t, hostA), s.join(t, hostB, short)
	a.await(t, "life of b", func(snap *Snapshot) bool { return snap.Alive[hostB] })
	b.client.Close() // as if the host had lost its network: the lease is not given back
	a.await(t, "the lease's end", func(snap *Snapshot) bool { return !snap.Alive[hostB] })
	c := s.join(t, hostB)
	a.await(t, "life of b again", func(snap *Snapshot) bool { return snap.Alive[hostB] })
	c.stop()
	a.await(t, "the lease given back", func(snap *Snapshot) bool { return !snap.Alive[hostB] })
}
