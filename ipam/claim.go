package ipam

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/meshsec/meshsec/store"
)

// grow takes one more block of the network for this host: errNoBlock if none is left, store.ErrUnreachable without etcd.
// Called by one goroutine at a time, that which holds i.growing.
func (i *IPAM) grow(ctx context.Context, pool store.LocalPool) error {
	snap, local := i.st.Snapshot(), i.cp.Local()
	for block := range blocks(pool.Fact, i.skip()) {
		k := store.BlockKey{Network: pool.Network, Prefix: block}
		if _, own := local.Blocks[k]; own || !serves(pool, block) {
			continue
		}
		if claim, claimed := snap.Blocks[k]; claimed && claim.Host != i.self {
			continue
		}
		switch err := i.takeBlock(ctx, pool, k); {
		case err == nil:
			return nil
		case !errors.As(err, new(errOwned)):
			return err
		} // else another host was faster
	}
	return fmt.Errorf("network %s: %w in %s", pool.Network, errNoBlock, list(pool.Fact.Dynamic))
}

// skip makes hosts begin their search at different blocks, so that they seldom want the same one.
func (i *IPAM) skip() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(i.self))
	return h.Sum32()
}

// serves says that the block has an address which a container without a wish can get.
func serves(p store.LocalPool, block netip.Prefix) bool {
	if p.SubPool.IsValid() && !p.SubPool.Overlaps(block) {
		return false
	}
	for range dynamicOf(p, block) {
		return true
	}
	return false
}

// errOwned is the ID of the host that has a claim already.
type errOwned string

func (e errOwned) Error() string { return "owned by host " + string(e) }

// takeBlock claims a block in etcd and writes it down.
func (i *IPAM) takeBlock(ctx context.Context, pool store.LocalPool, k store.BlockKey) error {
	owner, err := i.claimed(ctx, pool, func() (string, error) { return i.st.ClaimBlock(ctx, k) })
	if err != nil {
		return fmt.Errorf("block %v of network %s: %w", k.Prefix, k.Network, err)
	}
	if owner != i.self {
		return errOwned(owner)
	}
	return i.cp.Update(func(l *store.Local) error {
		if _, ok := l.Pools[pool.ID]; !ok {
			return errNoPool(pool.ID) // the publisher gives the claim back
		}
		if _, own := l.Blocks[k]; !own {
			l.Blocks[k] = i.claim()
		}
		return nil
	})
}

// claimed makes a claim. Another host that has left the network may have deleted its fact, just after this host found it
// and relied on it: then the fact is put back, if this host still uses the network, and the claim made once more.
func (i *IPAM) claimed(ctx context.Context, pool store.LocalPool, claim func() (owner string, err error)) (string, error) {
	owner, err := claim()
	if !errors.Is(err, store.ErrNoNetwork) || !pool.Confirmed || i.o.Restore == nil {
		return owner, err
	}
	if err := i.o.Restore(ctx, pool.Network); err != nil {
		return "", err
	}
	return claim()
}

func (i *IPAM) claim() store.Claim {
	return store.Claim{V: store.Version, Host: i.self, Since: i.o.Now()}
}

// maxSingles bounds the attempts at single addresses: each lost race is a round trip.
const maxSingles = 64

// single claims one address outside the blocks for a container without a wish. The highest ones come first, because
// people give low ones to --ip.
func (i *IPAM) single(ctx context.Context, pool store.LocalPool, who asker) (netip.Addr, error) {
	snap, local := i.st.Snapshot(), i.cp.Local()
	ranges := static(pool.Fact)
	tries := 0
	for at := len(ranges) - 1; at >= 0; at-- {
		r := ranges[at]
		if pool.SubPool.IsValid() {
			if !r.Overlaps(pool.SubPool) {
				continue
			}
			if within(pool.SubPool, r) {
				r = pool.SubPool
			}
		}
		for addr := last(r); r.Contains(addr); addr = addr.Prev() {
			k := key(pool, addr)
			if _, leased := local.Leases[k]; leased || reserved(pool.Fact, addr) != "" {
				continue
			}
			if _, claimed := snap.Statics[k]; claimed {
				continue
			}
			if tries++; tries > maxSingles {
				return addr, errExhausted(pool)
			}
			err := i.takeStatic(ctx, pool, k, who)
			if err == nil || !errors.As(err, new(errOwned)) && !errors.Is(err, errTaken) {
				return addr, err
			}
		}
	}
	return netip.Addr{}, errExhausted(pool)
}

func errExhausted(p store.LocalPool) error {
	if p.SubPool.IsValid() {
		return fmt.Errorf("network %s has no free address left in --ip-range %v", p.Network, p.SubPool)
	}
	return fmt.Errorf("network %s has no free address left in %v", p.Network, p.Pool)
}

// takeStatic claims a single address in etcd and leases it. Without etcd it is one that this host has not yet given up.
func (i *IPAM) takeStatic(ctx context.Context, pool store.LocalPool, k store.AddrKey, who asker) error {
	fresh := store.Lease{Kind: store.LeaseEndpoint, PoolID: pool.ID, Static: true, Name: who.name, Container: who.id, Since: i.o.Now()}
	if healthy, _ := i.st.Healthy(); !healthy { // etcd knows better if it has gone back
		if kept, err := i.takeKept(pool, k, fresh); kept || err != nil {
			return err
		}
	}
	owner, err := i.claimed(ctx, pool, func() (string, error) { return i.st.ClaimStatic(ctx, k) })
	if err != nil {
		return fmt.Errorf("address %v of network %s: %w", k.Addr, k.Network, err)
	}
	if owner != i.self {
		return errOwned(owner)
	}
	return i.cp.Update(func(l *store.Local) error {
		if err := lease(l, pool, k, fresh); err != nil {
			return err
		}
		if _, own := l.Statics[k]; !own {
			l.Statics[k] = i.claim()
		}
		return nil
	})
}

// takeKept leases a single address whose claim is still this host's: its release waits for etcd. Not one that etcd gives to another host.
func (i *IPAM) takeKept(pool store.LocalPool, k store.AddrKey, fresh store.Lease) (kept bool, err error) {
	snap := i.st.Snapshot()
	if claim, claimed := snap.Statics[k]; claimed && claim.Host != i.self {
		return false, nil
	}
	err = i.cp.Update(func(l *store.Local) error {
		if _, kept = l.Statics[k]; !kept {
			return nil
		}
		return lease(l, pool, k, fresh)
	})
	return kept, err
}
