package mesh

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/store"
)

// minUnderlayMTU is the least that an IPv4 host must take (RFC 791); a fact below it is not believed.
const minUnderlayMTU = 576

// peers finds the other hosts, and what fits through the path to each.
func (c *computation) peers() {
	seen := Sightings(c.snap)
	keys := map[[32]byte]string{}
	for _, id := range slices.Sorted(maps.Keys(c.snap.Hosts)) {
		if id == c.o.Self {
			continue
		}
		h := c.snap.Hosts[id]
		remote := c.remote(h)
		switch {
		case len(h.HandshakeKey) != 32:
			c.ignore("host %s: it has no handshake key", id)
			continue
		case !remote.IsValid():
			c.ignore("host %s: it has no underlay address and port", id)
			continue
		}
		p := Peer{ID: id, Name: h.Name, Key: [32]byte(h.HandshakeKey), Remote: remote, Encap: c.o.encap(h)}
		p.Addrs, p.Seen, p.Near = c.addresses(h, seen)
		// A key is an identity: two hosts with one could not be told apart.
		if first, ok := keys[p.Key]; ok {
			c.ignore("host %s: it has the handshake key of host %s", id, first)
			continue
		}
		keys[p.Key] = id
		if why := c.routerFault(h); why == "" {
			p.Router = h.Router
			p.Prefixes = append(p.Prefixes, netip.PrefixFrom(h.Router, 32))
		} else {
			c.ignore("host %s: router address %s: %s", id, h.Router, why)
		}
		p.MTU = c.pathMTU(h)
		c.peer[id] = len(c.d.Peers)
		c.d.Peers = append(c.d.Peers, p)
	}
}

// pathMTU is the smallest of this host's MTU, the peer's, and what was found out about the path between them.
func (c *computation) pathMTU(h store.Host) int {
	mtu := c.o.PeerMTU(h)
	if c.o.PathMTU != nil {
		if path := c.o.PathMTU(h.ID); path > 0 {
			mtu = min(mtu, path)
		}
	}
	return mtu
}

// remote is where the host's packets are sent: its first address of this host's family.
func (c *computation) remote(h store.Host) netip.AddrPort {
	if all := append(c.forwards(h), c.own(h)...); len(all) > 0 {
		return all[0]
	}
	return netip.AddrPort{}
}

// routerFault says why a host's router address is not accepted; "" if it is.
func (c *computation) routerFault(h store.Host) string {
	switch {
	case !h.Router.Is4():
		return "not an IPv4 address"
	case h.Router == c.d.Router:
		return "it is this host's"
	case c.snap.Routers[h.Router].Host != h.ID:
		return "not under a claim of the host"
	}
	for _, pool := range c.d.Guard {
		if pool.Contains(h.Router) {
			return "it is inside the pool " + pool.String()
		}
	}
	return ""
}

// lost are the hosts that have been gone for too long.
func (c *computation) lost() map[string]bool {
	lost := map[string]bool{}
	for id := range c.snap.Hosts {
		if c.o.Lost != nil && id != c.o.Self && c.o.Lost(id) {
			lost[id] = true
			c.ignore("endpoints of host %s: it is lost", id)
		}
	}
	return lost
}

// remoteEndpoints gives each accepted endpoint of another host to its peer.
func (c *computation) remoteEndpoints() {
	lost := c.lost()
	for key, e := range c.snap.EachEndpoint {
		net, ok := c.present[key.Network]
		if !ok || key.Host == c.o.Self || lost[key.Host] {
			continue
		}
		if why := c.endpointFault(net, key, e); why != "" {
			c.ignore("endpoint %s of host %s on network %s: %s", key.Addr, key.Host, key.Network, why)
			continue
		}
		i, ok := c.peer[key.Host]
		if !ok {
			c.ignore("endpoint %s of host %s on network %s: the host is no peer", key.Addr, key.Host, key.Network)
			continue
		}
		c.d.Peers[i].Prefixes = append(c.d.Peers[i].Prefixes, netip.PrefixFrom(key.Addr, key.Addr.BitLen()))
		c.d.Homes[Home{net.bridge, key.Addr}] = nil
	}
}

// endpointFault says why an endpoint of another host is not accepted; "" if it is.
func (c *computation) endpointFault(net presence, key store.EndpointKey, e store.Endpoint) string {
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
	if mac, ok := c.d.Homes[Home{net.bridge, key.Addr}]; ok && mac != nil {
		return "it is in use on this host"
	}
	return ""
}
