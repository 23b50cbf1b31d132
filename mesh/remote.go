package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/store"
)

// memory makes one computation after the other cheap: of a host whose endpoints are the same map as before nothing is looked at,
// as long as nothing has changed that all endpoints depend on. The zero value has nothing to remember. Not for concurrent use.
type memory struct {
	snap   *store.Snapshot // what follows depends on these claims and networks, …
	local  *store.Local
	claims claims
	hosts  map[string]accepted
}

// accepted is what has become of the endpoints of a host.
type accepted struct {
	endpoints map[store.EndpointKey]*store.Endpoint // from which
	router    netip.Addr                            // of the peer
	peer      bool
	lost      bool

	prefixes []netip.Prefix
	ignored  []string
}

// compute is Compute, with what m remembers.
func (m *memory) compute(snap *store.Snapshot, local *store.Local, o Options) Desired {
	c := newComputation(snap, local, o)
	if m.snap == nil || m.local != local || !store.SameMap(m.snap.Blocks, snap.Blocks) || !store.SameMap(m.snap.Statics, snap.Statics) ||
		!store.SameMap(m.snap.Networks, snap.Networks) {
		*m = memory{claims: newClaims(snap, local, o.Self)}
	}
	m.snap, m.local = snap, local
	c.claims = m.claims
	c.networks()
	if r, out := snap.Revoked[o.Self]; out {
		c.ignore("all facts: this host was removed from the environment at %s", r.Since.UTC().Format(time.RFC3339))
		c.d.Bridges, c.d.Filter.Networks = nil, nil
		return c.result()
	}
	c.ownEndpoints()
	c.peers()
	m.hosts = c.remoteEndpoints(m.hosts)
	return c.result()
}

// remoteEndpoints gives each accepted endpoint of another host to its peer. before is what it gave the last time, as far as it still holds.
func (c *computation) remoteEndpoints(before map[string]accepted) map[string]accepted {
	now := make(map[string]accepted, len(c.d.Peers))
	take := func(id string, peer *Peer) []netip.Prefix {
		a := accepted{endpoints: c.snap.Endpoints[id], lost: c.isLost(id), peer: peer != nil}
		if peer != nil {
			a.router = peer.Router
		}
		if b, ok := before[id]; ok && store.SameMap(a.endpoints, b.endpoints) && a.lost == b.lost && a.peer == b.peer && a.router == b.router {
			a = b
		} else {
			c.accept(&a)
		}
		now[id] = a
		c.d.Ignored = append(c.d.Ignored, a.ignored...)
		return a.prefixes
	}
	for i := range c.d.Peers {
		p := &c.d.Peers[i]
		p.Prefixes = take(p.ID, p)
	}
	for id := range c.snap.Endpoints {
		if _, done := now[id]; !done && id != c.o.Self {
			take(id, nil)
		}
	}
	return now
}

// isLost tells of a host that has been gone for too long.
func (c *computation) isLost(id string) bool {
	if _, known := c.snap.Hosts[id]; !known || c.o.Lost == nil || !c.o.Lost(id) {
		return false
	}
	c.ignore("endpoints of host %s: it is lost", id)
	return true
}

// accept finds the prefixes of a host.
func (c *computation) accept(a *accepted) {
	if a.router.IsValid() {
		a.prefixes = append(a.prefixes, netip.PrefixFrom(a.router, 32))
	}
	for key, e := range a.endpoints {
		net, ok := c.present[key.Network]
		if !ok || a.lost {
			continue
		}
		why := c.endpointFault(net, key, e)
		if why == "" && !a.peer {
			why = "the host is no peer"
		}
		if why != "" {
			a.ignored = append(a.ignored, fmt.Sprintf("endpoint %s of host %s on network %s: %s", key.Addr, key.Host, key.Network, why))
			continue
		}
		a.prefixes = append(a.prefixes, netip.PrefixFrom(key.Addr, key.Addr.BitLen()))
	}
	slices.SortFunc(a.prefixes, ipsec.ComparePrefixes)
}

// endpointFault says why an endpoint of another host is not accepted; "" if it is.
func (c *computation) endpointFault(net presence, key store.EndpointKey, e *store.Endpoint) string {
	if e.Host != key.Host || e.Network != key.Network || e.Addr != key.Addr {
		return "key and value differ"
	}
	if !key.Addr.Is4() || !net.pool.Contains(key.Addr) {
		return "not in the pool " + net.pool.String()
	}
	if key.Addr == net.gateway {
		return "it is the gateway's address"
	}
	if owner := c.claims.owner(key.Network, key.Addr); owner != key.Host {
		if owner == "" {
			return "under no claim"
		}
		return "under a claim of host " + owner
	}
	if c.mine[store.AddrKey{Network: key.Network, Addr: key.Addr}] {
		return "it is in use on this host"
	}
	return ""
}
