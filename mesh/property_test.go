package mesh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/meshsec/meshsec/store"
)

// edit is one write to the facts, of this host or another.
type edit func(*facts)

// randomEdits makes a history in which no two writes are to the same thing, so that every order ends in the same facts.
// Claims and endpoints are thrown about: most contradict each other.
func randomEdits(r *rand.Rand, hosts int) []edit {
	var out []edit
	do := func(e edit) { out = append(out, e) }
	id := func() string { return fmt.Sprintf("h%d", r.IntN(hosts)) }
	for i := range hosts {
		do(func(f *facts) { f.host(fmt.Sprintf("h%d", i), i+1) })
	}
	do(func(f *facts) { f.network("default", "10.42.0.0/20") })
	do(func(f *facts) { f.onThisHost("d0", "default", "10.42.0.0/20") })
	do(func(f *facts) { f.network("other", "10.43.0.0/20") })
	for i := range 12 {
		owner, bits := id(), []int{26, 26, 26, 28, 24}[r.IntN(5)]
		p, _ := addr(fmt.Sprintf("10.42.%d.%d", i, r.IntN(4)*64)).Prefix(bits)
		do(func(f *facts) { f.block("default", p.String(), owner) })
	}
	seen := map[string]bool{}
	for range 60 {
		host, at := id(), fmt.Sprintf("10.%d.%d.%d", 42+r.IntN(2), r.IntN(17), r.IntN(6))
		network := []string{"default", "other"}[r.IntN(2)]
		if key := network + at; r.IntN(3) == 0 && !seen[key] {
			seen[key] = true
			do(func(f *facts) { f.static(network, at, host) })
		}
		do(func(f *facts) {
			f.endpoint(host, network, at)
			if host == f.o.Self {
				f.ownEndpoint(network+at, network, at)
			}
		})
	}
	return out
}

func emptyFacts(self string) *facts {
	f := baseFacts()
	clear(f.snap.Hosts)
	clear(f.snap.Networks)
	clear(f.snap.Blocks)
	clear(f.snap.Routers)
	clear(f.snap.Endpoints)
	clear(f.local.Blocks)
	clear(f.local.Networks)
	clear(f.local.Endpoints)
	f.o.Self = self
	return f
}

func play(self string, edits []edit) *facts {
	f := emptyFacts(self)
	for _, e := range edits {
		e(f)
	}
	return f
}

// TestDesiredIsAFunction (invariant 6): the same facts give the same value, in whatever order and how often they came.
func TestDesiredIsAFunction(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		edits := randomEdits(r, 2+r.IntN(6))
		want := text(play("h0", edits).compute())
		for name, history := range map[string][]edit{
			"reversed": reversed(edits),
			"permuted": permuted(r, edits),
			"doubled":  append(slices.Clone(edits), edits...),
			"split":    append(slices.Clone(edits[len(edits)/2:]), edits[:len(edits)/2]...),
		} {
			if d := difference(want, text(play("h0", history).compute())); len(d) > 0 {
				t.Fatalf("seed %d, %s: %v", seed, name, d)
			}
		}
	}
}

func reversed(e []edit) []edit {
	e = slices.Clone(e)
	slices.Reverse(e)
	return e
}

func permuted(r *rand.Rand, e []edit) []edit {
	e = slices.Clone(e)
	r.Shuffle(len(e), func(i, j int) { e[i], e[j] = e[j], e[i] })
	return e
}

// TestDesiredAgainstOracle: an address is routed exactly to the host that the store's own look-up names, and only there.
func TestDesiredAgainstOracle(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		f := play("h0", randomEdits(r, 2+r.IntN(6)))
		d := f.compute()
		routed := map[netip.Prefix]string{}
		for _, p := range d.Peers {
			for _, x := range p.Prefixes {
				if other, ok := routed[x]; ok {
					t.Fatalf("seed %d: %s is routed to %s and %s", seed, x, other, p.ID)
				}
				routed[x] = p.ID
			}
			delete(routed, netip.PrefixFrom(p.Router, 32))
		}
		pool, expected := prefix("10.42.0.0/20"), 0
		for key := range f.snap.EachEndpoint {
			owner, _ := f.snap.Owner(key.Network, key.Addr)
			_, here := f.local.Endpoints["default"+key.Addr.String()]
			carried := key.Network == "default" && key.Host != "h0" && owner == key.Host && pool.Contains(key.Addr) && key.Addr != addr("10.42.0.1") && !here
			if got := routed[netip.PrefixFrom(key.Addr, 32)]; carried && got != key.Host {
				t.Fatalf("seed %d: %v is routed to %q, its owner is %q", seed, key, got, owner)
			}
			if carried {
				expected++
			}
		}
		if expected != len(routed) {
			t.Fatalf("seed %d: %d routes, want %d", seed, len(routed), expected)
		}
	}
}

// TestHostsAgree: two hosts never send an address to two different hosts.
func TestHostsAgree(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		hosts := 2 + r.IntN(6)
		edits := randomEdits(r, hosts)
		home := map[netip.Prefix]string{}
		for i := range hosts {
			self := fmt.Sprintf("h%d", i)
			for _, p := range play(self, edits).compute().Peers {
				for _, x := range p.Prefixes {
					if other, ok := home[x]; ok && other != p.ID {
						t.Fatalf("seed %d: %s is %s's, says %s; another says %s's", seed, x, p.ID, self, other)
					}
					home[x] = p.ID
				}
			}
		}
	}
}

func TestComputeLeavesItsArgumentsAlone(t *testing.T) {
	f := baseFacts()
	before := fmt.Sprint(f.snap, maps.Collect(f.snap.EachEndpoint), f.local)
	d := f.compute()
	for i := range d.Peers {
		d.Peers[i].Prefixes[0] = prefix("0.0.0.0/0")
	}
	if fmt.Sprint(f.snap, maps.Collect(f.snap.EachEndpoint), f.local) != before {
		t.Error("the facts have changed")
	}
	if d := Compute(&store.Snapshot{}, &store.Local{}, f.o); len(d.Peers)+len(d.Bridges)+len(d.Guard) > 0 {
		t.Errorf("from nothing came %v", text(d))
	}
}
