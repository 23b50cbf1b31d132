package xfrm

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/meshsec/meshsec/link"
)

// probeIfID is the if_id that Probe uses, and no peer.
const probeIfID = link.IfIDBase

// ifIDs is the number of if_ids for peers.
const ifIDs = 0xffff

// assign gives an if_id to each peer that is carried: that of its device; or that which it had in this process, whose
// SAs may still be there; or one that nobody uses, beginning at a place that depends on the peer alone, so that hosts
// and restarts agree where they can.
func (p *Plane) assign(inv inventory) {
	used := map[uint32]bool{}
	for id := range inv.foreign {
		used[id] = true
	}
	p.used = used
	var without []*peer
	for _, e := range p.memory.peers {
		d, there := inv.Devices[e.dev]
		e.carried = there || len(e.In) > 0 || e.Out != nil || p.promoted[e.Name]
		e.ifID = 0
		switch {
		case there && d.IfID != 0 && !used[d.IfID]:
			e.ifID = d.IfID
			used[d.IfID] = true
		case e.carried:
			without = append(without, e)
		}
	}
	clear(p.byIfID)
	for _, e := range p.memory.peers {
		if e.ifID != 0 {
			p.give(e, e.ifID)
		}
	}
	// What has lost its device is not taken for another peer's.
	left := map[uint32]bool{}
	for _, d := range inv.Devices {
		left[d.IfID] = true
	}
	for _, s := range inv.States {
		left[s.IfID] = true
	}
	for k := range inv.Policies {
		left[k.IfID] = true
	}
	for _, e := range without {
		if id, had := p.ids[e.Name]; had && !used[id] && !p.refused[id] {
			p.give(e, id)
		}
	}
	for id := range left {
		used[id] = true
	}
	for _, e := range without {
		if e.ifID == 0 {
			p.give(e, p.pick(e.Name))
		}
	}
}

// give makes it the peer's.
func (p *Plane) give(e *peer, id uint32) {
	e.ifID = id
	p.used[id], p.ids[e.Name], p.byIfID[id] = true, id, e
}

// pick finds a free one for a peer.
func (p *Plane) pick(host string) uint32 {
	id := firstIfID(host)
	for n := 0; (p.used[id] || p.refused[id]) && n < ifIDs; n++ {
		id = link.IfIDBase + (id&0xffff)%ifIDs + 1
	}
	return id
}

// firstIfID is where the search for a peer's if_id begins.
func firstIfID(host string) uint32 {
	sum := sha256.Sum256([]byte(host))
	return link.IfIDBase | uint32(binary.BigEndian.Uint16(sum[:]))%ifIDs + 1
}
