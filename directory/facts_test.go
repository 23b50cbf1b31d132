package directory

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/meshsec/meshsec/store"
)

// world is facts in the making. Like the store it copies only the map of the host that changes.
type world struct {
	snap  store.Snapshot
	local store.Local
}

func newWorld(hosts int) *world {
	w := &world{snap: store.Snapshot{Revision: 1, Hosts: map[string]store.Host{}, Networks: map[string]store.Network{},
		Blocks: map[store.BlockKey]store.Claim{}, Statics: map[store.AddrKey]store.Claim{}, Endpoints: map[string]map[store.EndpointKey]*store.Endpoint{}}}
	for i := range hosts {
		id := fmt.Sprintf("%016x", i)
		w.snap.Hosts[id] = store.Host{ID: id, Name: fmt.Sprintf("H%d", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}}
	}
	for i, name := range []string{"default", "shop"} {
		pool := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(42 + i), 0, 0}), 16)
		w.snap.Networks[name] = store.Network{Name: name, Pool: pool, Gateway: pool.Addr().Next(), BlockLen: 26}
	}
	return w
}

func host(i int) string { return fmt.Sprintf("%016x", i) }

// claim gives a block of 64 addresses to a host; nobody: it is free.
func (w *world) claim(network, prefix, owner string) {
	w.snap.Blocks = maps.Clone(w.snap.Blocks)
	key := store.BlockKey{Network: network, Prefix: netip.MustParsePrefix(prefix)}
	if delete(w.snap.Blocks, key); owner != "" {
		w.snap.Blocks[key] = store.Claim{Host: owner}
	}
	w.snap.Revision++
}

// put adds or replaces an endpoint of a host.
func (w *world) put(e store.Endpoint) store.Endpoint {
	if e.ID == "" {
		e.ID = e.Network + e.Addr.String()
	}
	m := maps.Clone(w.snap.Endpoints[e.Host])
	if m == nil {
		m = map[store.EndpointKey]*store.Endpoint{}
	}
	m[e.Key()] = &e
	w.snap.Endpoints = maps.Clone(w.snap.Endpoints)
	w.snap.Endpoints[e.Host] = m
	w.snap.Revision++
	return e
}

func (w *world) del(k store.EndpointKey) {
	m := maps.Clone(w.snap.Endpoints[k.Host])
	delete(m, k)
	w.snap.Endpoints = maps.Clone(w.snap.Endpoints)
	if w.snap.Endpoints[k.Host] = m; len(m) == 0 {
		delete(w.snap.Endpoints, k.Host)
	}
	w.snap.Revision++
}

// own puts an endpoint on this host, in a sandbox.
func (w *world) own(e store.Endpoint, sandbox string) {
	next := w.local
	if next.Endpoints = maps.Clone(w.local.Endpoints); next.Endpoints == nil {
		next.Endpoints = map[string]store.LocalEndpoint{}
	}
	e.Host = host(0)
	if e.ID == "" {
		e.ID = e.Network + e.Addr.String()
	}
	next.Endpoints[e.ID] = store.LocalEndpoint{Endpoint: e, SandboxKey: sandbox, Joined: true}
	w.local = next
}

// facts are the world as it is now.
func (w *world) facts() (*store.Snapshot, *store.Local) {
	snap, local := w.snap, w.local
	return &snap, &local
}

func (w *world) next(d *Directory, lost ...string) *Directory {
	down := map[string]bool{}
	for _, h := range lost {
		down[h] = true
	}
	snap, local := w.facts()
	return d.Next(snap, local, down)
}

func at(network, addr, owner, name string) store.Endpoint {
	return store.Endpoint{V: 1, Host: owner, Network: network, Addr: netip.MustParseAddr(addr), MAC: "02:6d:00:00:00:01", Name: name}
}
