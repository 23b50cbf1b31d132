package leak

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// packet is what matters of an IPv4 packet.
type packet struct {
	src, dst     netip.Addr
	proto        byte
	later        bool   // a fragment without the ports
	sport, dport uint16 // UDP and TCP
	payload      []byte // after the IPv4 header
}

// parseIPv4 reads a packet that may be cut short after its header, as in an ICMP error.
func parseIPv4(b []byte) (p packet, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, false
	}
	head := int(b[0]&15) * 4
	if head < 20 || len(b) < head {
		return p, false
	}
	p.src, _ = netip.AddrFromSlice(b[12:16])
	p.dst, _ = netip.AddrFromSlice(b[16:20])
	p.proto, p.payload = b[9], b[head:]
	p.later = binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	if (p.proto == protoUDP || p.proto == protoTCP) && !p.later && len(p.payload) >= 4 {
		p.sport, p.dport = binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:])
	}
	return p, true
}

// either says whether one of the ports is listed.
func (p packet) either(ports []uint16) bool {
	return slices.Contains(ports, p.sport) || slices.Contains(ports, p.dport)
}

// Names of flows that others refer to.
const (
	flowESP       = "ESP in UDP 4500"
	flowBareESP   = "ESP"
	flowHandshake = "handshake in UDP 4500"
)

// name is what the packet is called in summaries. Of two ports the lower is the service's.
func (p packet) name() string {
	switch {
	case p.proto == protoICMP:
		return "ICMP"
	case p.proto == protoESP:
		return flowBareESP
	case p.later:
		return fmt.Sprintf("fragment of protocol %d", p.proto)
	case p.proto == protoUDP && (p.sport == natT || p.dport == natT):
		switch {
		case len(p.payload) == 9 && p.payload[8] == 0xff:
			return "keepalive in UDP 4500"
		case len(p.payload) >= 12 && binary.BigEndian.Uint32(p.payload[8:]) == 0:
			return flowHandshake
		}
		return flowESP
	case p.proto == protoUDP:
		return fmt.Sprintf("UDP %d", min(p.sport, p.dport))
	case p.proto == protoTCP:
		return fmt.Sprintf("TCP %d", min(p.sport, p.dport))
	}
	return fmt.Sprintf("protocol %d", p.proto)
}
