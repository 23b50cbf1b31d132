package driver

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// fresh is how long a container may take from its creation to its start, for most are started when they are created.
const fresh = time.Minute

// containers are all containers of the host, running or not, while Docker tells about changes.
type containers struct {
	mu      sync.Mutex
	names   map[string]string    // by ID; nil: not known
	created map[string]time.Time // by ID: those just created
}

func (c *containers) begin(names map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names, c.created = names, map[string]time.Time{}
}

func (c *containers) end() { c.begin(nil) }

func (c *containers) change(e engine.Event, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.names == nil:
	case e.Action == "destroy":
		delete(c.names, e.Container)
		delete(c.created, e.Container)
	case e.Name != "":
		c.names[e.Container] = e.Name
		if e.Action == "create" {
			c.created[e.Container] = now
		}
	}
}

// heirs are the containers that had one of the leases, or have the name of one that had; others are further ones that may be
// starting for the first time.
func (c *containers) heirs(former []store.Lease, now time.Time) (heirs map[string]string, others []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heirs = map[string]string{}
	byName := map[string]string{}
	for id, name := range c.names {
		byName[name] = id
	}
	for _, lease := range former {
		if name, ok := c.names[lease.Container]; ok {
			heirs[lease.Container] = name
		}
		if id, ok := byName[lease.Name]; ok {
			heirs[id] = lease.Name
		}
	}
	for id, since := range c.created {
		if _, heir := heirs[id]; now.Sub(since) > fresh {
			delete(c.created, id)
		} else if !heir {
			others = append(others, id)
		}
	}
	return heirs, others
}

// HearsDocker says whether Docker tells of changes just now. Without it there are no aliases, services and labels in the facts, and
// before engine 29 no names.
func (d *Driver) HearsDocker() bool {
	d.containers.mu.Lock()
	defer d.containers.mu.Unlock()
	return d.containers.names != nil
}

// Starting finds the container that Docker is just starting, or connecting, among those whose address the IPAM driver has kept,
// for engines before 29, which do not say whom an address is for. Which it can be is known from Docker's events; which it is
// shows in that Docker does not answer questions about it. Where that is not clear at once it is nobody.
func (d *Driver) Starting(ctx context.Context, former []store.Lease) (id, name string) {
	heirs, others := d.containers.heirs(former, d.o.Now())
	if len(heirs) == 0 || d.o.Docker == nil {
		return "", ""
	}
	busy := d.o.Docker.Busy(ctx, slices.AppendSeq(others, maps.Keys(heirs)))
	if len(busy) != 1 { // several that start at once can't be told apart
		return "", ""
	}
	if name, ok := heirs[busy[0]]; ok {
		return busy[0], name
	}
	return "", ""
}

// remember notes in the address's lease whose it is.
func remember(l *store.Local, e store.Endpoint) {
	k := store.AddrKey{Network: e.Network, Addr: e.Addr}
	lease, ok := l.Leases[k]
	if !ok || !lease.Freed.IsZero() {
		return
	}
	if lease.Name = e.Name; e.ContainerID != "" {
		lease.Container = e.ContainerID
	}
	l.Leases[k] = lease
}
