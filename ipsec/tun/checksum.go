package tun

import (
	"encoding/binary"
	"math/bits"
)

// Internet checksums (RFC 1071). Sums are kept in the byte order of little-endian loads, which section 2 (B) allows as
// long as the result is stored in the same order; so numbers that do not come out of a packet are swapped by be.

// sum adds the 16-bit words of b to acc, with end-around carry over 64 bits. An odd last byte counts as a high one.
func sum(b []byte, acc uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		// An array, so that no bounds check comes between two additions and takes the carry flag.
		p := (*[64]byte)(b)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[0:8]), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[8:16]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[16:24]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[24:32]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[32:40]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[40:48]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[48:56]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(p[56:64]), c)
		acc, c = bits.Add64(acc, 0, c)
		acc += c
		b = b[64:]
	}
	for len(b) >= 8 {
		acc = add(acc, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		acc = add(acc, binary.LittleEndian.Uint64(last[:]))
	}
	return acc
}

func add(acc, v uint64) uint64 {
	acc, c := bits.Add64(acc, v, 0)
	return acc + c
}

// be is the summand of a 16-bit number.
func be(v int) uint64 { return uint64(bits.ReverseBytes16(uint16(v))) }

// fold reduces a sum to 16 bits, not yet complemented.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff // at most 2^33 >> 16 more
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc)
}

// pseudo is the sum of the pseudo header of an IPv4 packet's n bytes of protocol proto (RFC 9293, section 3.1).
func pseudo(ip []byte, proto, n int) uint64 { return sum(ip[12:20], be(proto)+be(n)) }

// putSum stores an uncomplemented sum at b.
func putSum(b []byte, acc uint64) { binary.LittleEndian.PutUint16(b, fold(acc)) }

// putChecksum stores the checksum of a sum at b.
func putChecksum(b []byte, acc uint64) { binary.LittleEndian.PutUint16(b, ^fold(acc)) }

// finishIP computes the header checksum of an IPv4 header.
func finishIP(header []byte) {
	header[10], header[11] = 0, 0
	putChecksum(header[10:], sum(header, 0))
}
