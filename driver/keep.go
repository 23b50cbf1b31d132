package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/meshsec/meshsec/store"
)

// keepEvery is how often the networks' facts are looked at without a reason; writeWithin bounds a write to etcd.
const (
	keepEvery   = time.Minute
	writeWithin = 5 * time.Second
)

// unused is a network that has left this host. Its fact goes when nobody uses it.
type unused struct {
	since time.Time // of the fact: another one was made by somebody else, for use. Zero: not known
}

// leave notes that a network has left this host.
func (d *Driver) leave(name string, since time.Time) {
	d.mu.Lock()
	d.unused[name] = unused{since: since}
	d.mu.Unlock()
	wake(d.removed)
}

// keepNetworks deletes facts of networks that nobody uses any more, and restores those that this host uses: a host without
// blocks and containers in a network leaves no trace of it in etcd, so another one may have deleted it.
func (d *Driver) keepNetworks(ctx context.Context) {
	changed := d.st.Subscribe()
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
		case <-changed:
		case <-d.removed:
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
	for _, n := range local.Networks {
		pool, ok := local.Pools[n.PoolID]
		if _, there := snap.Networks[n.Network]; there || !ok || !pool.Confirmed {
			continue
		}
		if _, err := d.st.CreateNetwork(ctx, pool.Fact); err != nil {
			errs = append(errs, fmt.Errorf("restore network %s: %w", n.Network, err))
		}
	}
	for name, u := range d.unusedNow() {
		done, err := d.dismiss(ctx, snap, name, u)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.mu.Lock()
		if done && d.unused[name] == u { // else it came and left again meanwhile
			delete(d.unused, name)
		}
		d.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (d *Driver) unusedNow() map[string]unused {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.unused)
}

// dismiss deletes one network's fact if nobody uses it; done says that there is nothing left to do.
func (d *Driver) dismiss(ctx context.Context, snap *store.Snapshot, name string, u unused) (done bool, err error) {
	fact, there := snap.Networks[name]
	switch {
	case there && !u.since.IsZero() && fact.Since.After(u.since):
		return true, nil // another host has made it since
	case there && fact.Since.Before(u.since):
		return false, nil // the snapshot is behind
	}
	switch d.users(snap, name) {
	case "":
	case d.self:
		return false, nil // the publisher is about to withdraw what is left of us
	default:
		return true, nil
	}
	release, err := d.alone(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	for _, p := range d.cp.Local().Pools {
		if p.Network == name {
			return true, nil // it is on this host again
		}
	}
	if done, err = d.st.DeleteNetwork(ctx, name); err != nil {
		return false, fmt.Errorf("delete network %s: %w", name, err)
	}
	return done, nil // else something of it is still in etcd, and a later round comes
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
