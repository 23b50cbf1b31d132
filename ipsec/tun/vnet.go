package tun

import "encoding/binary"

// vnetSize is the length of a vnet header: struct virtio_net_hdr of linux/virtio_net.h, in the host's byte order.
const vnetSize = 10

// vnet is the header before every packet that the TUN gives or takes.
type vnet struct {
	flags      uint8
	gsoType    uint8
	headerLen  uint16 // of IP and TCP together; a hint only
	gsoSize    uint16 // payload of each segment
	csumStart  uint16 // of the part that the checksum covers
	csumOffset uint16 // of the checksum, from csumStart
}

const (
	needsCsum = 1 // the checksum field holds the pseudo header's sum only
	gsoNone   = 0
	gsoTCPv4  = 1
)

func parseVnet(b []byte) vnet {
	_ = b[vnetSize-1]
	return vnet{
		flags: b[0], gsoType: b[1],
		headerLen:  binary.NativeEndian.Uint16(b[2:]),
		gsoSize:    binary.NativeEndian.Uint16(b[4:]),
		csumStart:  binary.NativeEndian.Uint16(b[6:]),
		csumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

func (h vnet) put(b []byte) {
	_ = b[vnetSize-1]
	b[0], b[1] = h.flags, h.gsoType
	binary.NativeEndian.PutUint16(b[2:], h.headerLen)
	binary.NativeEndian.PutUint16(b[4:], h.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], h.csumStart)
	binary.NativeEndian.PutUint16(b[8:], h.csumOffset)
}
