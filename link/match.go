package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is a rule as it is written: matches, then a verdict. Every method appends to the expressions, as nft(8) would.
type rule []expr.Any

// load puts the operand of the next comparison into register 1.
func (m rule) equals(load expr.Any, data []byte) rule {
	return append(m, load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
}

// ifname pads a whole name with zeros to IFNAMSIZ; the start of one ("ms-*") is compared as it is.
func ifname(name string, whole bool) []byte {
	if !whole {
		return []byte(name)
	}
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func (m rule) iif(name string) rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, ifname(name, true))
}

func (m rule) oif(name string) rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, ifname(name, true))
}

func (m rule) iifPrefix(name string) rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, ifname(name, false))
}

func (m rule) oifPrefix(name string) rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, ifname(name, false))
}

// ipv4 must come before a match on an IPv4 header: the table's family is inet.
func (m rule) ipv4() rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, []byte{unix.NFPROTO_IPV4})
}

// Offsets in the IPv4 header (RFC 791).
const (
	sourceOffset = 12
	destOffset   = 16
)

// network matches an address of the IPv4 header against a prefix.
func (m rule) network(offset uint32, p netip.Prefix) rule {
	m = append(m, payload(expr.PayloadBaseNetworkHeader, offset, 4))
	if p.Bits() < 32 {
		m = append(m, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: toIPNet(p).Mask, Xor: make([]byte, 4)})
	}
	return append(m, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

func (m rule) from(p netip.Prefix) rule { return m.network(sourceOffset, p) }

func (m rule) to(p netip.Prefix) rule { return m.network(destOffset, p) }

// inSet matches an address of the IPv4 header against a set.
func (m rule) inSet(offset uint32, s *nftables.Set) rule {
	return append(m, payload(expr.PayloadBaseNetworkHeader, offset, 4),
		&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID})
}

func (m rule) protocol(p byte) rule {
	return m.equals(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, []byte{p})
}

// port matches the destination of UDP or TCP, after a match on the protocol.
func (m rule) port(p uint16) rule {
	return m.equals(payload(expr.PayloadBaseTransportHeader, 2, 2), binary.BigEndian.AppendUint16(nil, p))
}

// icmp matches ICMP of one type (RFC 792).
func (m rule) icmp(kind byte) rule {
	return m.protocol(unix.IPPROTO_ICMP).equals(payload(expr.PayloadBaseTransportHeader, 0, 1), []byte{kind})
}

// syn matches a TCP segment that opens a connection: SYN without RST, also a server's SYN with ACK (RFC 9293, section 3.1).
func (m rule) syn() rule {
	const flagsOffset, syn, rst = 13, 0x02, 0x04
	return append(m.protocol(unix.IPPROTO_TCP),
		payload(expr.PayloadBaseTransportHeader, flagsOffset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}})
}

// clampMSS lowers the maximum segment size of a TCP SYN to what the routes of both directions carry; it never raises
// it (net/netfilter/nft_exthdr.c, nft_rt.c).
func (m rule) clampMSS() rule {
	const optMSS = 2 // RFC 9293, section 3.2
	m = m.syn()
	return append(m,
		&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: 1, Type: optMSS, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt})
}

func (m rule) verdict(k expr.VerdictKind) rule { return append(m, &expr.Verdict{Kind: k}) }

func (m rule) accept() rule { return m.verdict(expr.VerdictAccept) }

func (m rule) drop() rule { return m.verdict(expr.VerdictDrop) }

func (m rule) jump(chain *nftables.Chain) rule {
	return append(m, &expr.Verdict{Kind: expr.VerdictJump, Chain: chain.Name})
}

func payload(base expr.PayloadBase, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}
}
