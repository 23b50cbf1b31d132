package mesh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/store"
)

// share gives the facts of next as a store would after those of before: maps that are equal are the same ones.
func share(before, next *facts) *facts {
	keep(before.snap.Blocks, &next.snap.Blocks)
	keep(before.snap.Statics, &next.snap.Statics)
	keep(before.snap.Networks, &next.snap.Networks)
	for host, endpoints := range next.snap.Endpoints {
		keep(before.snap.Endpoints[host], &endpoints)
		next.snap.Endpoints[host] = endpoints
	}
	return next
}

func keep[K comparable, V any](before map[K]V, next *map[K]V) {
	if reflect.DeepEqual(before, *next) {
		*next = before
	}
}

// TestMemoryChangesNothing: whatever was computed before, the result is that of Compute.
func TestMemoryChangesNothing(t *testing.T) {
	kept := 0
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 5))
		edits := randomEdits(r, 2+r.IntN(6))
		lost := ""
		var m memory
		before := &facts{}
		local := &before.local
		for range 30 {
			var some []edit
			for i := range edits {
				if r.IntN(100) > 0 {
					some = append(some, edits[i])
				}
			}
			f := share(before, play("h0", some))
			if r.IntN(4) == 0 {
				lost = fmt.Sprintf("h%d", r.IntN(6))
			}
			f.o.Lost = func(id string) bool { return id == lost }
			if !reflect.DeepEqual(*local, f.local) {
				local = &f.local
			}
			had := maps.Clone(m.hosts)
			got := m.compute(&f.snap, local, f.o)
			if d := difference(text(f.compute()), text(got)); len(d) > 0 {
				t.Fatalf("seed %d: %v", seed, d)
			}
			for id, a := range m.hosts {
				if b := had[id]; len(a.prefixes) > 1 && len(b.prefixes) > 1 && &a.prefixes[0] == &b.prefixes[0] {
					kept++
				}
			}
			before = f
		}
	}
	if kept == 0 {
		t.Error("nothing was ever remembered")
	}
}

// manyFacts are hosts with so many endpoints in all, on this host's network.
func manyFacts(hosts, endpoints int) *facts {
	f := emptyFacts("h0")
	f.network("default", "10.42.0.0/15")
	f.onThisHost("d0", "default", "10.42.0.0/15")
	for i := range hosts {
		f.host(fmt.Sprintf("h%d", i), i+1)
	}
	next := addr("10.42.1.0")
	for i := range endpoints {
		id := fmt.Sprintf("h%d", 1+i/64%(hosts-1))
		if i%64 == 0 {
			f.block("default", netip.PrefixFrom(next, 26).String(), id)
		}
		f.endpoint(id, "default", next.String())
		next = next.Next()
	}
	return f
}

// BenchmarkCompute is what becomes of the facts of 25 hosts when all is new, and when an endpoint has come or gone.
func BenchmarkCompute(b *testing.B) {
	for _, endpoints := range []int{1000, 50000} {
		f := manyFacts(25, endpoints)
		routes := func(d Desired) (n int) {
			for _, p := range d.Peers {
				n += len(p.Prefixes) - 1
			}
			return n
		}
		b.Run(fmt.Sprintf("%d/all", endpoints), func(b *testing.B) {
			for b.Loop() {
				if n := routes(f.compute()); n != endpoints {
					b.Fatalf("%d routes", n)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/one", endpoints), func(b *testing.B) {
			var m memory
			m.compute(&f.snap, &f.local, f.o)
			one := slices.Collect(maps.Values(f.snap.Endpoints["h7"]))[0]
			less := f.snap
			less.Endpoints = maps.Clone(f.snap.Endpoints)
			less.Endpoints["h7"] = maps.Clone(less.Endpoints["h7"])
			delete(less.Endpoints["h7"], one.Key())
			for i := 0; b.Loop(); i++ {
				snap := []*store.Snapshot{&less, &f.snap}[i%2]
				if n := routes(m.compute(snap, &f.local, f.o)); n != endpoints-1+i%2 {
					b.Fatalf("%d routes", n)
				}
			}
		})
	}
}
