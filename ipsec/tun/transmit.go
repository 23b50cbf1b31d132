package tun

import (
	"encoding/binary"
	"errors"
	"net"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
	"github.com/meshsec/meshsec/ipsec/underlay"
)

const (
	// maxPacket is the longest packet that the TUN gives.
	maxPacket = 1 << 16
	// minSegment is the smallest payload that the kernel's TCP cuts packets into (TCP_MIN_GSO_SIZE of net/tcp.h). A raw
	// socket of a container can ask for less, and would turn one write into 60,000 packets.
	minSegment = 8
)

// transmitter carries packets from the TUN to the underlay. It belongs to one goroutine.
type transmitter struct {
	plane *Plane
	buf   []byte // a vnet header, a packet, and scratch space for the last segment's trailer
	out   []byte // what one send takes
	icmp  unreachable
}

func newTransmitter(p *Plane) *transmitter {
	t := &transmitter{
		plane: p,
		buf:   make([]byte, vnetSize+maxPacket+esp.MaxTrailer),
		out:   make([]byte, 0, 2*maxPacket),
	}
	t.icmp.init()
	return t
}

// run reads until the device gives an error.
func (t *transmitter) run(d *device) error {
	for {
		n, err := d.read(t.buf[:vnetSize+maxPacket])
		if err != nil {
			return err
		}
		if n > vnetSize {
			t.packet(d, parseVnet(t.buf), t.buf[vnetSize:n])
		}
	}
}

// packet sends one packet of the TUN; those that can't be sent are counted, and their sender is told.
func (t *transmitter) packet(d *device, h vnet, b []byte) {
	ip, header, ok := parseIPv4(b)
	if !ok {
		t.plane.drops.add(dropNotIPv4, 1)
		return
	}
	table := t.plane.table.Load()
	i := table.routes.find(destination(ip))
	if i == nobody {
		t.plane.drops.add(dropNoRoute, 1)
		t.icmp.answer(d, ip, header, nil)
		return
	}
	p := &table.peers[i]
	if p.out == nil {
		p.stats.drops.add(dropNoSA, 1)
		t.icmp.answer(d, ip, header, p)
		return
	}
	switch {
	case h.gsoType == gsoNone:
		if h.flags&needsCsum == 0 || finish(h, ip) {
			t.single(p, ip)
			return
		}
	case h.gsoType == gsoTCPv4 && h.gsoSize >= minSegment && ip[9] == protoTCP && !isFragment(ip):
		if tcp, ok := parseTCP(ip[header:]); ok {
			t.segments(p, ip, header, header+tcp, int(h.gsoSize))
			return
		}
	}
	p.stats.drops.add(dropOffload, 1)
}

// finish computes the checksum that the kernel left open. Not ok: the header points outside the packet.
func finish(h vnet, ip []byte) bool {
	start, field := int(h.csumStart), int(h.csumStart)+int(h.csumOffset)
	if start >= len(ip) || field+2 > len(ip) {
		return false
	}
	// The field holds the pseudo header's sum, so it takes part. A result of zero means "no checksum" to UDP
	// (RFC 768); all ones is the same number.
	c := ^fold(sum(ip[start:], 0))
	if c == 0 {
		c = 0xffff
	}
	binary.LittleEndian.PutUint16(ip[field:], c)
	return true
}

func (t *transmitter) single(p *peer, ip []byte) {
	p, out, err := t.seal(p, t.out[:0], ip)
	if err != nil {
		t.limit(p, 1)
		return
	}
	t.send(p, out, len(out), 1, len(ip))
}

// seal appends ip, sealed for p, to out. A Set that replaces an SA ends it at once, also for a packet that has looked into
// the table before: it goes on the successor then. The peer that is returned is the one whose SA was used.
func (t *transmitter) seal(p *peer, out, ip []byte) (*peer, []byte, error) {
	for {
		sealed, err := p.out.Seal(out, ip)
		if err == nil {
			return p, sealed, nil
		}
		next := t.plane.table.Load().successor(p)
		if next == nil {
			return p, out, err
		}
		p = next
	}
}

// segments cuts a TCP packet into segments of size bytes payload, each with a header of its own, and seals them into
// one buffer. A segment's header is written right before its payload, over the end of the segment before it, which has
// been sealed already: no payload is copied.
func (t *transmitter) segments(p *peer, ip []byte, ipHeader, headers, size int) {
	s := newSegmenter(ip, ipHeader, headers)
	sealed := esp.SealedSize(headers + size)
	room := min(underlay.MaxBatch(sealed), cap(t.out))
	out, count, bytes := t.out[:0], 0, 0
	for at := 0; at == 0 || headers+at < len(ip); at += size {
		n := min(size, len(ip)-headers-at)
		segment := ip[at : at+headers+n]
		s.header(segment, at, headers+at+n == len(ip))
		if len(out)+sealed > room {
			t.send(p, out, sealed, count, bytes)
			out, count, bytes = out[:0], 0, 0
		}
		var err error
		if p, out, err = t.seal(p, out, segment); err != nil {
			t.limit(p, 1)
			break
		}
		count++
		bytes += len(segment)
	}
	if count > 0 {
		t.send(p, out, sealed, count, bytes)
	}
}

func (t *transmitter) send(p *peer, out []byte, segment, packets, bytes int) {
	var err error
	if p.bare {
		err = t.plane.esp.Send(p.remote.Addr(), out, segment)
	} else {
		err = t.plane.socket.SendESP(p.remote, out, segment)
	}
	if err != nil {
		if !errors.Is(err, net.ErrClosed) {
			p.stats.drops.add(dropSend, packets)
		}
		return
	}
	p.stats.txPackets.Add(uint64(packets))
	p.stats.txBytes.Add(uint64(bytes))
	if p.out.bytes += uint64(len(out)); p.out.spent() && !p.out.soft.Load() {
		ev := ipsec.Event{Kind: ipsec.SPISoftLimit, Peer: p.name, SPI: p.out.spi, Remote: p.remote}
		p.out.soft.Store(t.plane.events.send(ev)) // else the next packet tries again
	}
}

// limit counts a packet that the SA is not used for any more, and says so once.
func (t *transmitter) limit(p *peer, packets int) {
	p.stats.drops.add(dropLimit, packets)
	if !p.out.limit.Load() {
		ev := ipsec.Event{Kind: ipsec.SPILimit, Peer: p.name, SPI: p.out.spi, Remote: p.remote}
		p.out.limit.Store(t.plane.events.send(ev))
	}
}
