package mesh

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// facts are an environment in the making, seen from host a.
type facts struct {
	snap  store.Snapshot
	local store.Local
	o     Options
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// baseFacts: hosts a (this one), b and c; networks default, which is on a, and other, which is not; each host has a block
// of each network and an endpoint in it.
func baseFacts() *facts {
	f := &facts{o: Options{Self: "a", UnderlayMTU: 1500, Encap: ipsec.EncapUDP, Routers: prefix("100.127.0.0/16")}}
	f.snap = store.Snapshot{Revision: 42, Hosts: map[string]store.Host{}, Networks: map[string]store.Network{}, Blocks: map[store.BlockKey]store.Claim{},
		Statics: map[store.AddrKey]store.Claim{}, Routers: map[netip.Addr]store.Claim{}, Endpoints: map[string]map[store.EndpointKey]*store.Endpoint{}}
	f.local = store.Local{Networks: map[string]store.LocalNetwork{}, Pools: map[string]store.LocalPool{}, Blocks: map[store.BlockKey]store.Claim{},
		Statics: map[store.AddrKey]store.Claim{}, Endpoints: map[string]store.LocalEndpoint{}}
	f.local.Identity.HostID = "a"
	for i, id := range []string{"a", "b", "c"} {
		f.host(id, i+1)
		f.block("default", fmt.Sprintf("10.42.%d.0/26", 64+i), id)
		f.block("other", fmt.Sprintf("10.43.%d.0/26", 64+i), id)
	}
	f.local.Identity.Router = addr("100.127.0.1")
	f.network("default", "10.42.0.0/16")
	f.network("other", "10.43.0.0/16")
	f.onThisHost("d0", "default", "10.42.0.0/16")
	f.ownEndpoint("e0", "default", "10.42.64.2")
	for _, id := range []string{"b", "c"} {
		f.endpoint(id, "default", fmt.Sprintf("10.42.%d.2", 64+slices.Index([]string{"a", "b", "c"}, id)))
		f.endpoint(id, "other", fmt.Sprintf("10.43.%d.2", 64+slices.Index([]string{"a", "b", "c"}, id)))
	}
	return f
}

func (f *facts) host(id string, n int) {
	key := make([]byte, 32)
	key[0], key[1] = byte(n), byte(n>>8)
	router := netip.AddrFrom4([4]byte{100, 127, byte(n >> 8), byte(n)})
	f.snap.Hosts[id] = store.Host{V: 1, ID: id, Name: "host-" + id, HandshakeKey: key, Port: 4500, Encap: "udp",
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(2 + n>>8), byte(n)})}, Router: router, UnderlayMTU: 1500}
	f.snap.Routers[router] = store.Claim{V: 1, Host: id}
}

func (f *facts) changeHost(id string, change func(*store.Host)) {
	h := f.snap.Hosts[id]
	change(&h)
	f.snap.Hosts[id] = h
}

func (f *facts) network(name, pool string) {
	p := prefix(pool)
	f.snap.Networks[name] = store.Network{V: 1, Name: name, Pool: p, Gateway: p.Addr().Next(), BlockLen: 26}
}

func (f *facts) onThisHost(docker, name, pool string) {
	p := prefix(pool)
	f.local.Networks[docker] = store.LocalNetwork{DockerID: docker, Network: name, Pool: p, Gateway: p.Addr().Next()}
}

// block gives a claim; this host's are in its checkpoint, too.
func (f *facts) block(network, p, host string) {
	k := store.BlockKey{Network: network, Prefix: prefix(p)}
	f.snap.Blocks[k] = store.Claim{V: 1, Host: host}
	if host == f.o.Self {
		f.local.Blocks[k] = store.Claim{V: 1, Host: host}
	}
}

func (f *facts) static(network, a, host string) {
	k := store.AddrKey{Network: network, Addr: addr(a)}
	f.snap.Statics[k] = store.Claim{V: 1, Host: host}
	if host == f.o.Self {
		f.local.Statics[k] = store.Claim{V: 1, Host: host}
	}
}

func (f *facts) endpoint(host, network, a string) {
	e := store.Endpoint{V: 1, ID: host + a, Host: host, Network: network, Addr: addr(a), MAC: link.MACOf(addr(a)).String()}
	if f.snap.Endpoints[host] == nil {
		f.snap.Endpoints[host] = map[store.EndpointKey]*store.Endpoint{}
	}
	f.snap.Endpoints[host][e.Key()] = &e
}

func (f *facts) ownEndpoint(id, network, a string) {
	e := store.Endpoint{V: 1, ID: id, Host: f.o.Self, Network: network, Addr: addr(a), MAC: link.MACOf(addr(a)).String()}
	f.local.Endpoints[id] = store.LocalEndpoint{Endpoint: e}
}

func (f *facts) compute() Desired { return Compute(&f.snap, &f.local, f.o) }

// homes says of every accepted address on this host's networks where it lives: at its container's MAC address, or elsewhere.
func homes(d Desired) (lines []string) {
	for _, p := range d.Ports {
		lines = append(lines, fmt.Sprintf("%s %s mac %q", p.Bridge, p.Addr, p.MAC))
	}
	for _, p := range d.Peers {
		for _, x := range p.Prefixes {
			for _, b := range d.Bridges {
				if b.Pool.Contains(x.Addr()) {
					lines = append(lines, fmt.Sprintf("%s %s mac %q", b.Name, x.Addr(), ""))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// text prints a Desired, a fact a line, for tests to compare.
func text(d Desired) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	add("router %s mtu %d revision %d", d.Router, d.MTU, d.Revision)
	for _, p := range d.Guard {
		add("guard %s", p)
	}
	for _, b := range d.Bridges {
		add("bridge %s network %s %s/%d mac %s mtu %d", b.Name, b.Network, b.Gateway, b.Pool.Bits(), b.MAC, b.MTU)
	}
	for _, n := range d.Filter.Networks {
		add("filter %s pool %s gateway %s routers %s", n.Bridge, n.Pool, n.Gateway, d.Filter.Routers)
	}
	for _, p := range d.Ports {
		add("port %s %s bridge %s mtu %d mac %s", p.RouterEnd, p.ContainerEnd, p.Bridge, p.MTU, p.MAC)
	}
	for _, p := range d.Peers {
		add("peer %s %s key %x remote %s %s router %s", p.ID, p.Name, p.Key[:2], p.Remote, p.Encap, p.Router)
		if p.MTU != d.MTU {
			add("mtu %d peer %s", p.MTU, p.ID)
		}
		for _, x := range p.Prefixes {
			add("route %s peer %s", x, p.ID)
		}
	}
	for _, h := range homes(d) {
		add("home %s", h)
	}
	for _, s := range d.Ignored {
		add("ignored %s", s)
	}
	return out
}
