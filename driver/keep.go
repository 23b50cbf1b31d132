package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshsec/meshsec/store"
)

// keepEvery is how often the networks' facts are looked at without a reason; writeWithin bounds a write to etcd.
const (
	keepEvery   = time.Minute
	writeWithin = 5 * time.Second
)

// keepNetworks deletes facts of networks that nobody uses any more, and restores those that this host uses: a host without
// blocks and containers in a network leaves no trace of it in etcd, so another one may have deleted it.
func (d *Driver) keepNetworks(ctx context.Context) {
	facts, local := d.st.Subscribe(), d.cp.Subscribe()
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		if err := d.keep(ctx); err != nil && ctx.Err() == nil {
			d.log(err, "facts of networks put off")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-facts:
		case <-local:
		}
	}
}

// keep is one round. It does nothing by a snapshot that is not etcd's own.
func (d *Driver) keep(ctx context.Context) error {
	snap, local := d.st.Snapshot(), d.cp.Local()
	if healthy, _ := d.st.Healthy(); !healthy || snap.Empty() || snap.FromDisk {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	var errs []error
	for name := range used(local) {
		if _, there := snap.Networks[name]; there {
			continue
		}
		if err := d.Restore(ctx, name); err != nil && !errors.Is(err, store.ErrNoNetwork) { // else it left this host meanwhile
			errs = append(errs, err)
		}
	}
	for name, since := range local.Unused {
		if err := d.dismiss(ctx, snap, name, since); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// used returns the facts of the networks that this host uses, by name.
func used(local *store.Local) map[string]store.Network {
	facts := map[string]store.Network{}
	for _, p := range local.Pools {
		if p.Confirmed {
			facts[p.Network] = p.Fact
		}
	}
	for _, m := range local.Managed {
		if m.DockerID != "" {
			facts[m.Network] = m.Fact
		}
	}
	return facts
}

// Restore puts the fact of a network back into etcd, from which another host that left the network may have deleted it. It
// returns store.ErrNoNetwork if this host does not use the network (any more): nobody would delete the fact again. The
// network may leave the host while its fact is on the way to etcd; then dismiss, which waits for its turn, deletes it.
func (d *Driver) Restore(ctx context.Context, name string) error {
	done, err := d.alone(ctx)
	if err != nil {
		return fmt.Errorf("restore network %s: %w", name, err)
	}
	defer done()
	fact, ok := used(d.cp.Local())[name]
	if !ok {
		return fmt.Errorf("network %q is not on this host: %w", name, store.ErrNoNetwork)
	}
	if _, err := d.st.CreateNetwork(ctx, fact); err != nil {
		return fmt.Errorf("restore network %s: %w", name, err)
	}
	return nil
}

// dismiss deletes the fact of a network that is not on this host any more if nobody uses it, and forgets the network when
// nothing is left to do; else a later round comes. since is that of the fact when it was here.
func (d *Driver) dismiss(ctx context.Context, snap *store.Snapshot, name string, since time.Time) error {
	release, err := d.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	local := d.cp.Local()
	pool, here := poolFor(local, name)
	if here && !pool.Confirmed {
		return nil // it may become one yet, or it is released
	}
	for _, m := range local.Managed {
		if m.Network == name && m.DockerID == "" {
			return nil // the same
		}
		here = here || m.Network == name
	}
	fact, there := snap.Networks[name]
	user := d.users(snap, name)
	switch {
	case here: // again, and it leaves by DeleteNetwork
	case there && !since.IsZero() && fact.Since.After(since): // another host has made it since
	case user == "":
		if gone, err := d.st.DeleteNetwork(ctx, name); err != nil {
			return fmt.Errorf("delete network %s: %w", name, err)
		} else if !gone {
			return nil // something of it is still in etcd
		}
	case user == d.self, there && fact.Since.Before(since):
		return nil // the publisher is about to withdraw what is left of us, or the snapshot is behind
	}
	return d.cp.Update(func(l *store.Local) error {
		if l.Unused[name].Equal(since) { // else it came and left again meanwhile
			delete(l.Unused, name)
		}
		return nil
	})
}

// poolFor finds this host's pool of a network.
func poolFor(l *store.Local, network string) (pool store.LocalPool, ok bool) {
	for _, p := range l.Pools {
		if p.Network == network {
			return p, true
		}
	}
	return pool, false
}

// users names a host that has something in the network, another one than this if there is one; empty: nobody has.
func (d *Driver) users(snap *store.Snapshot, name string) string {
	user := ""
	note := func(host string) {
		if user == "" || user == d.self {
			user = host
		}
	}
	for k, c := range snap.Blocks {
		if k.Network == name {
			note(c.Host)
		}
	}
	for k, c := range snap.Statics {
		if k.Network == name {
			note(c.Host)
		}
	}
	for k := range snap.EachEndpoint {
		if k.Network == name {
			note(k.Host)
		}
	}
	return user
}
