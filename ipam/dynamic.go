package ipam

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/store"
)

// dynamic hands out an address of this host's blocks, which asks nobody. Only when they are used up does it take another
// block, or, where none is left, a single address; and without etcd, or when all is taken, one that is still resting.
func (i *IPAM) dynamic(ctx context.Context, pool store.LocalPool, who asker) (netip.Addr, error) {
	if addr, err := i.assign(pool, who, false); !errors.Is(err, errFull) {
		return addr, err
	}
	select {
	case i.growing <- struct{}{}:
		defer func() { <-i.growing }()
	case <-ctx.Done():
		return netip.Addr{}, ctx.Err()
	}
	for {
		addr, err := i.assign(pool, who, false) // somebody else may have taken a block in the meantime
		if !errors.Is(err, errFull) {
			return addr, err
		}
		if healthy, _ := i.st.Healthy(); !healthy { // don't make a container wait for a time-out
			if addr, err := i.assign(pool, who, true); err == nil {
				return addr, nil
			}
		}
		grown := i.grow(ctx, pool)
		if grown == nil {
			continue
		}
		if errors.Is(grown, errNoBlock) {
			if addr, grown = i.single(ctx, pool, who); grown == nil {
				return addr, nil
			}
		}
		if addr, err := i.assign(pool, who, true); err == nil {
			return addr, nil
		}
		return netip.Addr{}, grown
	}
}

// assign leases an address of the own blocks, errFull if there is none.
func (i *IPAM) assign(pool store.LocalPool, who asker, resting bool) (netip.Addr, error) {
	var addr netip.Addr
	now := i.o.Now()
	err := i.cp.Update(func(l *store.Local) error {
		p, ok := l.Pools[pool.ID]
		if !ok {
			return errNoPool(pool.ID)
		}
		if addr, ok = choose(l, p, i.own(l, p), who, now, resting); !ok {
			return errFull
		}
		l.Leases[key(p, addr)] = store.Lease{Kind: store.LeaseEndpoint, PoolID: p.ID, Name: who.name, Container: who.id, Since: now}
		return nil
	})
	return addr, err
}

// choose picks a free address of the own blocks: the one that the container had last; else one that was never
// used, the lowest; else the one that has been free for longest, if it has rested or resting ones will do.
func choose(l *store.Local, p store.LocalPool, own []netip.Prefix, who asker, now time.Time, resting bool) (netip.Addr, bool) {
	var fresh, oldest, former netip.Addr
	var oldestFreed, formerFreed time.Time
	holders := held(l)
	for addr := range addresses(p, own) {
		k := key(p, addr)
		if _, taken := holders[k]; taken {
			continue
		}
		lease, known := l.Leases[k]
		switch {
		case !known:
			if !fresh.IsValid() {
				fresh = addr
			}
		case lease.Freed.IsZero():
		default:
			if who.had(lease) && (!former.IsValid() || lease.Freed.After(formerFreed)) {
				former, formerFreed = addr, lease.Freed
			}
			if (resting || rested(lease, now)) && (!oldest.IsValid() || lease.Freed.Before(oldestFreed)) {
				oldest, oldestFreed = addr, lease.Freed
			}
		}
	}
	addr := cmp.Or(former, fresh, oldest)
	return addr, addr.IsValid()
}

// rested says that a freed address may be used again. A clock that was set back leaves it resting.
func rested(lease store.Lease, now time.Time) bool { return now.Sub(lease.Freed) >= rest }

// own are the blocks of this host that a container without a wish can get an address of, in ascending order. One that etcd
// gives to another host is not among them: that happens when etcd was restored from a backup of before this host's claim, and
// what is assigned from it is kept, but each further address might be one that the other host has assigned.
func (i *IPAM) own(l *store.Local, p store.LocalPool) []netip.Prefix {
	var own []netip.Prefix
	for k := range l.Blocks {
		if k.Network == p.Network && (!p.SubPool.IsValid() || k.Prefix.Overlaps(p.SubPool)) && !i.lost(k) {
			own = append(own, k.Prefix)
		}
	}
	slices.SortFunc(own, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return own
}

// lost says that a block is another host's by what etcd says, not by an old copy of it.
func (i *IPAM) lost(k store.BlockKey) bool {
	snap := i.st.Snapshot()
	claim, claimed := snap.Blocks[k]
	return claimed && claim.Host != i.self && !snap.FromDisk
}

// addresses are those of the blocks that a container without a wish can get, in ascending order.
func addresses(p store.LocalPool, own []netip.Prefix) func(yield func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for _, block := range own {
			for addr := range dynamicOf(p, block) {
				if !yield(addr) {
					return
				}
			}
		}
	}
}

// dynamicOf are the addresses of one block that a container without a wish can get on this host.
func dynamicOf(p store.LocalPool, block netip.Prefix) func(yield func(netip.Addr) bool) {
	if p.SubPool.IsValid() && within(p.SubPool, block) {
		block = p.SubPool
	}
	return func(yield func(netip.Addr) bool) {
		for addr, end := block.Addr(), last(block); ; addr = addr.Next() {
			if reserved(p.Fact, addr) == "" && !yield(addr) {
				return
			}
			if addr == end {
				return
			}
		}
	}
}
