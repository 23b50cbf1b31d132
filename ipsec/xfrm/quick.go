package xfrm

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// setPrefixes carries out a Config that differs from the last one, which was carried out, in prefixes alone: only the routes that differ
// are told to the kernel. done is false when there is more to it. What has no device yet gets its routes with it.
func (p *Plane) setPrefixes(c ipsec.Config) (done bool, err error) {
	if !p.set || p.failed || p.stale || p.ailing || len(p.memory.peers) != len(c.Peers) || !samePeers(p.config, c) {
		return false, nil
	}
	var add, del []link.Route
	for i, e := range p.memory.peers {
		lost, gained := ipsec.DiffPrefixes(e.Prefixes, c.Peers[i].Prefixes)
		if p.devices[e.dev] {
			add, del = append(add, p.routesOf(e, gained)...), append(del, p.routesOf(e, lost)...)
		}
		e.Peer = &c.Peers[i]
	}
	p.config = c
	moved := make(map[netip.Prefix]bool, len(add))
	for _, r := range add {
		moved[r.Dst] = true
	}
	del = slices.DeleteFunc(del, func(r link.Route) bool { return moved[r.Dst] })
	if err := p.router.ChangeRoutes(add, del); err != nil {
		p.stale, p.failed = true, true
		return true, fmt.Errorf("tunnel routes: %w", err)
	}
	return true, nil
}

// samePeers says that two Configs differ in prefixes, and do, but in nothing else.
func samePeers(a, b ipsec.Config) bool {
	differ := false
	return a.Router == b.Router && a.MTU == b.MTU && slices.EqualFunc(a.Peers, b.Peers, func(p, q ipsec.Peer) bool {
		differ = differ || !ipsec.SamePrefixes(p.Prefixes, q.Prefixes)
		return p.Name == q.Name && p.Remote == q.Remote && p.Encap == q.Encap && p.Router == q.Router && p.MTU == q.MTU && sameSAs(&p, &q)
	}) && differ
}

// routesOf are routes to prefixes of a peer.
func (p *Plane) routesOf(e *peer, prefixes []netip.Prefix) []link.Route {
	routes := make([]link.Route, 0, len(prefixes))
	for _, prefix := range prefixes {
		routes = append(routes, link.Route{Dst: prefix, Dev: e.dev, Src: p.config.Router, MTU: p.config.RouteMTU(e.Peer)})
	}
	return routes
}
