package tun

import "encoding/binary"

// Of IPv4 (RFC 791), TCP (RFC 9293) and ICMP (RFC 792).
const (
	ipSize     = 20 // without options
	tcpSize    = 20
	protoICMP  = 1
	protoTCP   = 6
	fragment   = 0x3fff // more fragments, or a fragment offset
	tcpChecked = 16     // offset of TCP's checksum

	flagFIN = 0x01
	flagPSH = 0x08
	flagACK = 0x10
	flagCWR = 0x80
)

// parseIPv4 gives the header length of an IPv4 packet and cuts off what is behind its total length. Not ok: it is not
// IPv4, or shorter than its header says.
func parseIPv4(b []byte) (packet []byte, header int, ok bool) {
	if len(b) < ipSize || b[0]>>4 != 4 {
		return nil, 0, false
	}
	header = int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if header < ipSize || total < header || total > len(b) {
		return nil, 0, false
	}
	return b[:total], header, true
}

func source(ip []byte) uint32      { return binary.BigEndian.Uint32(ip[12:]) }
func destination(ip []byte) uint32 { return binary.BigEndian.Uint32(ip[16:]) }
func isFragment(ip []byte) bool    { return binary.BigEndian.Uint16(ip[6:])&fragment != 0 }

// parseTCP gives the length of the TCP header at the start of b. Not ok: there is none.
func parseTCP(b []byte) (header int, ok bool) {
	if len(b) < tcpSize {
		return 0, false
	}
	header = int(b[12]>>4) * 4
	return header, header >= tcpSize && header <= len(b)
}
