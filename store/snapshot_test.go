package store

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestSnapshotLookups(t *testing.T) {
	addr := netip.MustParseAddr("10.42.64.2")
	e, spoofed := testEndpoint(hostB, 2), testEndpoint(hostA, 2)
	facts := map[string][]byte{
		endpointKey(e.Key()).String():       mustEncode(e),
		endpointKey(spoofed.Key()).String(): mustEncode(spoofed),
		hostKey(hostA).String():             mustEncode(Host{V: 1, ID: hostA, Name: "twin"}),
		hostKey(hostB).String():             mustEncode(Host{V: 1, ID: hostB, Name: "beta"}),
	}
	snap := build(facts)
	if got, ok := snap.FindEndpoint("default", addr); !ok || got.Host != hostA {
		t.Errorf("without a claim: %v, %v, want the smaller host ID", got.Host, ok)
	}
	facts[blockKey(testBlock).String()] = mustEncode(Claim{V: 1, Host: hostB})
	snap = build(facts)
	if got, ok := snap.FindEndpoint("default", addr); !ok || got.Host != hostB {
		t.Errorf("under a block: %v, %v", got.Host, ok)
	}
	facts[staticKey(AddrKey{"default", addr}).String()] = mustEncode(Claim{V: 1, Host: hostA})
	facts[hostKey("cccccccccccccccc").String()] = mustEncode(Host{V: 1, ID: "cccccccccccccccc", Name: "twin"})
	snap = build(facts)
	if got, ok := snap.FindEndpoint("default", addr); !ok || got.Host != hostA {
		t.Errorf("under its own claim: %v, %v", got.Host, ok)
	}
	if owner, ok := snap.Owner("default", netip.MustParseAddr("10.42.64.63")); !ok || owner != hostB {
		t.Errorf("owner of the block: %v, %v", owner, ok)
	}
	for _, miss := range []netip.Addr{{}, netip.MustParseAddr("10.42.64.64"), netip.MustParseAddr("::1")} {
		if _, ok := snap.FindEndpoint("default", miss); ok {
			t.Errorf("an endpoint at %s", miss)
		}
		if owner, ok := snap.Owner("default", miss); ok {
			t.Errorf("%s is owned by %s", miss, owner)
		}
	}
	for ref, want := range map[string]string{hostA: hostA, "beta": hostB, "twin": "", "nobody": ""} {
		if got, ok := snap.HostByNameOrID(ref); got.ID != want && ok {
			t.Errorf("%q: got %q, %v, want %q", ref, got.ID, ok, want)
		}
	}
	if snap.HostName(hostB) != "beta" || snap.HostName("unknown") != "unknown" {
		t.Error("HostName")
	}
	n := 0
	for key, e := range snap.EachEndpoint {
		if n++; key != e.Key() {
			t.Errorf("%v: %v", key, e)
		}
		break
	}
	if n != 1 || snap.EndpointCount() != 2 {
		t.Error("EachEndpoint does not stop")
	}
}

func TestSnapshotZero(t *testing.T) {
	var s Snapshot
	if !s.Empty() || s.EndpointCount() != 0 {
		t.Error("the zero Snapshot has facts")
	}
	s.FindEndpoint("default", netip.MustParseAddr("10.42.0.1"))
	s.HostByNameOrID("x")
	s.EachEndpoint(func(EndpointKey, Endpoint) bool { t.Error("an endpoint"); return true })
}

// bigSnapshot has 65,000 endpoints on 250 hosts.
func bigSnapshot() *Snapshot {
	b := newBuilder(&Snapshot{})
	for h := range 250 {
		host := fmt.Sprintf("%016x", h)
		for n := range 260 {
			e := testEndpoint(host, n)
			e.Addr = netip.AddrFrom4([4]byte{10, 42, byte(h), byte(n)})
			e.Network = fmt.Sprintf("n%d", n/256)
			b.endpointsOf(host)[e.Key()] = &e
		}
	}
	return &b.next
}

// What one endpoint's event costs in a large environment: a copy of one host's map.
func BenchmarkSnapshotEndpointEvent(b *testing.B) {
	snap := bigSnapshot()
	e := testEndpoint("0000000000000007", 5)
	key, value := endpointKey(e.Key()).String(), mustEncode(e)
	b.ReportAllocs()
	for b.Loop() {
		build := newBuilder(snap)
		build.set(key, value)
		next := build.next
		snap = &next
	}
}

func BenchmarkSnapshotFindEndpoint(b *testing.B) {
	snap := bigSnapshot()
	addr := netip.MustParseAddr("10.42.200.9")
	for b.Loop() {
		if _, ok := snap.FindEndpoint("n0", addr); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkSnapshotSave(b *testing.B) {
	cp, _ := tempCheckpoint(b)
	snap := bigSnapshot()
	snap.Revision = 1
	for b.Loop() {
		if err := cp.saveSnapshot(testEnv, "", snap); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEndpoint(b *testing.B) {
	e := testEndpoint(hostA, 5)
	k, value := endpointKey(e.Key()), mustEncode(e)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeValue(k, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckpointUpdate(b *testing.B) {
	cp, _ := tempCheckpoint(b)
	mustUpdate(b, cp, func(l *Local) {
		for n := range 250 {
			e := testEndpoint(hostA, n)
			l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e}
			l.Leases[AddrKey{"default", e.Addr}] = Lease{Kind: LeaseEndpoint, PoolID: "p"}
		}
	})
	b.RunParallel(func(pb *testing.PB) {
		n := 0
		for pb.Next() {
			n++
			if err := cp.Update(func(l *Local) error {
				l.Pools["p"] = LocalPool{ID: fmt.Sprint(n)}
				return nil
			}); err != nil {
				b.Error(err)
			}
		}
	})
}
