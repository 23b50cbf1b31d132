package driver

import (
	"context"
	"fmt"
	"maps"
	"net/netip"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// CreateNetwork puts Docker's network on this host: the fact goes into etcd unless the network exists in the environment,
// then the pool that the IPAM driver has handed out for it is confirmed. The same request again is no error; a Swarm's network then
// begins without endpoints, since Docker had lost it.
func (d *Driver) CreateNetwork(ctx context.Context, req NetworkRequest) error {
	w, err := d.parse(req)
	if err != nil {
		return err
	}
	local := d.cp.Local()
	if have, ok := local.Networks[req.ID]; ok {
		if err := same(have, w); err != nil || !have.OfSwarm() {
			return err
		}
		return d.begin(have)
	}
	pool, err := poolOf(local, w)
	if err != nil {
		return err
	}
	done, err := d.alone(ctx)
	if err != nil {
		return fmt.Errorf("network %s: %w", pool.Network, err)
	}
	defer done()
	fact := pool.Fact
	fact.Gateway = w.network.Gateway
	if _, exists := d.st.Snapshot().Networks[fact.Name]; !exists {
		fact.Aux, fact.Since = w.aux, d.o.Now()
	}
	// Noted before it is done: whatever this attempt comes to, the fact may be in etcd, and nobody may use it.
	err = d.cp.Update(func(l *store.Local) error {
		l.Unused[fact.Name] = fact.Since
		return nil
	})
	if err != nil {
		return fmt.Errorf("network %s: %w", fact.Name, err)
	}
	there, err := d.st.CreateNetwork(ctx, fact)
	if err != nil {
		return fmt.Errorf("network %s: %w", fact.Name, err)
	}
	if err := agree(there, fact, w); err != nil {
		return err
	}
	n := w.network
	n.Network, n.PoolID, n.Since = there.Name, pool.ID, d.o.Now()
	return d.cp.Update(func(l *store.Local) error {
		if ctx.Err() != nil { // Docker has given up, and will release the pool
			return ctx.Err()
		}
		p, ok := l.Pools[pool.ID]
		if !ok {
			return fmt.Errorf("pool %v was released meanwhile; please repeat", n.Pool)
		}
		if have, ok := l.Networks[n.DockerID]; ok {
			return same(have, w)
		}
		if p.Confirmed {
			return errHere(l, p)
		}
		p.Confirmed, p.Fact = true, there
		l.Pools[p.ID] = p
		l.Networks[n.DockerID] = n
		delete(l.Unused, there.Name)
		return nil
	})
}

// poolOf finds the pool that RequestPool has handed out for the network. Docker does not name it, but no two pools of a
// host overlap.
func poolOf(l *store.Local, w wish) (store.LocalPool, error) {
	for _, p := range l.Pools {
		if p.Pool != w.network.Pool {
			continue
		}
		if p.Confirmed {
			return p, errHere(l, p)
		}
		if w.name != "" && w.name != p.Network {
			return p, fmt.Errorf("-o %s=%s comes after the pool was chosen, which is that of network %s; type: %s --ipam-opt %s=%s NAME",
				optionNetwork, w.name, p.Network, command, optionNetwork, w.name)
		}
		return p, nil
	}
	return store.LocalPool{}, fmt.Errorf("pool %v is none of this plugin's IPAM driver; type: %s --subnet %v NAME", w.network.Pool, command, w.network.Pool)
}

func errHere(l *store.Local, p store.LocalPool) error {
	for id, n := range l.Networks {
		if n.Network == p.Network {
			return fmt.Errorf("network %s of the environment is already on this host, as Docker's network %.12s", p.Network, id)
		}
	}
	return fmt.Errorf("network %s of the environment is already on this host", p.Network)
}

// same compares a repeated request with the network that was created by the first.
func same(have store.LocalNetwork, w wish) error {
	n := w.network
	if have.Pool != n.Pool || have.Gateway != n.Gateway || have.Internal != n.Internal || !maps.Equal(have.Options, n.Options) {
		return fmt.Errorf("Docker's network %.12s exists on this host with the pool %v, the gateway %v or options that are not these",
			n.DockerID, have.Pool, have.Gateway)
	}
	return nil
}

// agree compares the network of the environment with what this host was asked for.
func agree(there, want store.Network, w wish) error {
	if there.Pool != want.Pool {
		return fmt.Errorf("network %s of the environment has the pool %v, not %v; type: %s --subnet %v NAME", there.Name, there.Pool, want.Pool, command, there.Pool)
	}
	if there.Gateway != want.Gateway {
		return fmt.Errorf("network %s has the gateway %v on every host, not %v; leave out --gateway", there.Name, there.Gateway, want.Gateway)
	}
	if there.BlockLen != want.BlockLen {
		return fmt.Errorf("network %s was just created by another host, with blocks of /%d; repeat the command to join it", there.Name, there.BlockLen)
	}
	known := map[netip.Addr]bool{}
	for _, addr := range there.Aux {
		known[addr] = true
	}
	for name, addr := range w.aux {
		if !known[addr] {
			return fmt.Errorf("auxiliary address %s=%v is none of network %s, whose are fixed: %v", name, addr, there.Name, there.Aux)
		}
	}
	return nil
}

// DeleteNetwork takes Docker's network off this host with all endpoints that it still has, gives its addresses back, and
// leaves the deletion of its fact to Run: other hosts may have it. An unknown network is no error.
func (d *Driver) DeleteNetwork(_ context.Context, id string) error {
	var name string
	var ends []store.LocalEndpoint
	err := d.cp.Update(func(l *store.Local) error {
		n, ok := l.Networks[id]
		if !ok {
			return nil
		}
		name = n.Network
		for _, e := range l.Endpoints {
			if e.Network == name {
				ends = append(ends, e)
			}
		}
		l.Unused[name] = l.Pools[n.PoolID].Fact.Since // the snapshot may be behind
		delete(l.Networks, id)
		l.DropNetwork(name)
		return nil
	})
	if err != nil || name == "" {
		return err
	}
	d.unlink(ends)
	return nil
}

// begin forgets the endpoints of a network that Docker has lost with all of them, and makes again.
func (d *Driver) begin(n store.LocalNetwork) error {
	var ends []store.LocalEndpoint
	err := d.cp.Update(func(l *store.Local) error {
		for id, e := range l.Endpoints {
			if e.DockerNetwork == n.DockerID {
				ends = append(ends, e)
				d.collect(l, id)
			}
		}
		return nil
	})
	d.unlink(ends)
	return err
}

// unlink deletes the veths of endpoints that are forgotten.
func (d *Driver) unlink(ends []store.LocalEndpoint) {
	for _, e := range ends {
		if err := d.links.DelVeth(link.EndpointLink(e.ID)); err != nil {
			d.log(err, "veth of a deleted network is left to the reconciler")
		}
	}
}
