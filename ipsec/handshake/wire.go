package handshake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
)

const (
	protocolVersion = 2

	typeInit       = 1
	typeResponse   = 2
	typeCookie     = 3
	typeInitCookie = 4 // an init whose sender has a cookie

	headerLen = 28
	macOffset = 12
	macLen    = headerLen - macOffset
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

// put writes what stands before the MAC.
func (h header) put(d []byte) {
	d[0], d[1], d[2], d[3] = h.kind, protocolVersion, h.part, h.parts
	binary.BigEndian.PutUint32(d[4:], h.sender)
	binary.BigEndian.PutUint32(d[8:], h.receiver)
}

// begins says whether the message is an init.
func (h header) begins() bool { return h.kind == typeInit || h.kind == typeInitCookie }

// proof is the second MAC, of an init whose sender has a cookie.
func proof(cookie, datagram []byte) []byte {
	h := hmac.New(sha256.New, cookie)
	h.Write(datagram[:macOffset])
	h.Write(datagram[headerLen+macLen:])
	return h.Sum(nil)[:macLen]
}

func mac(key, datagram []byte) []byte { return macBy(hmac.New(sha256.New, key), datagram) }

// macBy is mac with a hash that has the key, for use again and again.
func macBy(h hash.Hash, datagram []byte) []byte {
	h.Reset()
	h.Write(datagram[:macOffset])
	h.Write(datagram[headerLen:])
	return h.Sum(nil)[:macLen]
}

// split makes the datagrams of one message; h.part and h.parts are set here. It returns nil when body does not fit two.
func split(h header, body, key []byte) [][]byte { return splitWith(nil, h, body, key) }

// splitWith makes an init with cookie, which must be h.kind, unless cookie is nil.
func splitWith(cookie []byte, h header, body, key []byte) [][]byte {
	front := headerLen
	if cookie != nil {
		front += macLen
	}
	if len(body) > 2*(maxDatagram-front) {
		return nil
	}
	h.parts = 1
	if len(body) > maxDatagram-front {
		h.parts = 2
	}
	var datagrams [][]byte
	for h.part = 0; h.part < h.parts; h.part++ {
		n := min(len(body), maxDatagram-front)
		d := make([]byte, front, front+n)
		h.put(d)
		d = append(d, body[:n]...)
		if cookie != nil {
			copy(d[headerLen:], proof(cookie, d))
		}
		copy(d[macOffset:headerLen], mac(key, d))
		datagrams, body = append(datagrams, d), body[n:]
	}
	return datagrams
}

// parseDatagram checks the MAC before anything else is looked at. The body aliases d; an init with cookie has its second
// MAC in front. Cookies are not for parseDatagram.
func parseDatagram(d []byte, keyed hash.Hash) (h header, body []byte, err error) {
	if len(d) <= headerLen || len(d) > maxDatagram {
		return header{}, nil, errHeader
	}
	if !hmac.Equal(d[macOffset:headerLen], macBy(keyed, d)) {
		return header{}, nil, errMAC
	}
	if h, err = parseHeader(d); err != nil || h.kind == typeCookie || h.kind == typeInitCookie && len(d) <= headerLen+macLen {
		return header{}, nil, errHeader
	}
	return h, d[headerLen:], nil
}

// parseHeader reads the header of a datagram that is longer than that.
func parseHeader(d []byte) (header, error) {
	h := header{
		kind: d[0], part: d[2], parts: d[3],
		sender:   binary.BigEndian.Uint32(d[4:]),
		receiver: binary.BigEndian.Uint32(d[8:]),
	}
	switch {
	case d[1] != protocolVersion,
		h.kind < typeInit || h.kind > typeInitCookie,
		h.parts != 1 && h.parts != 2,
		h.part >= h.parts,
		h.parts == 2 && h.part == 0 && len(d) != maxDatagram:
		return header{}, errHeader
	}
	return h, nil
}
