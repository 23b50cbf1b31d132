package ipam

import (
	"context"
	"time"

	"github.com/meshsec/meshsec/store"
)

// sweep ends what nobody confirmed, forgets freed addresses and gives empty blocks back.
func (i *IPAM) sweep() error {
	i.pooling.Lock()
	defer i.pooling.Unlock()
	now := i.o.Now()
	for id, a := range i.asked {
		if now.Sub(a.last) > askedWithin {
			delete(i.asked, id)
		}
	}
	healthy, _ := i.st.Healthy()
	return i.cp.Update(func(l *store.Local) error {
		for _, p := range l.Pools {
			if !p.Confirmed && now.Sub(p.Since) >= unconfirmed && errHere(l, p.Network) == nil {
				l.DropNetwork(p.Network)
			}
		}
		for id, m := range l.Managed {
			if m.DockerID == "" && now.Sub(m.Since) >= unconfirmed {
				unmanage(l, id)
			}
		}
		holders := held(l)
		for k, lease := range l.Leases {
			if _, ok := holders[k]; ok || lease.Kind != store.LeaseEndpoint {
				continue
			}
			switch {
			case lease.Freed.IsZero() && now.Sub(lease.Since) >= unconfirmed:
				free(l, k, lease, now, true)
			case lease.Static && !lease.Freed.IsZero(): // freed without etcd, or while an endpoint had it, which has gone since
				free(l, k, lease, now, healthy)
			case !lease.Freed.IsZero() && now.Sub(lease.Freed) >= memory:
				delete(l.Leases, k)
			}
		}
		for k, claim := range l.Blocks {
			if now.Sub(claim.Since) >= memory && !holds(l.Leases, k) && !holds(holders, k) {
				delete(l.Blocks, k)
			}
		}
		return nil
	})
}

// confirmed are the pools that a Docker network uses.
func confirmed(l *store.Local) map[string]bool {
	ids := map[string]bool{}
	for id, p := range l.Pools {
		if p.Confirmed {
			ids[id] = true
		}
	}
	return ids
}

// prefetchWithin bounds a claim in the background, in which a container's start may have to wait for its turn.
const prefetchWithin = time.Second

// prefetch takes a block for each network that is new here, and another one when the own ones are getting full, so that a
// container's start costs no round trip. It leaves as many blocks as there are hosts. seen are the pools of the last call.
func (i *IPAM) prefetch(ctx context.Context, seen map[string]bool) map[string]bool {
	local := i.cp.Local()
	now := confirmed(local)
	for id := range now {
		if !i.wants(local, local.Pools[id], seen[id]) {
			continue
		}
		if healthy, _ := i.st.Healthy(); !healthy {
			if !seen[id] {
				delete(now, id) // still new at the next look
			}
			continue
		}
		select {
		case i.growing <- struct{}{}:
		default:
			continue // a request is just doing it
		}
		within, cancel := context.WithTimeout(ctx, prefetchWithin)
		err := i.grow(within, local.Pools[id])
		if _, here := i.cp.Local().Pools[id]; err != nil && here && ctx.Err() == nil {
			i.log(err, "no block fetched ahead of need")
		}
		cancel()
		<-i.growing
	}
	return now
}

// wants says whether the network should have another block on this host ahead of need. An old network without any has
// no containers, and its last block was given back.
func (i *IPAM) wants(l *store.Local, p store.LocalPool, seen bool) bool {
	if len(p.Fact.Dynamic) == 0 {
		return false
	}
	own, free := 0, 0
	for k := range l.Blocks {
		if k.Network == p.Network {
			own++
		}
	}
	if own == 0 {
		return !seen
	}
	now := i.o.Now()
	for addr := range addresses(p, i.own(l, p)) {
		if lease, known := l.Leases[key(p, addr)]; !known || !lease.Freed.IsZero() && rested(lease, now) {
			free++
		}
	}
	if free >= max(4, 1<<(32-p.Fact.BlockLen)/4) {
		return false
	}
	return i.spare(p)
}

// spare says that there are more blocks left than hosts.
func (i *IPAM) spare(p store.LocalPool) bool {
	snap := i.st.Snapshot()
	left := 0
	for block := range blocks(p.Fact, 0) {
		if _, claimed := snap.Blocks[store.BlockKey{Network: p.Network, Prefix: block}]; !claimed && serves(p, block) {
			left++
		}
		if left > len(snap.Hosts) {
			return true
		}
	}
	return false
}
