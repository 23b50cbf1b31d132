package handshake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	protocolVersion = 1

	typeInit     = 1
	typeResponse = 2

	headerLen = 28
	macOffset = 12
	macLen    = headerLen - macOffset
	// partLen is how much of a message the first of two datagrams carries.
	partLen = maxDatagram - headerLen
	// maxMessage is the longest Noise message in bytes.
	maxMessage = 2 * partLen
)

var (
	errHeader = errors.New("malformed header")
	errMAC    = errors.New("wrong MAC")
)

// header is what stands in front of each datagram.
type header struct {
	kind        byte
	part, parts byte
	sender      uint32 // index
	receiver    uint32 // index
}

// macKey is the key of the MAC of messages to the owner of public. It keeps hosts silent towards anyone who does not
// know them; it proves nothing else.
func macKey(public []byte) []byte {
	h := sha256.New()
	h.Write([]byte("meshsec mac"))
	h.Write(public)
	return h.Sum(nil)
}

func mac(key, datagram []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(datagram[:macOffset])
	h.Write(datagram[headerLen:])
	return h.Sum(nil)[:macLen]
}

// split makes the datagrams of one message; h.part and h.parts are set here. It returns nil when body does not fit two.
func split(h header, body, key []byte) [][]byte {
	if len(body) > maxMessage {
		return nil
	}
	h.parts = 1
	if len(body) > partLen {
		h.parts = 2
	}
	var datagrams [][]byte
	for h.part = 0; h.part < h.parts; h.part++ {
		n := min(len(body), partLen)
		d := make([]byte, headerLen, headerLen+n)
		d[0], d[1], d[2], d[3] = h.kind, protocolVersion, h.part, h.parts
		binary.BigEndian.PutUint32(d[4:], h.sender)
		binary.BigEndian.PutUint32(d[8:], h.receiver)
		d = append(d, body[:n]...)
		copy(d[macOffset:headerLen], mac(key, d))
		datagrams, body = append(datagrams, d), body[n:]
	}
	return datagrams
}

// parseDatagram checks the MAC before anything else is looked at. The body aliases d.
func parseDatagram(d, key []byte) (h header, body []byte, err error) {
	if len(d) <= headerLen || len(d) > maxDatagram {
		return header{}, nil, errHeader
	}
	if !hmac.Equal(d[macOffset:headerLen], mac(key, d)) {
		return header{}, nil, errMAC
	}
	h = header{
		kind: d[0], part: d[2], parts: d[3],
		sender:   binary.BigEndian.Uint32(d[4:]),
		receiver: binary.BigEndian.Uint32(d[8:]),
	}
	switch {
	case d[1] != protocolVersion,
		h.kind != typeInit && h.kind != typeResponse,
		h.parts != 1 && h.parts != 2,
		h.part >= h.parts,
		h.parts == 2 && h.part == 0 && len(d) != maxDatagram:
		return header{}, nil, errHeader
	}
	return h, d[headerLen:], nil
}
