package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/meshsec/meshsec/store"
)

// explicit leases the address that --ip asks for.
func (i *IPAM) explicit(ctx context.Context, pool store.LocalPool, addr netip.Addr, who asker) error {
	fact := pool.Fact
	if !fact.Pool.Contains(addr) {
		return fmt.Errorf("address %v is outside the pool %v of network %s; %s", addr, fact.Pool, fact.Name, allowed(fact))
	}
	if what := reserved(fact, addr); what != "" {
		return fmt.Errorf("address %v is %s of network %s; %s", addr, what, fact.Name, allowed(fact))
	}
	k := key(pool, addr)
	if e, ok := held(i.cp.Local())[k]; ok {
		return errHeld(e)
	}
	block, dynamic := blockOf(fact, addr)
	if !dynamic {
		err := i.takeStatic(ctx, pool, k, who)
		if owner := errOwned(""); errors.As(err, &owner) {
			return i.errElsewhere(k, string(owner))
		}
		return err
	}
	b := store.BlockKey{Network: pool.Network, Prefix: block}
	if _, own := i.cp.Local().Blocks[b]; !own || i.lost(b) {
		if err := i.takeBlockOf(ctx, pool, b, k); err != nil {
			return err
		}
	}
	return i.cp.Update(func(l *store.Local) error {
		if _, own := l.Blocks[b]; !own {
			return fmt.Errorf("block %v of network %s was given back meanwhile; please repeat", block, fact.Name)
		}
		return lease(l, pool, k, store.Lease{Kind: store.LeaseEndpoint, PoolID: pool.ID, Name: who.name, Since: i.o.Now()})
	})
}

// takeBlockOf takes the block that an address asked for lies in.
func (i *IPAM) takeBlockOf(ctx context.Context, pool store.LocalPool, b store.BlockKey, k store.AddrKey) error {
	if claim, claimed := i.st.Snapshot().Blocks[b]; claimed && claim.Host != i.self {
		return i.errForeign(pool, b, k, claim.Host)
	}
	err := i.takeBlock(ctx, pool, b)
	if owner := errOwned(""); errors.As(err, &owner) {
		return i.errForeign(pool, b, k, string(owner))
	}
	return err
}

// lease writes a lease down, unless an endpoint has the address. One that is leased but has no endpoint is leased again:
// dockerd asks for one address of a network at a time and creates the endpoint before the next, so the first answer was lost.
func lease(l *store.Local, pool store.LocalPool, k store.AddrKey, fresh store.Lease) error {
	if _, ok := l.Pools[pool.ID]; !ok {
		return errNoPool(pool.ID)
	}
	if e, ok := held(l)[k]; ok {
		return errHeld(e)
	}
	l.Leases[k] = fresh
	return nil
}

// errElsewhere names the host that has claimed the address, and its container where that is known.
func (i *IPAM) errElsewhere(k store.AddrKey, owner string) error {
	snap := i.st.Snapshot()
	if e, ok := snap.Endpoint(store.EndpointKey{Host: owner, Network: k.Network, Addr: k.Addr}); ok {
		return fmt.Errorf("address %v %w by %s on host %s", k.Addr, errTaken, holder(e), snap.HostName(owner))
	}
	return fmt.Errorf("address %v %w by host %s", k.Addr, errTaken, snap.HostName(owner))
}

// errForeign says whose block the address is in.
func (i *IPAM) errForeign(pool store.LocalPool, b store.BlockKey, k store.AddrKey, owner string) error {
	snap := i.st.Snapshot()
	if _, ok := snap.Endpoint(store.EndpointKey{Host: owner, Network: k.Network, Addr: k.Addr}); ok {
		return i.errElsewhere(k, owner)
	}
	err := fmt.Errorf("address %v is in block %v of host %s, which assigns it", k.Addr, b.Prefix, snap.HostName(owner))
	if ranges := static(pool.Fact); len(ranges) > 0 {
		return fmt.Errorf("%w; any host can have a free address of %s", err, list(ranges))
	}
	return err
}
