package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// How patient the comparison with Docker's list is.
const (
	// lookEvery is the pause between comparisons when all is well; soon the first one after a Join, when the list has the
	// container's name but not its ID yet. It doubles until the ID is there.
	lookEvery = time.Minute
	soon      = 250 * time.Millisecond
	// young is how long a thing may be missing in the list after it was created: it is not in there before the container's
	// start has come far enough.
	young = 2 * time.Minute
	// forgotten is how long a thing must have been missing, in two answers at least, before it is collected.
	forgotten = 30 * time.Second
)

// watchDocker compares at the start, soon after each Join, when Docker tells of a change, and now and then.
func (d *Driver) watchDocker(ctx context.Context) {
	pause, said := soon, false
	for {
		complete, err := d.compare(ctx)
		if err != nil && !said && ctx.Err() == nil { // once: it may be for long, where there is no dockerd
			d.log(err, "not everything is known from Docker; what is missing in an answer that did not come is not collected")
		}
		said = err != nil
		if pause = min(2*pause, lookEvery); complete && err == nil {
			pause = lookEvery
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-d.look:
			timer.Stop()
			pause = soon
		}
	}
}

// compare asks Docker for the endpoints of each network, writes down the names of their containers, and collects what
// Docker has forgotten: every delete is sent only once, so one that met no plugin is lost. Nothing is collected because
// Docker did not answer. complete says that all names are known and nothing is missing.
func (d *Driver) compare(ctx context.Context) (complete bool, err error) {
	complete = true
	var errs []error
	unknown := map[string][]string{} // container ID → endpoint IDs
	for id, n := range d.cp.Local().Networks {
		list, err := d.o.Docker.Endpoints(ctx, id)
		switch {
		case errors.Is(err, engine.ErrForgotten):
			if !d.lost(id, n.Since, true) {
				complete = false
				continue
			}
			errs = append(errs, d.DeleteNetwork(ctx, id))
		case err != nil:
			errs = append(errs, err)
		default:
			d.lost(id, n.Since, false)
			known, err := d.compareNetwork(n, list)
			complete = complete && known
			errs = append(errs, err)
			for endpoint, c := range list {
				if c.ID != "" && !d.known.has(endpoint, c.ID) {
					unknown[c.ID] = append(unknown[c.ID], endpoint)
				}
			}
		}
	}
	local := d.cp.Local()
	d.known.only(local.Endpoints)
	errs = append(errs, d.compareManaged(ctx))
	d.forgetFound(local)
	if len(unknown) > 0 {
		errs = append(errs, d.learn(ctx, unknown))
	}
	return complete, errors.Join(errs...)
}

// lost says that a thing is old enough and has been missing for long enough to be collected.
func (d *Driver) lost(id string, since time.Time, missing bool) bool {
	now := d.o.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !missing || now.Sub(since) < young {
		delete(d.missing, id)
		return false
	}
	first, ok := d.missing[id]
	if !ok || first.After(now) { // or the clock was set back
		d.missing[id] = now
		return false
	}
	if now.Sub(first) < forgotten {
		return false
	}
	delete(d.missing, id)
	return true
}

// Abandoned deletes a network of this host if Docker has none of that ID, and says whether it did. For a network that has just been
// given up by Docker, which the comparison would take some minutes to be sure of. It takes half a second at most, and
// no lock of Docker's keeps the answer back, so that a call of dockerd's may wait for it.
func (d *Driver) Abandoned(ctx context.Context, id string) bool {
	if d.o.Docker == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, shortAnswer)
	defer cancel()
	if _, err := d.o.Docker.Endpoints(ctx, id); !errors.Is(err, engine.ErrForgotten) {
		return false
	}
	if err := d.DeleteNetwork(ctx, id); err != nil {
		d.log(err, "a network that docker gave up is still here")
		return false
	}
	return true
}

// compareNetwork compares one network with its list.
func (d *Driver) compareNetwork(n store.LocalNetwork, list map[string]engine.Attached) (complete bool, err error) {
	complete = true
	named := map[string]engine.Attached{}
	var gone []string
	local := d.cp.Local()
	for id, e := range local.Endpoints {
		if e.DockerNetwork != n.DockerID {
			continue
		}
		c, listed := list[id]
		if d.lost(id, e.Since, !listed) {
			gone = append(gone, id)
			continue
		}
		complete = complete && listed && c.ID != ""
		if listed && (c.Name != e.Name || c.ID != "" && c.ID != e.ContainerID) {
			named[id] = c
		}
	}
	if len(named) > 0 || len(gone) > 0 {
		err = d.cp.Update(func(l *store.Local) error {
			for id, c := range named {
				if e, ok := l.Endpoints[id]; ok {
					e.Name = c.Name
					if c.ID != "" {
						e.ContainerID = c.ID
					}
					l.Endpoints[id] = e
					remember(l, e.Endpoint)
				}
			}
			for _, id := range gone {
				d.collect(l, id)
			}
			return nil
		})
	}
	if err != nil {
		return false, fmt.Errorf("endpoints of network %s: %w", n.Network, err)
	}
	var errs []error
	for _, id := range gone {
		errs = append(errs, d.links.DelVeth(link.EndpointLink(id)))
	}
	return complete, errors.Join(errs...)
}

// collect takes an endpoint out that Docker has forgotten. Its address ends as by ReleaseAddress, which will not come: a dynamic
// one rests from now on, a static one's claim is ended by the IPAM driver's sweep.
func (d *Driver) collect(l *store.Local, id string) {
	e, ok := l.Endpoints[id]
	if !ok {
		return
	}
	leave(l, e)
	delete(l.Endpoints, id)
	k := store.AddrKey{Network: e.Network, Addr: e.Addr}
	if lease, ok := l.Leases[k]; ok && lease.Freed.IsZero() {
		lease.Freed = d.o.Now()
		l.Leases[k] = lease
	}
}
