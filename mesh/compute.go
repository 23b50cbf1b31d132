package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// computation is a Desired in the making.
type computation struct {
	snap    *store.Snapshot
	local   *store.Local
	o       Options
	d       Desired
	claims  claims
	present map[string]presence    // networks on this host, by name
	mine    map[store.AddrKey]bool // addresses of this host's endpoints
}

// presence is a network on this host.
type presence struct {
	docker  string // Docker's network ID
	bridge  string
	pool    netip.Prefix
	gateway netip.Addr
	mtu     int
}

func newComputation(snap *store.Snapshot, local *store.Local, o Options) *computation {
	return &computation{
		snap: snap, local: local, o: o,
		d: Desired{Revision: snap.Revision, Router: local.Identity.Router, MTU: o.MTU(),
			Filter: link.Filter{Routers: o.Routers}},
		present: map[string]presence{},
		mine:    map[store.AddrKey]bool{},
	}
}

// ignore notes a fact that is not accepted.
func (c *computation) ignore(format string, args ...any) {
	c.d.Ignored = append(c.d.Ignored, fmt.Sprintf(format, args...))
}

// networks finds the pools to guard, and the networks that are on this host with their bridges.
func (c *computation) networks() {
	pools := map[netip.Prefix]bool{}
	guard := func(p netip.Prefix) {
		if p.IsValid() {
			pools[p.Masked()] = true
		}
	}
	for name, n := range c.snap.Networks {
		if c.claims.used[name] { // nobody signs networks: one that no host has anything in may be anybody's invention
			guard(n.Pool)
		}
	}
	for _, p := range c.local.Pools {
		guard(p.Pool)
	}
	for id, n := range c.local.Networks {
		guard(n.Pool)
		p := presence{docker: id, bridge: link.BridgeName(n.Network), pool: n.Pool.Masked(), gateway: n.Gateway, mtu: n.MTU}
		if !p.gateway.IsValid() {
			p.gateway = c.snap.Networks[n.Network].Gateway
		}
		if p.mtu == 0 {
			p.mtu = c.d.MTU
		}
		if !p.pool.Contains(p.gateway) {
			c.ignore("network %s on this host: gateway %s is not in its pool %s", n.Network, p.gateway, p.pool)
			continue
		}
		// Two Docker networks for one are refused when they are made; were there two, every time the same is taken.
		if other, ok := c.present[n.Network]; ok {
			c.ignore("network %s is on this host twice: as %.12s and %.12s", n.Network, min(id, other.docker), max(id, other.docker))
			if other.docker < id {
				continue
			}
		}
		c.present[n.Network] = p
	}
	c.d.Guard = slices.SortedFunc(maps.Keys(pools), ipsec.ComparePrefixes)
	c.dropOverlaps()
	for name, p := range c.present {
		c.d.Bridges = append(c.d.Bridges, link.Bridge{Network: name, Name: p.bridge, Pool: p.pool, Gateway: p.gateway,
			MAC: link.MACOf(p.gateway), MTU: p.mtu})
		c.d.Filter.Networks = append(c.d.Filter.Networks, link.FilterNetwork{Bridge: p.bridge, Pool: p.pool, Gateway: p.gateway})
	}
}

// dropOverlaps keeps, of networks on this host whose pools overlap, the one whose name comes first: an address must have
// one route. The transaction that creates a network does not let it come to that.
func (c *computation) dropOverlaps() {
	var kept []string
	for _, name := range slices.Sorted(maps.Keys(c.present)) {
		pool := c.present[name].pool
		i := slices.IndexFunc(kept, func(k string) bool { return c.present[k].pool.Overlaps(pool) })
		if i < 0 {
			kept = append(kept, name)
			continue
		}
		c.ignore("network %s on this host: its pool %s overlaps with that of network %s", name, pool, kept[i])
		delete(c.present, name)
	}
}

// ownEndpoints finds the ports of the local endpoints. They are there, so they stay, whatever etcd says.
func (c *computation) ownEndpoints() {
	for id, e := range c.local.Endpoints {
		p, ok := c.present[e.Network]
		if !ok {
			c.ignore("endpoint %.12s on this host: network %s is not", id, e.Network)
			continue
		}
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			c.ignore("endpoint %.12s on this host: MAC %q", id, e.MAC)
			continue
		}
		if owner := c.claims.owner(e.Network, e.Addr); owner != c.o.Self {
			c.ignore("endpoint %.12s on this host: %s is claimed by host %q, so others do not reach it", id, e.Addr, owner)
		}
		end, port := link.EndpointLink(id)
		mtu := e.MTU
		if mtu == 0 {
			mtu = p.mtu
		}
		c.d.Ports = append(c.d.Ports, link.Veth{ContainerEnd: end, RouterEnd: port, Bridge: p.bridge, MTU: mtu, MAC: mac, Addr: e.Addr})
		c.mine[store.AddrKey{Network: e.Network, Addr: e.Addr}] = true
	}
}

// result sorts.
func (c *computation) result() Desired {
	d := c.d
	slices.SortFunc(d.Bridges, func(a, b link.Bridge) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Filter.Networks, func(a, b link.FilterNetwork) int { return cmp.Compare(a.Bridge, b.Bridge) })
	slices.SortFunc(d.Ports, func(a, b link.Veth) int { return cmp.Compare(a.RouterEnd, b.RouterEnd) })
	slices.Sort(d.Ignored)
	return d
}
