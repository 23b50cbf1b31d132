package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// DefaultNetwork is the network of requests that name neither a network nor a subnet.
const DefaultNetwork = "default"

// nameFor is the name of a network that is known by its subnet only: 10.50.0.0/16 is called 10.50.0.0-16.
func nameFor(pool netip.Prefix) string { return strings.ReplaceAll(pool.String(), "/", "-") }

// network finds the network that is wished for, or proposes it: by its name, else by its pool, else it is the default
// one. What it returns has been checked against the networks and hosts of the environment and against this host's routes.
func (i *IPAM) network(snap *store.Snapshot, local *store.Local, w wish) (store.Network, error) {
	name := w.network
	if name == "" {
		name = i.nameOf(snap, w)
	}
	fact, exists := snap.Networks[name]
	if exists {
		return fact, i.agree(fact, w)
	}
	pool := w.pool
	if !pool.IsValid() {
		var err error
		if pool, err = i.free(snap, local, name); err != nil {
			return fact, err
		}
	} else if err := i.clear(snap, local, name, pool); err != nil {
		return fact, err
	}
	fact, err := propose(name, pool, w)
	if i.o.Managed { // a Swarm's leader chooses each address, so no host has a block to choose from
		fact.Dynamic, fact.BlockLen = nil, maxBlockLen
	}
	return fact, err
}

// nameOf finds the network by its pool.
func (i *IPAM) nameOf(snap *store.Snapshot, w wish) string {
	if !w.pool.IsValid() {
		return DefaultNetwork
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Networks)) {
		if snap.Networks[name].Pool == w.pool {
			return name
		}
	}
	if _, exists := snap.Networks[DefaultNetwork]; !exists && len(i.o.Pools) > 0 && i.o.Pools[0] == w.pool {
		return DefaultNetwork // else the default network could never be made
	}
	return nameFor(w.pool)
}

// agree checks what is asked for against a network that exists.
func (i *IPAM) agree(fact store.Network, w wish) error {
	if w.pool.IsValid() && w.pool != fact.Pool {
		return fmt.Errorf("network %s of the environment has the pool %v, not %v", fact.Name, fact.Pool, w.pool)
	}
	if w.block != 0 && w.block != fact.BlockLen {
		return fmt.Errorf("network %s of the environment has blocks of /%d, which is fixed; leave out %s=%d", fact.Name, fact.BlockLen, OptionBlock, w.block)
	}
	return i.hostOverlap(fact.Name, fact.Pool)
}

// propose makes the fact of a network that does not exist yet: the gateway is the pool's first address until another one
// is asked for, and the dynamic range is --ip-range where the creator gives one.
func propose(name string, pool netip.Prefix, w wish) (store.Network, error) {
	n := store.Network{V: store.Version, Name: name, Pool: pool, Gateway: pool.Addr().Next(), Dynamic: defaultDynamic(pool)}
	if w.sub.IsValid() {
		n.Dynamic = []netip.Prefix{w.sub}
	}
	if n.BlockLen = w.block; n.BlockLen == 0 {
		n.BlockLen = blockLenFor(n.Dynamic)
	}
	return n, checkBlockLen(n.BlockLen, n.Dynamic)
}

// free chooses the pool of a network that is created without one.
func (i *IPAM) free(snap *store.Snapshot, local *store.Local, name string) (netip.Prefix, error) {
	if name == DefaultNetwork {
		if len(i.o.Pools) == 0 {
			return netip.Prefix{}, fmt.Errorf("network %s has no pool in POOLS; give one with --subnet", name)
		}
		pool := i.o.Pools[0]
		if err := i.clear(snap, local, name, pool); err != nil {
			return pool, fmt.Errorf("%w; give another one with --ipam-opt %s=%s --subnet", err, OptionNetwork, name)
		}
		return pool, nil
	}
	var first error
	for at, pool := range i.o.Pools {
		if at == 0 {
			continue
		}
		err := i.clear(snap, local, name, pool)
		if err == nil {
			return pool, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		return netip.Prefix{}, fmt.Errorf("network %s has no pool in POOLS; give one with --subnet", name)
	}
	return netip.Prefix{}, fmt.Errorf("no pool of POOLS is free for network %s (%w); give one with --subnet", name, first)
}

// clear says what a new network's pool overlaps with.
func (i *IPAM) clear(snap *store.Snapshot, local *store.Local, name string, pool netip.Prefix) error {
	for _, other := range slices.Sorted(maps.Keys(snap.Networks)) {
		if p := snap.Networks[other].Pool; other != name && p.Overlaps(pool) {
			return fmt.Errorf("pool %v overlaps with %v of network %s of the environment", pool, p, other)
		}
	}
	for _, other := range local.Pools { // also those that are not in etcd yet
		if other.Network != name && other.Pool.Overlaps(pool) {
			return fmt.Errorf("pool %v overlaps with %v of network %s on this host", pool, other.Pool, other.Network)
		}
	}
	for _, other := range local.Managed {
		if other.Network != name && other.Pool.Overlaps(pool) {
			return fmt.Errorf("pool %v overlaps with %v of the Swarm's network %s", pool, other.Pool, other.Network)
		}
	}
	for _, host := range snap.Hosts {
		for _, addr := range host.Addrs {
			if pool.Contains(addr.Unmap()) {
				return fmt.Errorf("pool %v holds the underlay address %v of host %s", pool, addr, snap.HostName(host.ID))
			}
		}
	}
	for router := range snap.Routers {
		if pool.Contains(router) {
			return fmt.Errorf("pool %v holds the router address %v; ROUTERS is the range of those", pool, router)
		}
	}
	return i.hostOverlap(name, pool)
}

// hostOverlap asks the host. dockerd does so too, and loops for ever on an automatic pool that overlaps.
func (i *IPAM) hostOverlap(name string, pool netip.Prefix) error {
	if i.o.Overlap == nil {
		return nil
	}
	what, err := i.o.Overlap(pool)
	if err != nil {
		return fmt.Errorf("routes of this host: %w", err)
	}
	if what != "" {
		return fmt.Errorf("pool %v of network %s overlaps with %s of this host", pool, name, what)
	}
	return nil
}
