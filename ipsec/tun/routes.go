package tun

import (
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// routesTo are routes to prefixes of a peer, into the TUN.
func routesTo(prefixes []netip.Prefix, c ipsec.Config, p *ipsec.Peer) []link.Route {
	routes := make([]link.Route, 0, len(prefixes))
	for _, prefix := range prefixes {
		routes = append(routes, link.Route{Dst: prefix, Dev: link.TunName, Src: c.Router, MTU: c.RouteMTU(p)})
	}
	return routes
}

// tunnelRoutes are the routes into the TUN, sorted as the peers are.
func tunnelRoutes(c ipsec.Config) []link.Route {
	var routes []link.Route
	for i := range c.Peers {
		routes = append(routes, routesTo(c.Peers[i].Prefixes, c, &c.Peers[i])...)
	}
	return routes
}

// changedRoutes gives the routes that make those of old into those of c. It looks only at peers that are not the same.
func changedRoutes(old, c ipsec.Config) (add, del []link.Route) {
	was := make(map[string]*ipsec.Peer, len(old.Peers))
	for i := range old.Peers {
		was[old.Peers[i].Name] = &old.Peers[i]
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		o := was[p.Name]
		if o == nil {
			add = append(add, routesTo(p.Prefixes, c, p)...)
			continue
		}
		delete(was, p.Name)
		lost, gained := ipsec.DiffPrefixes(o.Prefixes, p.Prefixes)
		del = append(del, routesTo(lost, c, p)...)
		if c.Router != old.Router || c.RouteMTU(p) != old.RouteMTU(o) {
			gained = p.Prefixes
		}
		add = append(add, routesTo(gained, c, p)...)
	}
	for _, o := range was {
		del = append(del, routesTo(o.Prefixes, old, o)...)
	}
	// What has gone from one peer to another has been changed by then.
	moved := make(map[netip.Prefix]bool, len(add))
	for _, r := range add {
		moved[r.Dst] = true
	}
	return add, slices.DeleteFunc(del, func(r link.Route) bool { return moved[r.Dst] })
}
