package mesh

import (
	"net/netip"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// Options are what Compute must know about this host besides facts.
type Options struct {
	Self        string       // host ID
	UnderlayMTU int          // of this host's own underlay (bytes)
	V6          bool         // this host's underlay is IPv6
	Encap       ipsec.Encap  // what this host wants; a pair uses ESP without UDP only if both want it
	Routers     netip.Prefix // the range of router addresses
	// PathMTU is what was found out about the path to a peer (inner bytes); 0: nothing. nil: nothing about any. For equal
	// results it must answer equally.
	PathMTU func(hostID string) int
	// Lost says that a host has been gone for so long that its endpoints get no routes. nil: none. The same holds for it.
	Lost func(hostID string) bool
}

// MTU is the inner MTU of this host: the largest that any of its tunnels can have (bytes).
func (o Options) MTU() int { return ipsec.MTU(o.UnderlayMTU, o.V6, ipsec.AES256GCM, o.Encap) }

// PeerMTU is the inner MTU towards another host as far as both hosts' own underlays let it be (bytes).
func (o Options) PeerMTU(h store.Host) int {
	underlay := o.UnderlayMTU
	if h.UnderlayMTU >= minUnderlayMTU {
		underlay = min(underlay, h.UnderlayMTU)
	}
	return min(o.MTU(), ipsec.MTU(underlay, o.V6, ipsec.AES256GCM, o.encap(h)))
}

// encap is ESP without UDP only between two hosts that both want that.
func (o Options) encap(h store.Host) ipsec.Encap {
	if o.Encap == ipsec.EncapESP && h.Encap == string(ipsec.EncapESP) {
		return ipsec.EncapESP
	}
	return ipsec.EncapUDP
}

// Desired is everything that this host must carry, but for the SAs. It is a value: sorted throughout, so that equal
// facts give equal values whatever their history.
type Desired struct {
	Revision int64          // of the snapshot
	Guard    []netip.Prefix // every pool of the environment, also of networks that are not on this host
	Router   netip.Addr     // this host's router address; invalid until it has one
	MTU      int            // of the tunnel: this host's own (bytes)
	Filter   link.Filter
	Bridges  []link.Bridge // one per network on this host, by name
	Ports    []link.Veth   // one per endpoint on this host, by name of the router end
	Peers    []Peer        // every other host, by ID
	// Ignored are facts that were not accepted, with the reason. Sorted.
	Ignored []string
}

// Peer is another host: what the handshake and the data plane must know of it.
type Peer struct {
	ID       string
	Name     string   // for people
	Key      [32]byte // X25519 public key
	Remote   netip.AddrPort
	Addrs    []netip.AddrPort // its own, of which Remote is one, best first
	Seen     []netip.AddrPort // where others see it because it is behind a NAT, best first
	Near     bool             // it is behind the same NAT as this host: own addresses come before the NAT's
	Encap    ipsec.Encap
	Router   netip.Addr     // invalid if it has none that it holds a claim on
	MTU      int            // of its routes: the smallest of this host's, the peer's and the path's (bytes)
	Prefixes []netip.Prefix // its endpoints on this host's networks, and its router address, sorted
}

// Config puts together what Compute wants and what the handshake knows, by host ID: the SAs, and where the peer was seen
// last if not where its fact says. SAs of hosts that are no peers are left out.
func (d Desired) Config(sas map[string]ipsec.SASet) ipsec.Config {
	c := ipsec.Config{Router: d.Router, MTU: d.MTU, Peers: make([]ipsec.Peer, 0, len(d.Peers))}
	for _, p := range d.Peers {
		set := sas[p.ID]
		remote := p.Remote
		if set.Remote.IsValid() {
			remote = set.Remote
		}
		c.Peers = append(c.Peers, ipsec.Peer{Name: p.ID, Remote: remote, Encap: p.Encap, Router: p.Router, MTU: p.MTU,
			Prefixes: p.Prefixes, In: set.In, Out: set.Out})
	}
	return c
}

// Compute works out what this host must carry. It is pure: it neither changes nor keeps its arguments' maps. About this
// host's own networks, claims and endpoints local is believed, about all else the snapshot.
//
//   - A remote endpoint is accepted only under a claim (on its address, or on the block that holds it) of its own host,
//     on a network that is on this host, inside its pool, other than its gateway, and not where a local endpoint lives.
//   - Peers are the hosts that have a handshake key, an underlay address and a port.
//   - A host that was removed from the environment has no bridges, no ports and no peers; only the guard stays.
//   - Networks that are not on this host are guarded against, if any host has a claim in them, but have no bridge and no routes.
func Compute(snap *store.Snapshot, local *store.Local, o Options) Desired {
	return new(memory).compute(snap, local, o)
}
