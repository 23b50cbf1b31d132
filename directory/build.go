package directory

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/store"
)

// builder brings a directory from one state of the facts to the next.
type builder struct {
	from, to *Directory
	names    change[string]
	addrs    change[netip.Addr]
}

// facts compares the endpoints, host by host: the map of a host that has not changed is the same one.
func (b *builder) facts() {
	next := make(map[string]map[store.EndpointKey]*store.Endpoint, len(b.to.snap.Endpoints)+1)
	maps.Copy(next, b.to.snap.Endpoints)
	next[b.to.self] = b.from.facts[b.to.self]
	if b.from.local != b.to.local {
		own := make(map[store.EndpointKey]*store.Endpoint, len(b.to.local.Endpoints))
		for _, e := range b.to.local.Endpoints {
			own[e.Key()] = &e.Endpoint
		}
		next[b.to.self] = own
	}
	for host, now := range next {
		was := b.from.facts[host]
		if same(was, now) {
			continue
		}
		for key, e := range now {
			if old, ok := was[key]; !ok || old != e && !equal(old, e) {
				b.put(key, e, b.routed(key))
			}
		}
		for key := range was {
			if _, ok := now[key]; !ok {
				b.put(key, nil, false)
			}
		}
	}
	for host, was := range b.from.facts {
		if _, ok := next[host]; !ok {
			for key := range was {
				b.put(key, nil, false)
			}
		}
	}
	b.to.facts = next
}

// claims looks again at the endpoints whose claim or network has changed.
func (b *builder) claims() {
	var changed []claim
	from, to := b.from.snap, b.to.snap
	if !same(from.Blocks, to.Blocks) {
		differing(from.Blocks, to.Blocks, claimants, func(k store.BlockKey) { changed = append(changed, claim{k.Network, k.Prefix}) })
	}
	if !same(from.Statics, to.Statics) {
		differing(from.Statics, to.Statics, claimants, func(k store.AddrKey) {
			changed = append(changed, claim{k.Network, netip.PrefixFrom(k.Addr, k.Addr.BitLen())})
		})
	}
	if !same(from.Networks, to.Networks) {
		everywhere := func(a, b store.Network) bool { return a.Pool == b.Pool && a.Gateway == b.Gateway }
		differing(from.Networks, to.Networks, everywhere, func(name string) {
			changed = append(changed, claim{name, netip.PrefixFrom(netip.IPv4Unspecified(), 0)})
		})
	}
	if len(changed) == 0 {
		return
	}
	for _, endpoints := range b.to.facts {
		for key, e := range endpoints {
			if slices.ContainsFunc(changed, func(c claim) bool { return c.holds(key) }) {
				if is := b.routed(key); is != (b.find(key) != nil) {
					b.put(key, e, is)
				}
			}
		}
	}
}

func claimants(a, b store.Claim) bool { return a.Host == b.Host }

// differing calls fn for the keys of values that are not equal, or in one map only.
func differing[K comparable, V any](from, to map[K]V, equal func(a, b V) bool, fn func(K)) {
	for k, v := range to {
		if old, ok := from[k]; !ok || !equal(old, v) {
			fn(k)
		}
	}
	for k := range from {
		if _, ok := to[k]; !ok {
			fn(k)
		}
	}
}

// routed tells whether packets for an endpoint get there: its host holds the address. Own endpoints are there in any case.
func (b *builder) routed(key store.EndpointKey) bool {
	if key.Host == b.to.self {
		return true
	}
	n, ok := b.to.snap.Networks[key.Network]
	if !ok || !n.Pool.Contains(key.Addr) || key.Addr == n.Gateway {
		return false
	}
	owner, _ := b.to.snap.Owner(key.Network, key.Addr)
	return owner == key.Host
}

// find gives an endpoint's entry as it is by now.
func (b *builder) find(key store.EndpointKey) *Entry {
	for _, e := range b.addrs.get(b.addrs.seed, key.Addr) {
		if e.Key() == key {
			return e
		}
	}
	return nil
}

// put takes an endpoint's entry out, and in its place, if it is there, puts e.
func (b *builder) put(key store.EndpointKey, e *store.Endpoint, there bool) {
	if old := b.find(key); old != nil {
		b.addrs.remove(key.Addr, old)
		for _, name := range keys(*old.Endpoint) {
			b.names.remove(name, old)
		}
		b.to.sums[key.Network] -= old.sum
		b.to.entries--
	}
	if !there {
		return
	}
	entry := newEntry(e)
	b.addrs.add(key.Addr, entry)
	for _, name := range keys(*e) {
		b.names.add(name, entry)
	}
	b.to.sums[key.Network] += entry.sum
	b.to.entries++
}
