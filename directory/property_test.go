package directory

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/store"
)

// TestNextIsNew: whatever the history, a directory made step by step answers as one made from the facts at once.
func TestNextIsNew(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(4)
		d := New(host(0))
		for range 60 {
			w.edit(r)
			if r.IntN(3) > 0 { // else several at once
				d = w.next(d)
			}
		}
		d = w.next(d)
		want := w.next(New(host(0)))
		if d.Len() != want.Len() || addrsOf(d.Endpoints(both)) != addrsOf(want.Endpoints(both)) {
			t.Fatalf("seed %d: %d entries (%s), want %d (%s)", seed, d.Len(), addrsOf(d.Endpoints(both)), want.Len(), addrsOf(want.Endpoints(both)))
		}
		for n := range 8 {
			name := fmt.Sprint("n", n)
			got, _ := d.Find(name, both)
			exp, _ := want.Find(name, both)
			if addrsOf(got) != addrsOf(exp) {
				t.Fatalf("seed %d: %s: %s, want %s", seed, name, addrsOf(got), addrsOf(exp))
			}
		}
		for _, n := range both {
			if d.sums[n] != want.sums[n] {
				t.Fatalf("seed %d: sums of %s differ", seed, n)
			}
		}
	}
}

// edit makes one random change.
func (w *world) edit(r *rand.Rand) {
	network := both[r.IntN(2)]
	addr := netip.AddrFrom4([4]byte{10, map[string]byte{"default": 42, "shop": 43}[network], byte(64 + r.IntN(3)), byte(r.IntN(4))})
	e := at(network, addr.String(), host(1+r.IntN(3)), fmt.Sprint("n", r.IntN(8)))
	e.Aliases = []string{fmt.Sprint("n", r.IntN(8))}
	switch r.IntN(6) {
	case 0, 1:
		w.put(e)
	case 2:
		w.del(e.Key())
	case 3:
		w.claim(network, netip.PrefixFrom(addr, 26).Masked().String(), []string{"", host(1), host(2), host(3)}[r.IntN(4)])
	case 4:
		w.own(e, fmt.Sprint(r.IntN(3)))
	case 5:
		if n, ok := w.snap.Networks[network]; ok {
			networks := map[string]store.Network{}
			for k, v := range w.snap.Networks {
				networks[k] = v
			}
			if n.Gateway = addr; r.IntN(4) == 0 {
				n.Pool = netip.PrefixFrom(addr, 24).Masked()
			}
			networks[network] = n
			w.snap.Networks = networks
		}
	}
}

// many is an environment with 50,000 endpoints on 100 hosts.
func many() *world {
	w := newWorld(100)
	endpoints := map[string]map[store.EndpointKey]*store.Endpoint{}
	n := 0
	for h := 1; h < 100; h++ {
		m := map[store.EndpointKey]*store.Endpoint{}
		for range 506 {
			n++
			addr := netip.AddrFrom4([4]byte{10, 42, byte(n >> 8), byte(n)})
			w.snap.Statics[store.AddrKey{Network: "default", Addr: addr}] = store.Claim{Host: host(h)}
			e := at("default", addr.String(), host(h), fmt.Sprint("container-", n))
			m[e.Key()] = &e
		}
		endpoints[host(h)] = m
	}
	w.snap.Endpoints = endpoints
	return w
}

func BenchmarkNextOfFiftyThousand(b *testing.B) {
	w := many()
	d := w.next(New(host(0)))
	e := at("default", "10.42.250.2", host(0), "new")
	for i := 0; b.Loop(); i++ {
		e.Name = fmt.Sprint("new", i)
		e.Host = host(99)
		w.put(e)
		d = w.next(d)
	}
	b.ReportMetric(float64(d.Len()), "names")
}

// Many of one name cost no more, each, than few: a list is copied once for each directory.
func TestManyOfOneName(t *testing.T) {
	x := newChange(&index[string]{}, maphash.MakeSeed())
	var entries []*Entry
	for i := range 2000 {
		entries = append(entries, newEntry(&store.Endpoint{ID: fmt.Sprint(i)}))
		x.add("web", entries[i])
	}
	if grown := testing.AllocsPerRun(1, func() { x.add("web", entries[0]) }); grown > 1 {
		t.Errorf("%v allocations", grown)
	}
	was := slices.Clone(x.get(x.seed, "web"))
	next := newChange(x.index, x.seed)
	for _, e := range entries {
		next.remove("web", e)
	}
	if left := next.get(x.seed, "web"); len(left) > 0 || !slices.Equal(x.get(x.seed, "web"), was) {
		t.Errorf("%d are left; before there were %d, %d of them still", len(left), len(was), len(x.get(x.seed, "web")))
	}
}
