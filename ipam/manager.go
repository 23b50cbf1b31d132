package ipam

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/meshsec/meshsec/store"
)

// This file answers a Swarm's leader, with SCOPE=global: it asks for pools in the global address space and for the address of
// each task, which the node that runs the task then asks its own IPAM driver for. So there is one claim for both, the node's. What
// the leader was given is no claim but kept here, since Docker tells a leader whose plugin was restarted nothing again; a new leader
// tells its own plugin of all there is. As every claim of a node is seen by all managers, no leader gives out what a node has.

// managePool finds or proposes a network for a Swarm. Its pool is provisional until AllocateNetwork names it. The same request
// again, of a leader that was restarted, gets the same answer.
func (i *IPAM) managePool(ctx context.Context, w wish) (PoolReply, error) {
	if w.block != 0 {
		return PoolReply{}, fmt.Errorf("%s has no effect with SCOPE=global, where hosts have no blocks; leave it out", OptionBlock)
	}
	snap, err := i.facts(ctx)
	if err != nil {
		return PoolReply{}, err
	}
	i.pooling.Lock()
	defer i.pooling.Unlock()
	fact, err := i.network(snap, i.cp.Local(), w)
	if err != nil {
		return PoolReply{}, err
	}
	id := w.id(fact.Name, fact.Pool)
	err = i.cp.Update(func(l *store.Local) error {
		for other, m := range l.Managed {
			if m.Network == fact.Name && other != id {
				return fmt.Errorf("network %s of the environment is already the Swarm's, with other ranges (%s)", fact.Name, other)
			}
		}
		if _, again := l.Managed[id]; !again {
			l.Managed[id] = store.ManagedPool{ID: id, Network: fact.Name, Pool: fact.Pool, SubPool: w.sub, Fact: fact, Since: i.o.Now()}
		}
		return nil
	})
	return PoolReply{ID: id, Pool: fact.Pool}, err
}

// allot gives the leader an address. One that it names is its own word: a user's, or an earlier leader's.
func (i *IPAM) allot(m store.ManagedPool, want netip.Addr, options map[string]string) (addr netip.Addr, err error) {
	snap := i.st.Snapshot()
	i.pooling.Lock() // and with it i.allotted
	defer i.pooling.Unlock()
	err = i.cp.Update(func(l *store.Local) error {
		pool, ok := l.Managed[m.ID]
		if !ok {
			return errNoPool(m.ID)
		}
		if options[addressType] == gatewayType {
			addr, err = managedGateway(snap, &pool, want)
			l.Managed[m.ID] = pool
			return err
		}
		if addr = want; !want.IsValid() {
			if addr = i.next(snap, l, pool); !addr.IsValid() {
				return fmt.Errorf("network %s has no free address left for tasks in %s", pool.Network, list(managed(pool)))
			}
		} else if what := reserved(pool.Fact, addr); what != "" || !pool.Pool.Contains(addr) {
			return fmt.Errorf("address %v is %s; %s", addr, orOutside(what, pool.Pool), allowed(pool.Fact))
		} else if block, dynamic := blockOf(pool.Fact, addr); dynamic {
			return fmt.Errorf("address %v of network %s is in %v, which hosts of SCOPE=local assign blocks of; tasks can have %s", addr, pool.Network, block, list(managed(pool)))
		}
		l.Allotted[store.AddrKey{Network: pool.Network, Addr: addr}] = store.Allotment{PoolID: m.ID, Since: i.o.Now()}
		return nil
	})
	if err == nil && options[addressType] != gatewayType {
		i.allotted[m.ID] = addr
	}
	return addr, err
}

func orOutside(what string, pool netip.Prefix) string {
	if what == "" {
		return fmt.Sprintf("outside the pool %v", pool)
	}
	return what
}

// managedGateway is the gateway of a Swarm's network: the environment's if it has that network.
func managedGateway(snap *store.Snapshot, m *store.ManagedPool, want netip.Addr) (netip.Addr, error) {
	if !want.IsValid() || want == m.Fact.Gateway {
		return m.Fact.Gateway, nil
	}
	if _, exists := snap.Networks[m.Network]; exists || m.DockerID != "" {
		return want, fmt.Errorf("network %s has the gateway %v on every host; leave out --gateway %v", m.Network, m.Fact.Gateway, want)
	}
	if err := usable(m.Fact, want, "--gateway"); err != nil {
		return want, err
	}
	m.Fact.Gateway = want
	return want, nil
}

// managed are the ranges that a leader allots addresses of: those without blocks, as far as --ip-range goes.
func managed(m store.ManagedPool) (ranges []netip.Prefix) {
	for _, r := range static(m.Fact) {
		switch {
		case !m.SubPool.IsValid() || within(r, m.SubPool):
			ranges = append(ranges, r)
		case within(m.SubPool, r):
			ranges = append(ranges, m.SubPool)
		}
	}
	return ranges
}

// next is the free address after the last one that was allotted, around all ranges once; none if all are taken. So one that was
// given back rests as long as possible.
func (i *IPAM) next(snap *store.Snapshot, l *store.Local, m store.ManagedPool) (first netip.Addr) {
	after := i.allotted[m.ID]
	for _, r := range managed(m) {
		for addr := r.Addr(); r.Contains(addr); addr = addr.Next() {
			if first.IsValid() && after.IsValid() && !after.Less(addr) {
				addr = min32(last(r), after) // there is one before the last that was given; now only those behind it count
				continue
			}
			k := store.AddrKey{Network: m.Network, Addr: addr}
			if _, taken := l.Allotted[k]; taken || reserved(m.Fact, addr) != "" {
				continue
			}
			if _, claimed := snap.Statics[k]; claimed {
				continue
			}
			if !after.IsValid() || after.Less(addr) {
				return addr
			}
			first = addr
		}
	}
	return first
}

func min32(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}

// unmanage takes a Swarm's pool off this host, with what was allotted.
func unmanage(l *store.Local, id string) {
	delete(l.Managed, id)
	for k, a := range l.Allotted {
		if a.PoolID == id {
			delete(l.Allotted, k)
		}
	}
}
