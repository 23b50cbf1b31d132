package driver

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// A container reaches the services of its host by one of its endpoints: Docker takes one route to an address only. The
// first endpoint that joins has it from Docker. When that one leaves while the container stays, the agent gives the route to
// another, in the container's network namespace.

// with tells Docker of the route if it is by this endpoint.
func (r JoinReply) with(e store.LocalEndpoint) JoinReply {
	if e.Services == store.RouteByDocker {
		r.OnLink = link.ServiceAddr
	}
	return r
}

// join notes that an endpoint is in a sandbox, and whether the sandbox gets its route by it.
func (d *Driver) join(l *store.Local, e *store.LocalEndpoint, sandbox string) {
	if e.SandboxKey != sandbox {
		leave(l, *e)
		e.Services = store.RouteNone
	}
	e.Joined, e.SandboxKey = true, sandbox
	if d.o.Sandbox != nil && e.Services == store.RouteNone && len(sandboxOf(l, sandbox, true)) == 0 {
		e.Services = store.RouteByDocker
	}
}

// leave notes that an endpoint is in no sandbox, and hands the route that the sandbox had by it to another.
func leave(l *store.Local, e store.LocalEndpoint) {
	sandbox, had := e.SandboxKey, e.Services != store.RouteNone
	e.Joined, e.SandboxKey, e.Services = false, "", store.RouteNone
	l.Endpoints[e.ID] = e
	if had {
		adopt(l, sandbox)
	}
}

// adopt makes the agent give a sandbox its route, by the endpoint that comes first.
func adopt(l *store.Local, sandbox string) {
	if ids := sandboxOf(l, sandbox, false); len(ids) > 0 {
		e := l.Endpoints[ids[0]]
		e.Services = store.RouteByAgent
		l.Endpoints[e.ID] = e
	}
}

// sandboxOf gives the endpoints in a sandbox that have its route, or that have not; sorted by network and address.
func sandboxOf(l *store.Local, sandbox string, having bool) []string {
	var ids []string
	for id, e := range l.Endpoints {
		if e.Joined && e.SandboxKey == sandbox && (e.Services != store.RouteNone) == having {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		x, y := l.Endpoints[a], l.Endpoints[b]
		return cmp.Or(cmp.Compare(x.Network, y.Network), x.Addr.Compare(y.Addr))
	})
	return ids
}

// keepServices gives the routes that are the agent's to give, until ctx ends.
func (d *Driver) keepServices(ctx context.Context) {
	const first, last = 100 * time.Millisecond, time.Minute
	changes := d.cp.Subscribe()
	given, said := map[string]string{}, false
	for pause := first; ; pause = min(2*pause, last) {
		err := d.giveServices(given)
		if err != nil && !said {
			d.log(err, "a container's route to DNS and metadata is missing, trying again")
		}
		said = err != nil
		var again <-chan time.Time
		if err != nil {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-changes:
			pause = first
		}
	}
}

// giveServices gives the routes that given lacks, by endpoint ID, with the sandbox they were given in. Sandboxes without any
// are from before there were services, and get theirs now.
func (d *Driver) giveServices(given map[string]string) error {
	if err := d.adoptAll(); err != nil {
		return err
	}
	endpoints := d.cp.Local().Endpoints
	maps.DeleteFunc(given, func(id, sandbox string) bool {
		return endpoints[id].Services != store.RouteByAgent || endpoints[id].SandboxKey != sandbox
	})
	var errs []error
	for id, e := range endpoints {
		if e.Services != store.RouteByAgent || given[id] == e.SandboxKey {
			continue
		}
		_, router := link.EndpointLink(id)
		if err := d.links.GiveService(d.o.Sandbox(e.SandboxKey), router); err != nil {
			errs = append(errs, err)
			continue
		}
		given[id] = e.SandboxKey
	}
	return errors.Join(errs...)
}

// adoptAll takes on the sandboxes that have no route.
func (d *Driver) adoptAll() error {
	without := func(l *store.Local) map[string]bool {
		sandboxes := map[string]bool{}
		for _, e := range l.Endpoints {
			if e.Joined && e.SandboxKey != "" {
				sandboxes[e.SandboxKey] = sandboxes[e.SandboxKey] || e.Services != store.RouteNone
			}
		}
		maps.DeleteFunc(sandboxes, func(_ string, has bool) bool { return has })
		return sandboxes
	}
	if len(without(d.cp.Local())) == 0 {
		return nil
	}
	return d.cp.Update(func(l *store.Local) error {
		for sandbox := range without(l) {
			adopt(l, sandbox)
		}
		return nil
	})
}
