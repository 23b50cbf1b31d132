package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

func ethernet(dst, src, packet []byte) []byte {
	return slices.Concat(dst, src, []byte{8, 0}, packet)
}

// ipv4 is a packet with a good header (RFC 791).
func ipv4(src, dst netip.Addr, proto byte, payload []byte) []byte {
	b := make([]byte, 20)
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

// udp is a datagram without checksum (RFC 768).
func udp(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src), dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// again is the packet of an overheard frame, to be sent once more. A frame between namespaces is seen before its UDP checksum is
// filled in; zero means none.
func again(frame []byte) []byte {
	if frame == nil {
		return nil
	}
	p := bytes.Clone(frame[14:])
	if p[9] == protoUDP && p[0] == 0x45 && len(p) >= 28 {
		p[26], p[27] = 0, 0
	}
	return p
}

// udpPayload is what an overheard frame of isESP or isHandshake carries.
func udpPayload(frame []byte) []byte { return frame[14+20+8:] }

// onNATT says that the frame is a datagram of natT with at least n bytes.
func onNATT(f []byte, n int) bool {
	return len(f) >= 14+28+n && f[14] == 0x45 && f[23] == protoUDP && binary.BigEndian.Uint16(f[36:]) == natT
}

func isESP(f []byte) bool { return onNATT(f, 16) && binary.BigEndian.Uint32(udpPayload(f)) != 0 }

func isHandshake(f []byte) bool { return onNATT(f, 32) && binary.BigEndian.Uint32(udpPayload(f)) == 0 }
