package ipsec

const (
	ipv4Header = 20 // RFC 791, without options
	ipv6Header = 40 // RFC 8200, without extensions
	udpHeader  = 8  // RFC 768; the non-ESP marker is on handshakes only (RFC 3948)
	espHeader  = 8  // SPI and sequence number (RFC 4303, section 2)
	espTrailer = 2  // pad length and next header
	espAlign   = 4  // ciphertext, trailer included, ends on a 4-byte boundary (RFC 4303, section 2.4)
	aeadIV     = 8  // RFC 4106, section 3.1; RFC 7634, section 2
	aeadICV    = 16 // 16-octet tag, both ciphers
)

// MTU is the largest inner packet that fits into one underlay packet in ESP tunnel mode, in bytes.
//
//	outer IP | UDP | SPI, sequence number | IV | inner packet | padding | pad length, next header | ICV
//
// The encrypted part is a multiple of 4 bytes long, so what is left for it is rounded down and loses the trailer. With an
// underlay MTU of 1500 over IPv4: 1500-20-8-8-16 = 1448 = 362*4, less 2 is 1446; with UDP 1440, less 2 is 1438. At
// least 0. The ciphers of today have IV and tag of the same length, so the choice makes no difference yet.
func MTU(underlay int, v6 bool, _ Cipher, encap Encap) int {
	room := underlay - ipv4Header
	if v6 {
		room = underlay - ipv6Header
	}
	if encap == EncapUDP {
		room -= udpHeader
	}
	room -= espHeader + aeadIV + aeadICV
	return max(0, room-room%espAlign-espTrailer)
}
