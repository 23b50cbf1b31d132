package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// AllocateNetwork is a Swarm's leader's word that it has made a network: its fact goes into etcd unless the network exists in the
// environment. A leader that was restarted, or is new, repeats it for every network, and then needs no etcd.
func (d *Driver) AllocateNetwork(ctx context.Context, id string, v4 []PoolData, options map[string]string) error {
	if err := CheckOptions(options, d.o.MTU()); err != nil {
		return err
	}
	w := wish{network: store.LocalNetwork{DockerID: id}, name: options[optionNetwork]}
	if len(v4) != 1 {
		return fmt.Errorf("a network of meshsec has one pool, not %d; give one --subnet, or none", len(v4))
	}
	if err := w.data(v4[0]); err != nil {
		return err
	}
	m, err := managedPool(d.cp.Local(), w)
	if err != nil || m.DockerID == id {
		return err
	}
	done, err := d.alone(ctx)
	if err != nil {
		return fmt.Errorf("network %s: %w", m.Network, err)
	}
	defer done()
	there, exists := d.st.Snapshot().Networks[m.Network]
	if !exists {
		fact := m.Fact
		fact.Gateway, fact.Since = w.network.Gateway, d.o.Now()
		// Noted before it is done, as for CreateNetwork.
		err := d.cp.Update(func(l *store.Local) error {
			l.Unused[fact.Name] = fact.Since
			return nil
		})
		if err != nil {
			return fmt.Errorf("network %s: %w", fact.Name, err)
		}
		if there, err = d.st.CreateNetwork(ctx, fact); err != nil {
			return fmt.Errorf("network %s: %w", fact.Name, err)
		}
	}
	if there.Pool != w.network.Pool || there.Gateway != w.network.Gateway {
		return fmt.Errorf("network %s of the environment has the pool %v and the gateway %v, not %v and %v",
			there.Name, there.Pool, there.Gateway, w.network.Pool, w.network.Gateway)
	}
	return d.cp.Update(func(l *store.Local) error {
		now, err := managedPool(l, w)
		if err != nil {
			return err
		}
		now.DockerID, now.Fact = id, there
		l.Managed[now.ID] = now
		delete(l.Unused, there.Name)
		return nil
	})
}

// managedPool finds the pool that the leader has been given for the network.
func managedPool(l *store.Local, w wish) (m store.ManagedPool, err error) {
	for _, m := range l.Managed {
		if m.Pool != w.network.Pool {
			continue
		}
		if m.DockerID != "" && m.DockerID != w.network.DockerID {
			return m, fmt.Errorf("network %s of the environment is already the Swarm's, as Docker's network %.12s", m.Network, m.DockerID)
		}
		if w.name != "" && w.name != m.Network {
			return m, fmt.Errorf("-o %s=%s comes after the pool was chosen, which is that of network %s; give --ipam-opt %s=%s", optionNetwork, w.name, m.Network, optionNetwork, w.name)
		}
		return m, nil
	}
	return m, fmt.Errorf("pool %v is none of this plugin's IPAM driver; give --ipam-driver as well", w.network.Pool)
}

// FreeNetwork is the end of a Swarm's network. Docker sends it before the nodes have torn it down, and releases the pool next; addresses
// that it forgets to give back go with that. An unknown network is no error.
func (d *Driver) FreeNetwork(_ context.Context, id string) error {
	return d.cp.Update(func(l *store.Local) error {
		for pool, m := range l.Managed {
			if m.DockerID == id {
				release(l, pool, m)
			}
		}
		return nil
	})
}

// release makes a pool provisional, so that ReleasePool or the IPAM driver's sweep ends it, and leaves the fact to who uses it last.
func release(l *store.Local, pool string, m store.ManagedPool) {
	l.Unused[m.Network] = m.Fact.Since
	m.DockerID = ""
	l.Managed[pool] = m
}

// compareManaged collects what a Swarm has forgotten to give back to this host's plugin, or gave back to another manager's: networks
// that are no more, and addresses that neither the Swarm has for a task or a service, nor a node has claimed. A host that is no
// manager any more has nothing to manage.
func (d *Driver) compareManaged(ctx context.Context) error {
	local := d.cp.Local()
	if len(local.Managed) == 0 {
		return nil
	}
	networks, assigned, err := d.assigned(ctx)
	if err != nil {
		return err
	}
	snap := d.st.Snapshot()
	gone := map[string]time.Time{}
	for id, m := range local.Managed {
		if m.DockerID != "" && d.lost(id, m.Since, !networks[m.DockerID]) {
			gone[id] = m.Since
		}
	}
	free := map[store.AddrKey]time.Time{}
	for k, a := range local.Allotted {
		_, claimed := snap.Statics[k]
		missing := !claimed && !assigned[local.Managed[a.PoolID].DockerID][k.Addr]
		if d.lost(allotmentID(k), a.Since, missing) {
			free[k] = a.Since
		}
	}
	if len(gone)+len(free) == 0 {
		return nil
	}
	return d.cp.Update(func(l *store.Local) error {
		for id, since := range gone {
			if m, ok := l.Managed[id]; ok && m.Since.Equal(since) {
				release(l, id, m)
			}
		}
		for k, since := range free {
			if l.Allotted[k].Since.Equal(since) { // else it was given again while Docker was asked
				delete(l.Allotted, k)
			}
		}
		return nil
	})
}

// allotmentID names an allotment among what Docker's lists lack.
func allotmentID(k store.AddrKey) string { return k.Network + "/" + k.Addr.String() }

// assigned asks for the Swarm's networks and the addresses in them that it has for tasks and services; none if this is no manager.
func (d *Driver) assigned(ctx context.Context) (networks map[string]bool, addrs map[string]map[netip.Addr]bool, err error) {
	me, err := d.o.Docker.Swarm(ctx)
	if err != nil || !me.Manager {
		return nil, nil, err
	}
	list, err := d.o.Docker.Networks(ctx)
	if err != nil {
		return nil, nil, err
	}
	networks = map[string]bool{}
	for _, n := range list {
		networks[n.ID] = true
	}
	addrs, err = d.o.Docker.Assigned(ctx)
	if errors.Is(err, engine.ErrNoManager) {
		err = fmt.Errorf("what the Swarm has forgotten is not collected: %w", err)
	}
	return networks, addrs, err
}

// forgetFound ends the notes about what Docker's lists lacked and has been deleted meanwhile.
func (d *Driver) forgetFound(local *store.Local) {
	here := map[string]bool{}
	for k := range local.Allotted {
		here[allotmentID(k)] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.missing, func(id string, _ time.Time) bool {
		_, network := local.Networks[id]
		_, endpoint := local.Endpoints[id]
		_, managed := local.Managed[id]
		return !network && !endpoint && !managed && !here[id]
	})
}
