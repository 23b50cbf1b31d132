package handshake

import (
	"crypto/mlkem"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/meshsec/meshsec/ipsec"
)

// Offsets and lengths in the payloads, as in the package comment.
const (
	initFixed      = 12 + mlkem.EncapsulationKeySize768
	addrLen        = 16 + 2
	responseFixed  = 14 + mlkem.CiphertextSize768 + addrLen + 4
	maxCiphers     = 16
	minSPI         = 256 // 0 to 255 are reserved (RFC 4303, section 2.1)
	maxGeneration  = 1 << 62
	responseCipher = 12
	responseAddr   = 14 + mlkem.CiphertextSize768
)

var errPayload = errors.New("malformed payload")

// initPayload is what an initiator says about the pair that it wants.
type initPayload struct {
	generation       uint64
	spi              ipsec.SPI // towards the sender
	kem              []byte    // encapsulation key
	ciphers          []ipsec.Cipher
	sender, receiver string         // host IDs
	target           netip.AddrPort // where the init is sent to
	ppks             []ppkID        // that the sender accepts; none: only no PPK
}

func (p initPayload) encode() []byte {
	b := make([]byte, 0, initFixed+4+2*len(p.ciphers)+len(p.sender)+len(p.receiver)+addrLen+ppkIDSize*len(p.ppks))
	b = binary.BigEndian.AppendUint64(b, p.generation)
	b = binary.BigEndian.AppendUint32(b, uint32(p.spi))
	b = append(b, p.kem...)
	b = append(b, byte(len(p.ciphers)))
	for _, c := range p.ciphers {
		b = binary.BigEndian.AppendUint16(b, uint16(c))
	}
	b = appendID(appendID(b, p.sender), p.receiver)
	b = appendAddr(b, p.target)
	if len(p.ppks) > 0 {
		b = append(b, byte(len(p.ppks)))
	}
	for _, id := range p.ppks {
		b = append(b, id[:]...)
	}
	return b
}

// parseInit checks form and ranges; what follows the known fields belongs to a later version.
func parseInit(b []byte) (p initPayload, err error) {
	if len(b) < initFixed+1 {
		return p, errPayload
	}
	p.generation = binary.BigEndian.Uint64(b)
	p.spi = ipsec.SPI(binary.BigEndian.Uint32(b[8:]))
	p.kem = b[12:initFixed]
	n := int(b[initFixed])
	b = b[initFixed+1:]
	if n > maxCiphers || len(b) < 2*n {
		return p, errPayload
	}
	for i := range n {
		p.ciphers = append(p.ciphers, ipsec.Cipher(binary.BigEndian.Uint16(b[2*i:])))
	}
	b = b[2*n:]
	var ok1, ok2 bool
	p.sender, b, ok1 = cutID(b)
	p.receiver, b, ok2 = cutID(b)
	if !ok1 || !ok2 || len(b) < addrLen || p.spi < minSPI || p.generation > maxGeneration {
		return p, errPayload
	}
	p.target = parseAddr(b)
	if p.ppks, ok1 = cutPPKs(b[addrLen:]); !ok1 {
		return p, errPayload
	}
	return p, nil
}

// appendAddr adds an address, IPv4 mapped into IPv6, and its port.
func appendAddr(b []byte, a netip.AddrPort) []byte {
	addr := a.Addr().As16()
	return binary.BigEndian.AppendUint16(append(b, addr[:]...), a.Port())
}

func parseAddr(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[16:]))
}

func appendID(b []byte, id string) []byte { return append(append(b, byte(len(id))), id...) }

func cutID(b []byte) (id string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] == 0 || b[0] > maxHostID || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// responsePayload is what a responder says about the pair that it made.
type responsePayload struct {
	generation uint64
	spi        ipsec.SPI // towards the responder
	cipher     ipsec.Cipher
	kem        []byte         // ciphertext
	observed   netip.AddrPort // where the init came from
	sending    ipsec.SPI      // that the responder sends on now; zero: none
}

func (p responsePayload) encode() []byte {
	b := make([]byte, 0, responseFixed)
	b = binary.BigEndian.AppendUint64(b, p.generation)
	b = binary.BigEndian.AppendUint32(b, uint32(p.spi))
	b = binary.BigEndian.AppendUint16(b, uint16(p.cipher))
	b = append(b, p.kem...)
	b = appendAddr(b, p.observed)
	return binary.BigEndian.AppendUint32(b, uint32(p.sending))
}

func parseResponse(b []byte) (p responsePayload, err error) {
	if len(b) < responseFixed {
		return p, errPayload
	}
	p.generation = binary.BigEndian.Uint64(b)
	p.spi = ipsec.SPI(binary.BigEndian.Uint32(b[8:]))
	p.cipher = ipsec.Cipher(binary.BigEndian.Uint16(b[responseCipher:]))
	p.kem = b[14:responseAddr]
	p.observed = parseAddr(b[responseAddr:])
	p.sending = ipsec.SPI(binary.BigEndian.Uint32(b[responseAddr+addrLen:]))
	if p.spi < minSPI || p.generation > maxGeneration {
		return p, errPayload
	}
	return p, nil
}

// chooseCipher picks from what both have. A host without AES instructions puts ChaCha20-Poly1305 first, and it is taken if
// either does: AES in software costs that host far more than ChaCha20 costs the other.
func chooseCipher(offered, own []ipsec.Cipher) (ipsec.Cipher, bool) {
	for _, first := range [][]ipsec.Cipher{own, offered} {
		if len(first) > 0 && first[0] == ipsec.ChaCha20Poly1305 &&
			slices.Contains(offered, first[0]) && slices.Contains(own, first[0]) {
			return first[0], true
		}
	}
	for _, c := range offered {
		if slices.Contains(own, c) {
			return c, true
		}
	}
	return 0, false
}
