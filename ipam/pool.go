package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/store"
)

// dockerd asks again for an automatic pool that it does not like, without end and without pause, and gives all of them
// back only afterwards. So the third such request in a row gets an error.
const (
	maxAsked    = 2
	askedWithin = 10 * time.Second
)

// ask counts automatic requests for one pool that nothing came of.
type ask struct {
	times int
	last  time.Time
}

// RequestPool finds or proposes the network that Docker asks for. The pool is provisional until the driver's
// CreateNetwork names it: until then the same request gets the same answer, after that it is refused, because it comes
// from a second Docker network for the same network of the environment. A Swarm's network is the exception: dockerd may have
// forgotten that it has made it, so CreateNetwork is to find out which of the two it is.
func (i *IPAM) RequestPool(ctx context.Context, req PoolRequest) (PoolReply, error) {
	w, err := parse(req)
	if err != nil {
		return PoolReply{}, err
	}
	if w.space == GlobalSpace {
		if !i.o.Managed {
			return PoolReply{}, fmt.Errorf("address space %s is that of a Swarm's managers with SCOPE=global, which is not set on this host", GlobalSpace)
		}
		return i.managePool(ctx, w)
	}
	snap, err := i.facts(ctx)
	if err != nil {
		return PoolReply{}, err
	}
	i.pooling.Lock()
	defer i.pooling.Unlock()
	local := i.cp.Local()
	fact, err := i.network(snap, local, w)
	if err != nil {
		return PoolReply{}, err
	}
	if w.sub.IsValid() && !within(w.sub, fact.Pool) {
		return PoolReply{}, fmt.Errorf("--ip-range %v is not inside the pool %v of network %s", w.sub, fact.Pool, fact.Name)
	}
	i.abandoned(ctx, local, fact.Name)
	now := i.o.Now()
	id := w.id(fact.Name, fact.Pool)
	err = i.cp.Update(func(l *store.Local) error {
		if made(l, id) {
			return nil
		}
		if err := errHere(l, fact.Name); err != nil {
			return err
		}
		for other, p := range l.Pools {
			if p.Network == fact.Name && other != id {
				return fmt.Errorf("network %s is just being created on this host with other ranges (%s); try again when that is done, "+
					"or in %v if it was broken off", fact.Name, other, unconfirmed)
			}
		}
		l.Pools[id] = store.LocalPool{ID: id, Network: fact.Name, Pool: fact.Pool, SubPool: w.sub, Fact: fact, Since: now}
		return nil
	})
	if err != nil {
		return PoolReply{}, err
	}
	if !w.pool.IsValid() {
		if err := i.bound(id, fact.Pool, now); err != nil {
			return PoolReply{}, err
		}
	}
	return PoolReply{ID: id, Pool: fact.Pool}, nil
}

// made says that the pool is that of a Swarm's network on this host.
func made(l *store.Local, id string) bool {
	for _, n := range l.Networks {
		if n.PoolID == id && n.OfSwarm() {
			return true
		}
	}
	return false
}

// errHere says which Docker network has the network already, if one does.
func errHere(l *store.Local, network string) error {
	for id, n := range l.Networks {
		if n.Network == network {
			return fmt.Errorf("network %s of the environment is already on this host, as Docker's network %.12s; "+
				"use that, or name another one with --ipam-opt %s=NAME", network, id, OptionNetwork)
		}
	}
	return nil
}

// bound ends dockerd's loop. It is called under i.pooling.
func (i *IPAM) bound(id string, pool netip.Prefix, now time.Time) error {
	a := i.asked[id]
	if since := now.Sub(a.last); since < 0 || since > askedWithin {
		a.times = 0
	}
	a.times++
	a.last = now
	i.asked[id] = a
	if a.times > maxAsked {
		return fmt.Errorf("Docker was offered the pool %v and asks for another one, so it must overlap with a route or a nameserver of this host; "+
			"give a free one with --subnet", pool)
	}
	return nil
}

// ReleasePool gives the pool back with all of its addresses and this host's claims in the network. An unknown pool is no
// error. While a Docker network uses the pool it is only noted: DeleteNetwork, which Docker sends next, gives all back. If it
// does not come, the release was one of a second Docker network that got the same pool and was refused, or one of a network
// whose creation failed for Docker although it was done here: an agent that was killed has not answered.
func (i *IPAM) ReleasePool(_ context.Context, id string) error {
	i.pooling.Lock()
	defer i.pooling.Unlock()
	delete(i.asked, id)
	return i.cp.Update(func(l *store.Local) error {
		if m, ok := l.Managed[id]; ok && m.DockerID == "" { // else it was the release of a second network that was refused
			unmanage(l, id)
		}
		pool, ok := l.Pools[id]
		switch {
		case !ok:
		case errHere(l, pool.Network) == nil:
			l.DropNetwork(pool.Network)
		default:
			pool.Released = i.o.Now()
			l.Pools[id] = pool
		}
		return nil
	})
}

// abandoned makes way for a network that is already on this host if Docker has given its pool back and has forgotten it.
func (i *IPAM) abandoned(ctx context.Context, l *store.Local, network string) {
	for id, n := range l.Networks {
		if n.Network == network && !l.Pools[n.PoolID].Released.IsZero() && i.o.Abandoned != nil && i.o.Abandoned(ctx, id) {
			return
		}
	}
}
