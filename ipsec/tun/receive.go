package tun

import (
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

// receiver carries packets from the underlay to the TUN. It belongs to a socket's goroutine.
type receiver struct {
	plane   *Plane
	merge   merger
	unknown bucket // limits UnknownSPI events: anybody can cause them
}

func (r *receiver) init(p *Plane) {
	r.plane = p
	r.merge.init()
	r.unknown = bucket{rate: 20, burst: 20}
}

// receive opens the datagrams of one read where they lie and writes what they carry to the TUN, in order.
func (r *receiver) receive(batch []byte, segment int, from netip.AddrPort) {
	table, device := r.plane.table.Load(), r.plane.device.Load()
	now := time.Now()
	r.merge.start(device)
	for len(batch) > 0 {
		n := min(segment, len(batch))
		if ip, p := r.open(table, batch[:n:n], from, now); p != nil {
			r.merge.add(ip, p.stats)
		}
		batch = batch[n:]
	}
	r.merge.flush()
}

// receivePackets does the same with packets of ESP without UDP.
func (r *receiver) receivePackets(packets [][]byte, from netip.Addr) {
	table, device := r.plane.table.Load(), r.plane.device.Load()
	now := time.Now()
	r.merge.start(device)
	for _, packet := range packets {
		if ip, p := r.open(table, packet, netip.AddrPortFrom(from, 0), now); p != nil {
			r.merge.add(ip, p.stats)
		}
	}
	r.merge.flush()
}

// open gives the inner packet of a datagram and the peer that sent it; nil if it was dropped.
func (r *receiver) open(t *table, d []byte, from netip.AddrPort, now time.Time) ([]byte, *peer) {
	if len(d) < esp.MinSize {
		r.plane.drops.add(dropShort, 1)
		return nil, nil
	}
	in, ok := t.spis[esp.SPI(d)]
	if !ok {
		r.plane.drops.add(dropUnknownSPI, 1)
		if r.unknown.take(now) {
			r.plane.events.send(ipsec.Event{Kind: ipsec.UnknownSPI, SPI: ipsec.SPI(esp.SPI(d)), Remote: t.origin(from)})
		}
		return nil, nil
	}
	p := &t.peers[in.peer]
	plain, err := in.open(d)
	if err != nil {
		p.stats.drops.add(openReason(err), 1)
		return nil, nil
	}
	p.stats.lastRx.Store(now.UnixNano())
	if !in.confirmed.Load() {
		ev := ipsec.Event{Kind: ipsec.SPIConfirmed, Peer: p.name, SPI: in.spi, Remote: t.origin(from)}
		in.confirmed.Store(r.plane.events.send(ev)) // else the next packet tries again
	} else if from != p.remote && from.Port() != 0 && !p.bare && p.stats.moved.take(now) { // without UDP there is no port
		r.plane.events.send(ipsec.Event{Kind: ipsec.PeerMoved, Peer: p.name, SPI: in.spi, Remote: from})
	}
	ip, _, ok := parseIPv4(plain)
	if !ok {
		p.stats.drops.add(dropInner, 1)
		return nil, nil
	}
	// A peer speaks for its own containers only.
	if t.routes.find(source(ip)) != in.peer {
		p.stats.drops.add(dropSource, 1)
		return nil, nil
	}
	return ip, p
}
