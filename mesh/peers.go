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
		} else {
			c.ignore("host %s: router address %s: %s", id, h.Router, why)
		}
		p.MTU = c.pathMTU(h)
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
