package tun

import (
	"bytes"
	"encoding/binary"
)

// merger writes packets to the TUN, neighbours of one TCP flow as one large packet. What is merged loses its TCP
// checksum, so only segments whose checksum was verified are; all else is written singly and unchanged. It keeps the
// order of packets and holds none back: flush is called at the end of each batch.
type merger struct {
	device *device
	write  writev

	head    []byte // first packet of the group; nil: the group is empty
	stats   *peerStats
	tcp     int    // offset of the first payload in head
	size    int    // its length: what each following segment must have, the last may be shorter
	next    uint32 // sequence number that continues the group
	total   int    // bytes of the merged packet
	packets int
	bytes   int  // before merging, for statistics
	open    bool // can be continued
}

func (m *merger) init() { m.write.init() }

// start begins a batch of packets for d.
func (m *merger) start(d *device) { m.device = d }

// add takes the next packet, which must stay valid until flush.
func (m *merger) add(ip []byte, stats *peerStats) {
	payload, mergeable := payloadOf(ip)
	if m.open && mergeable && m.continues(ip, payload) {
		m.extend(ip, payload)
		return
	}
	m.flush()
	m.write.start(vnet{})
	m.write.add(ip)
	m.head, m.stats, m.packets, m.bytes, m.total = ip, stats, 1, len(ip), len(ip)
	m.open = mergeable
	if mergeable {
		m.tcp, m.size = payload, len(ip)-payload
		m.next = binary.BigEndian.Uint32(ip[ipSize+4:]) + uint32(m.size)
		m.open = ip[ipSize+13]&flagPSH == 0
	}
}

// payloadOf says whether ip is a TCP segment that can be merged with others, and where its payload starts: no IP
// options, no fragment, data, no flags but ACK and PSH, and a checksum that holds.
func payloadOf(ip []byte) (payload int, ok bool) {
	if ip[0] != 0x45 || ip[9] != protoTCP || isFragment(ip) {
		return 0, false
	}
	tcp := ip[ipSize:]
	n, ok := parseTCP(tcp)
	if !ok || n == len(tcp) || tcp[13]&^flagPSH != flagACK {
		return 0, false
	}
	if fold(sum(tcp, pseudo(ip, protoTCP, len(tcp)))) != 0xffff || fold(sum(ip[:ipSize], 0)) != 0xffff {
		return 0, false
	}
	return ipSize + n, true
}

// continues says whether ip, a mergeable segment, is what comes next in the group. All header fields must agree that
// the kernel could not give back when it cuts the merged packet again (its tcp_gro_receive is as strict).
func (m *merger) continues(ip []byte, payload int) bool {
	a, b := m.head, ip
	at, bt := a[ipSize:m.tcp], b[ipSize:payload]
	n := len(b) - payload
	return payload == m.tcp && n <= m.size && !m.write.full() && m.total+n < maxPacket &&
		binary.BigEndian.Uint32(bt[4:]) == m.next &&
		a[1] == b[1] && bytes.Equal(a[6:10], b[6:10]) && bytes.Equal(a[12:20], b[12:20]) && // TOS; DF, TTL, protocol; addresses
		bytes.Equal(at[:4], bt[:4]) && bytes.Equal(at[8:13], bt[8:13]) && // ports; ACK, data offset
		bytes.Equal(at[14:16], bt[14:16]) && bytes.Equal(at[18:], bt[18:]) // window; urgent pointer, options
}

func (m *merger) extend(ip []byte, payload int) {
	n := len(ip) - payload
	m.write.add(ip[payload:])
	m.next += uint32(n)
	m.total += n
	m.bytes += len(ip)
	m.packets++
	flags := ip[ipSize+13]
	m.head[ipSize+13] |= flags & flagPSH
	m.open = n == m.size && flags&flagPSH == 0
}

// flush writes the group.
func (m *merger) flush() {
	if m.head == nil {
		return
	}
	if m.packets > 1 {
		m.finish()
	}
	if err := m.write.to(m.device.raw); err != nil {
		m.stats.drops.add(dropTun, m.packets)
	} else {
		m.stats.rxPackets.Add(uint64(m.packets))
		m.stats.rxBytes.Add(uint64(m.bytes))
	}
	m.head, m.open = nil, false
}

// finish makes the first packet's headers those of the whole group.
func (m *merger) finish() {
	ip, tcp := m.head[:ipSize], m.head[ipSize:]
	binary.BigEndian.PutUint16(ip[2:], uint16(m.total))
	finishIP(ip)
	putSum(tcp[tcpChecked:], pseudo(ip, protoTCP, m.total-ipSize))
	vnet{
		flags: needsCsum, gsoType: gsoTCPv4,
		headerLen: uint16(m.tcp), gsoSize: uint16(m.size),
		csumStart: ipSize, csumOffset: tcpChecked,
	}.put(m.write.vnet[:])
}
