package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
)

// Sizes of a message's parts (RFC 1035, section 4; RFC 6891, section 6.1.2).
const (
	headerSize = 12
	optSize    = 11 // an OPT record without options
	recordSize = 12 // a record without data whose name points to the question's
	aSize      = 16 // such a record with an IPv4 address
)

// quick answers the commonest question, which is for the addresses of a container that is there, without making messages
// of it; nil: it is another one. It says the same as Answer. room must be empty enough: ownSize.
func (z Zone) quick(raw []byte, from *directory.Asker, room []byte) []byte {
	const flagsButRD, oneOfEach = 0xfe, 1
	if len(raw) < headerSize || raw[2]&flagsButRD != 0 || raw[3]&0xef != 0 || // a question; of the flags only RD and CD
		binary.BigEndian.Uint16(raw[4:]) != oneOfEach || binary.BigEndian.Uint32(raw[6:]) != 0 || raw[10] != 0 || raw[11] > oneOfEach {
		return nil
	}
	var text [256]byte
	name, at := text[:0], headerSize
	for {
		if at >= len(raw) {
			return nil
		}
		n := int(raw[at])
		if at++; n == 0 {
			break
		}
		if n > 63 || at+n > len(raw) || len(name)+n+1 > 254 {
			return nil
		}
		if len(name) > 0 {
			name = append(name, '.')
		}
		for _, c := range raw[at : at+n] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return nil // written otherwise in text
			}
			name = append(name, c)
		}
		at += n
	}
	if at+4 > len(raw) || binary.BigEndian.Uint16(raw[at:]) != dns.TypeA || binary.BigEndian.Uint16(raw[at+2:]) != dns.ClassINET {
		return nil
	}
	at += 4
	size, do, edns := dns.MinMsgSize, byte(0), raw[11] == oneOfEach
	switch rest := raw[at:]; {
	case !edns && len(rest) != 0:
		return nil
	case edns:
		if len(rest) != optSize || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != dns.TypeOPT || rest[6] != 0 || rest[9]|rest[10] != 0 {
			return nil
		}
		size, do = min(max(int(binary.BigEndian.Uint16(rest[3:])), dns.MinMsgSize), ownSize), rest[7]&0x80
	}
	f, _ := z.find(string(name), from)
	if f == nil || f.port != "" || f.pointer != "" || f.server || len(f.hosts) > 0 || len(f.endpoints) == 0 || at+aSize*len(f.endpoints)+optSize > size {
		return nil
	}
	b := append(room[:0], raw[:at]...)
	b[2], b[3] = 0x84|raw[2]&1, 0x80 // an authoritative answer, RD as it was; recursion is available
	binary.BigEndian.PutUint16(b[6:], uint16(len(f.endpoints)))
	for e := range some(f.endpoints) {
		b = append(b, 0xc0, headerSize, 0, byte(dns.TypeA), 0, dns.ClassINET, 0, 0, 0, TTL, 0, 4)
		b = appendAddr(b, e.Addr)
	}
	if edns {
		b = append(b, 0, 0, byte(dns.TypeOPT), ownSize>>8, ownSize&0xff, 0, 0, do, 0, 0, 0)
	}
	return b
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	a := addr.As4()
	return append(b, a[:]...)
}
