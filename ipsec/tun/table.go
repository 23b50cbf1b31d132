package tun

import (
	"net/netip"
	"slices"
)

// nobody is the ordinal of no peer.
const nobody = -1

// table is what both directions know of the peers. Never changed once it is published; SAs and statistics in it are
// shared with the tables before and after.
type table struct {
	peers  []peer // in the Config's order
	routes *routes
	spis   map[uint32]inboundOf
}

// peer is an entry of the table.
type peer struct {
	name     string
	prefixes []netip.Prefix
	remote   netip.AddrPort
	bare     bool    // ESP without UDP
	router   [4]byte // its router address; zero if there is none
	out      *outbound
	stats    *peerStats
}

// successor is the entry of a peer of an earlier table, if it has another outbound SA by now; else nil.
func (t *table) successor(p *peer) *peer {
	i := slices.IndexFunc(t.peers, func(q peer) bool { return q.name == p.name })
	if i < 0 || t.peers[i].out == nil || t.peers[i].out == p.out {
		return nil
	}
	return &t.peers[i]
}

// inboundOf is an SA with the ordinal of the peer whose packets come in on it.
type inboundOf struct {
	*inbound
	peer int
}

// origin completes the address that ESP without UDP came from, whose port is 0, to that of the peer; invalid if it is none's.
func (t *table) origin(from netip.AddrPort) netip.AddrPort {
	if from.Port() != 0 {
		return from
	}
	for i := range t.peers {
		if p := &t.peers[i]; p.bare && p.remote.Addr() == from.Addr() {
			return p.remote
		}
	}
	return netip.AddrPort{}
}
