// Package esp seals and opens ESP packets (RFC 4303) in tunnel mode with 64-bit extended sequence numbers. It is pure:
// bytes in, bytes out, no I/O, no clock, no goroutine. UDP encapsulation (RFC 3948) adds nothing to the bytes, so a
// packet here starts with the SPI.
//
//	0      4         8              16                                          n-16        n
//	| SPI  | seq low | explicit IV  | inner IPv4 packet | pad 1,2,3 | len | 4   | ICV       |
//	|<--- AAD ---->|               |<------------- encrypted ----------------->|
//	  with seq high between the two
//
// Both transforms of the package, AES-256-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634), share this layout, a
// 12-byte nonce of salt and explicit IV, and a 16-byte ICV.
package esp

import (
	"encoding/binary"
	"errors"
)

// Sizes in bytes of the parts of a packet.
const (
	// HeaderSize is SPI, low sequence number and explicit IV: what stands before the encrypted part.
	HeaderSize = 16
	// ICVSize is the integrity check value at the end.
	ICVSize = 16
	// MaxTrailer is the most that padding, pad length and next header take, aligned to 4 bytes (RFC 4303, section 2.4).
	MaxTrailer = 5
	// MaxOverhead is the most that Seal adds to an inner packet.
	MaxOverhead = HeaderSize + MaxTrailer + ICVSize
	// MinSize is the smallest packet that Open looks at: no payload, only pad length and next header.
	MinSize = HeaderSize + 2 + ICVSize
)

// PacketLimit is how many packets are sealed on one SA. It is far below the 2^64 of extended sequence numbers: a bound
// on how much is lost with one key, and on the forgery odds of both ciphers (RFC 4106, section 2; RFC 8645).
const PacketLimit = 1 << 32

// nextIPv4 and nextDummy are the next header values of tunnel mode (RFC 4303, sections 2.6 and 2.7).
const (
	nextIPv4  = 4
	nextDummy = 59
)

// Why a packet was not sealed or opened. The texts are used as drop reasons in statistics.
var (
	// ErrLimit: the SA has sealed PacketLimit packets.
	ErrLimit = errors.New("packet-limit")
	// ErrShort: too few bytes to be a packet.
	ErrShort = errors.New("short")
	// ErrOld: the sequence number is below the replay window, or zero.
	ErrOld = errors.New("old")
	// ErrReplay: the sequence number has been seen.
	ErrReplay = errors.New("replay")
	// ErrICV: the packet is not authentic under this SA.
	ErrICV = errors.New("icv")
	// ErrPadding: an authentic packet whose padding is not 1, 2, 3, … or longer than the packet.
	ErrPadding = errors.New("padding")
	// ErrNextHeader: an authentic packet that carries something other than IPv4.
	ErrNextHeader = errors.New("next-header")
	// ErrDummy: an authentic dummy packet (RFC 4303, section 2.6), to be discarded without complaint.
	ErrDummy = errors.New("dummy")
)

// SPI gives the security parameters index of a packet of at least 4 bytes.
func SPI(packet []byte) uint32 { return binary.BigEndian.Uint32(packet) }
