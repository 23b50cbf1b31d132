package tun

import (
	"encoding/binary"
	"time"
)

// icmpSize is IP and ICMP header and what is quoted: a header with options and 8 bytes (RFC 792), or a little more.
const icmpSize = ipSize + 8 + 60 + 8

// unreachable tells the sender of a packet that its destination can't be reached: a container's connect fails at once
// instead of after minutes. It belongs to one goroutine.
type unreachable struct {
	buf   [icmpSize]byte
	write writev
	limit bucket
}

func (u *unreachable) init() {
	u.write.init()
	u.limit = bucket{rate: 100, burst: 50}
}

// answer writes an ICMP host unreachable for ip back to the TUN, unless RFC 1122 (section 3.2.2) forbids it or too
// many have been written. p is the peer that has no SA, or nil.
func (u *unreachable) answer(d *device, ip []byte, header int, p *peer) {
	if !answerable(ip, header) || !u.limit.take(time.Now()) {
		return
	}
	u.write.start(vnet{})
	u.write.add(u.message(ip, p))
	_ = u.write.to(d.raw)
}

// message makes the ICMP packet. The router drops what comes out of the TUN with a source that is its own or that is
// not routed back into the TUN. So the source is the peer's router address; where there is no peer, it is the very
// address that the packet was for, since that is how the packet came here.
func (u *unreachable) message(ip []byte, p *peer) []byte {
	quoted := min(len(ip), icmpSize-ipSize-8)
	m := u.buf[:ipSize+8+quoted]
	clear(m[:ipSize+8])
	m[0], m[1] = 0x45, 0xc0 // precedence 6 (RFC 1812, section 4.3.2.5)
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	m[8], m[9] = 64, protoICMP
	copy(m[12:16], ip[16:20])
	if p != nil && p.router != [4]byte{} {
		copy(m[12:16], p.router[:])
	}
	copy(m[16:20], ip[12:16])
	finishIP(m[:ipSize])

	icmp := m[ipSize:]
	icmp[0], icmp[1] = 3, 1 // destination unreachable, host
	copy(icmp[8:], ip[:quoted])
	putChecksum(icmp[2:], sum(icmp, 0))
	return m
}

// answerable is RFC 1122's list: no answer to an ICMP error, a fragment other than the first, or a packet from or to
// an address that is not a single host's.
func answerable(ip []byte, header int) bool {
	src, dst := ip[12:16], ip[16:20]
	if src[0] == 0 || src[0] == 127 || src[0] >= 224 || dst[0] >= 224 {
		return false
	}
	if binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return false
	}
	if ip[9] == protoICMP {
		// Echo request and the like are answered; errors, and types that this list does not know, are not.
		return len(ip) > header && (ip[header] == 8 || ip[header] == 0 || ip[header] == 13)
	}
	return true
}
