package tun

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

// reason says why a packet was dropped.
type reason int

const (
	// Of packets that belong to no peer.
	dropNotIPv4    reason = iota // from the TUN
	dropNoRoute                  // no peer has the destination
	dropUnknownSPI               // no SA has the SPI
	dropShort                    // too short for ESP
	// Of packets of a peer.
	dropNoSA       // there is no SA to seal with
	dropLimit      // the SA has reached its packet limit
	dropSend       // the underlay's socket refused it; its own counters say why
	dropOffload    // the TUN asks for an offload that was not offered
	dropOld        // below the replay window
	dropReplay     // seen before
	dropICV        // not authentic
	dropPadding    // authentic, but malformed
	dropNextHeader // authentic, but not IPv4
	dropDummy      // traffic flow confidentiality
	dropInner      // the inner packet is not a whole IPv4 packet
	dropSource     // the inner source belongs to another peer, or to nobody
	dropRetired    // the SA ended while the packet was on its way
	dropTun        // the TUN is down or did not take it
	reasons
)

var reasonNames = [reasons]string{
	"not-ipv4", "no-route", "unknown-spi", "short", "no-sa", "packet-limit", "send", "offload", "old", "replay", "icv",
	"padding", "next-header", "dummy", "inner", "source", "retired", "tun",
}

var errRetired = errors.New("retired")

// openReason translates what opening a packet gave.
func openReason(err error) reason {
	switch err {
	case esp.ErrShort:
		return dropShort
	case esp.ErrOld:
		return dropOld
	case esp.ErrReplay:
		return dropReplay
	case esp.ErrPadding:
		return dropPadding
	case esp.ErrNextHeader:
		return dropNextHeader
	case esp.ErrDummy:
		return dropDummy
	case errRetired:
		return dropRetired
	}
	return dropICV
}

// drops counts packets by reason. Safe for concurrent use.
type drops [reasons]atomic.Uint64

func (d *drops) add(r reason, n int) { d[r].Add(uint64(n)) }

func (d *drops) count() map[string]uint64 {
	m := map[string]uint64{}
	for r := range d {
		if n := d[r].Load(); n > 0 {
			m[reasonNames[r]] = n
		}
	}
	return m
}

// peerStats is what is counted for one peer. Safe for concurrent use; each counter has one writer.
type peerStats struct {
	rxBytes, rxPackets atomic.Uint64
	txBytes, txPackets atomic.Uint64
	lastRx             atomic.Int64 // Unix time in nanoseconds
	drops              drops
	moved              bucket // limits PeerMoved events; the UDP receiver's
}

// Stats implements ipsec.Dataplane.
func (p *Plane) Stats() (ipsec.Stats, error) {
	s := ipsec.Stats{Drops: p.drops.count()}
	for _, e := range p.table.Load().peers {
		ps := ipsec.PeerStats{
			Name:    e.name,
			RxBytes: e.stats.rxBytes.Load(), RxPackets: e.stats.rxPackets.Load(),
			TxBytes: e.stats.txBytes.Load(), TxPackets: e.stats.txPackets.Load(),
			Drops: e.stats.drops.count(),
		}
		if at := e.stats.lastRx.Load(); at != 0 {
			ps.LastRx = time.Unix(0, at)
		}
		s.Peers = append(s.Peers, ps)
	}
	slices.SortFunc(s.Peers, func(a, b ipsec.PeerStats) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}
