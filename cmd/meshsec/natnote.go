package main

import (
	"net/netip"

	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/store"
)

// remedy is what always helps.
const remedy = "; forward a UDP port to one of the two and set ADVERTISE=address:port there"

// natNote says what NATs have to do with it that a peer does not answer; empty: nothing that is known.
func natNote(mine, theirs mesh.NAT) string {
	switch {
	case mine == mesh.ChangingNAT && theirs == mesh.ChangingNAT:
		return "; both hosts are behind NATs that change ports, so neither can know where to reach the other" + remedy
	case mine == mesh.ChangingNAT && theirs == mesh.StableNAT:
		return "; this host is behind a NAT that changes ports, and the peer behind one that lets in known ports only" + remedy
	case mine == mesh.StableNAT && theirs == mesh.ChangingNAT:
		return "; the peer is behind a NAT that changes ports, and this host behind one that lets in known ports only" + remedy
	case mine == mesh.StableNAT && theirs == mesh.StableNAT:
		return "; both hosts are behind NATs: the addresses at which others see them are tried from both sides"
	case theirs != mesh.NoNAT:
		return "; the peer is behind a NAT, where only it can begin"
	}
	return ""
}

// nats tells of each host what is known of its NAT: of this one also what its peers have told it directly.
func (n *node) nats(snap *store.Snapshot, shaken []handshake.PeerStatus) func(id string) mesh.NAT {
	var told []netip.AddrPort
	for _, s := range shaken {
		told = append(told, s.Observed)
	}
	return func(id string) mesh.NAT {
		if id == n.id.HostID {
			return mesh.BehindNAT(snap, id, told...)
		}
		return mesh.BehindNAT(snap, id)
	}
}
