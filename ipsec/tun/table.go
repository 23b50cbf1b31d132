package tun

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
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

// routes finds the peer of an inner address: longest prefix first. One map for each prefix length in use; nearly all
// prefixes are single addresses. Immutable.
type routes struct {
	lengths []int // in use, longest first
	byLen   [33]map[uint32]int32
}

// newRoutes also returns an error for each prefix that is not IPv4 or that an earlier peer has.
func newRoutes(peers []ipsec.Peer) (*routes, []error) {
	r := &routes{}
	var errs []error
	for i, p := range peers {
		for _, prefix := range p.Prefixes {
			if !prefix.IsValid() || !prefix.Addr().Is4() {
				errs = append(errs, fmt.Errorf("peer %s: prefix %s is not IPv4", p.Name, prefix))
				continue
			}
			n := prefix.Bits()
			if r.byLen[n] == nil {
				r.byLen[n] = map[uint32]int32{}
				r.lengths = append(r.lengths, n)
			}
			a := prefix.Masked().Addr().As4()
			key := binary.BigEndian.Uint32(a[:])
			if j, ok := r.byLen[n][key]; ok && int(j) != i {
				errs = append(errs, fmt.Errorf("peer %s: prefix %s belongs to peer %s", p.Name, prefix, peers[j].Name))
				continue
			}
			r.byLen[n][key] = int32(i)
		}
	}
	slices.Sort(r.lengths)
	slices.Reverse(r.lengths)
	return r, errs
}

// find gives the ordinal of the peer that addr is reached through, or nobody.
func (r *routes) find(addr uint32) int {
	for _, n := range r.lengths {
		if i, ok := r.byLen[n][addr&mask(n)]; ok {
			return int(i)
		}
	}
	return nobody
}

func mask(length int) uint32 { return bits.Reverse32(uint32(1<<length - 1)) }

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

// sameRoutes says that the routes to the peers of a table hold for those of a Config.
func sameRoutes(have []peer, want []ipsec.Peer) bool {
	return slices.EqualFunc(have, want, func(h peer, w ipsec.Peer) bool {
		return h.name == w.Name && slices.Equal(h.prefixes, w.Prefixes)
	})
}
