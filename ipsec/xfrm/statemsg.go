package xfrm

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// SAs as netlink messages (include/uapi/linux/xfrm.h). What holds a key is bytes, never a type that could be printed.

const (
	modeTunnel = 1 // XFRM_MODE_TUNNEL
	// encapESPinUDP is UDP_ENCAP_ESPINUDP (linux/udp.h).
	encapESPinUDP = 2
	keyBits       = ipsec.KeySize * 8
	icvBits       = 128
	// mappingEvery is after how many seconds the kernel says again that packets of an SA come from elsewhere (Linux 5.17;
	// older ones do with each packet, and pass this over).
	mappingEvery = 1
)

// algorithms are the kernel's names (net/xfrm/xfrm_algo.c), which are also what it loads modules by.
var algorithms = map[ipsec.Cipher]string{
	ipsec.AES256GCM:        "rfc4106(gcm(aes))",
	ipsec.ChaCha20Poly1305: "rfc7539esp(chacha20,poly1305)",
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// address encodes an xfrm_address_t.
func address(a netip.Addr) (x nl.XfrmAddress) {
	copy(x[:], a.AsSlice())
	return x
}

func family(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// parseAddress decodes an xfrm_address_t.
func parseAddress(x nl.XfrmAddress, family uint16) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(x[:4]))
	}
	return netip.AddrFrom16(x)
}

// everything selects all inner packets, which are IPv4.
func everything() nl.XfrmSelector { return nl.XfrmSelector{Family: unix.AF_INET} }

func (k stateKey) id() []byte {
	id := nl.XfrmUsersaId{Daddr: address(k.Dst), Spi: nl.Swap32(uint32(k.SPI)), Family: family(k.Dst), Proto: unix.IPPROTO_ESP}
	return append([]byte(nil), id.Serialize()...)
}

func (k stateKey) get() link.Message { return link.Message{Kind: nl.XFRM_MSG_GETSA, Body: k.id()} }

func (k stateKey) del() link.Message { return link.Message{Kind: nl.XFRM_MSG_DELSA, Body: k.id()} }

// add encodes an SA that seals or opens with key, from sequence number 1.
func (s state) add(k stateKey, key *ipsec.Key) link.Message {
	info := nl.XfrmUsersaInfo{
		Sel: everything(), Id: nl.XfrmId{Daddr: address(k.Dst), Spi: nl.Swap32(uint32(k.SPI)), Proto: unix.IPPROTO_ESP},
		Saddr: address(s.Src), Lft: s.Life.encode(), Reqid: s.IfID, Family: family(k.Dst), Mode: modeTunnel, Flags: nl.XFRM_STATE_ESN,
	}
	esn := nl.XfrmReplayStateEsn{BmpLen: s.Window / 32, ReplayWindow: s.Window}
	b := make([]byte, 0, 512) // in one piece: grown, it would leave copies of the key behind
	b = append(b, info.Serialize()...)
	b = link.Attr(b, nl.XFRMA_ALG_AEAD, aead(algorithms[s.Cipher], key))
	b = link.Attr(b, nl.XFRMA_REPLAY_ESN_VAL, esn.Serialize())
	b = link.Attr(b, nl.XFRMA_IF_ID, u32(s.IfID))
	if s.DstPort != 0 {
		encap := nl.XfrmEncapTmpl{EncapType: encapESPinUDP, EncapSport: nl.Swap16(s.SrcPort), EncapDport: nl.Swap16(s.DstPort)}
		b = link.Attr(b, nl.XFRMA_ENCAP, encap.Serialize())
		if s.Window != outWindow {
			b = link.Attr(b, nl.XFRMA_MTIMER_THRESH, u32(mappingEvery))
		}
	}
	return link.Message{Kind: nl.XFRM_MSG_NEWSA, Body: b}
}

// aead encodes a struct xfrm_algo_aead.
func aead(name string, key *ipsec.Key) []byte {
	b := make([]byte, nl.SizeofXfrmAlgoAEAD+ipsec.KeySize)
	copy(b, name)
	binary.NativeEndian.PutUint32(b[64:], keyBits)
	binary.NativeEndian.PutUint32(b[68:], icvBits)
	copy(b[nl.SizeofXfrmAlgoAEAD:], key.Bytes[:])
	return b
}

// nullState encodes an SA that needs nothing but ESP itself (RFC 2410): Probe tells by it what is missing.
func nullState(k stateKey, src netip.Addr, ifID uint32) link.Message {
	info := nl.XfrmUsersaInfo{
		Sel: everything(), Id: nl.XfrmId{Daddr: address(k.Dst), Spi: nl.Swap32(uint32(k.SPI)), Proto: unix.IPPROTO_ESP},
		Saddr: address(src), Lft: forever(), Reqid: ifID, Family: family(k.Dst), Mode: modeTunnel,
	}
	cipher := nl.XfrmAlgo{}
	copy(cipher.AlgName[:], "ecb(cipher_null)")
	b := link.Attr(append([]byte(nil), info.Serialize()...), nl.XFRMA_ALG_CRYPT, cipher.Serialize())
	return link.Message{Kind: nl.XFRM_MSG_NEWSA, Body: link.Attr(b, nl.XFRMA_IF_ID, u32(ifID))}
}

// listedState is an SA of anybody's.
type listedState struct {
	key stateKey
	state
	reqid   uint32
	counter counter
}

// parseState decodes an SA; ok tells whether it is ESP. The key that comes with it is passed over.
func parseState(b []byte) (s listedState, ok bool) {
	if len(b) < nl.SizeofXfrmUsersaInfo {
		return s, false
	}
	info := *nl.DeserializeXfrmUsersaInfo(b)
	if info.Id.Proto != unix.IPPROTO_ESP {
		return s, false
	}
	s.key = stateKey{parseAddress(info.Id.Daddr, info.Family), ipsec.SPI(nl.Swap32(info.Id.Spi))}
	s.Src, s.reqid = parseAddress(info.Saddr, info.Family), info.Reqid
	s.Life = parseLifetime(info.Lft)
	s.counter = counter{Bytes: info.Curlft.Bytes, Packets: info.Curlft.Packets,
		Old: info.Stats.ReplayWindow, Replay: info.Stats.Replay, ICV: info.Stats.IntegrityFailed}
	usual := info.Mode == modeTunnel && info.Flags == nl.XFRM_STATE_ESN && info.Sel == everything()
	link.Attrs(b[nl.SizeofXfrmUsersaInfo:], func(kind uint16, v []byte) {
		switch {
		case kind == nl.XFRMA_IF_ID && len(v) == 4:
			s.IfID = binary.NativeEndian.Uint32(v)
		case kind == nl.XFRMA_REPLAY_ESN_VAL && len(v) >= nl.SizeofXfrmReplayStateEsn:
			s.Window = binary.NativeEndian.Uint32(v[20:])
		case kind == nl.XFRMA_ENCAP && len(v) >= nl.SizeofXfrmEncapTmpl:
			encap := nl.DeserializeXfrmEncapTmpl(v)
			usual = usual && encap.EncapType == encapESPinUDP
			s.SrcPort, s.DstPort = nl.Swap16(encap.EncapSport), nl.Swap16(encap.EncapDport)
		case kind == nl.XFRMA_MARK:
			usual = false
		case kind == nl.XFRMA_ALG_AEAD && len(v) >= nl.SizeofXfrmAlgoAEAD:
			s.Cipher = parseCipher(v)
		}
	})
	if !usual {
		s.Cipher = 0
	}
	return s, true
}

func parseCipher(v []byte) ipsec.Cipher {
	for c, name := range algorithms {
		if string(v[:len(name)+1]) == name+"\x00" &&
			binary.NativeEndian.Uint32(v[64:]) == keyBits && binary.NativeEndian.Uint32(v[68:]) == icvBits {
			return c
		}
	}
	return 0
}

// listStates lists the SAs. Ours are those with our if_id and the reqid that goes with it, or with a device's if_id.
func listStates(n *link.Netlink, inv *inventory, mine map[uint32]bool) error {
	return n.Dump(link.Message{Kind: nl.XFRM_MSG_GETSA}, func() { clear(inv.States); clear(inv.counters) }, func(b []byte) {
		s, ok := parseState(b)
		switch {
		case !ok || !inRange(s.IfID):
		case s.reqid == s.IfID || mine[s.IfID]:
			if s.reqid != s.IfID {
				s.Cipher = 0
			}
			inv.States[s.key], inv.counters[s.key] = s.state, s.counter
		default:
			inv.foreign[s.IfID] = "an SA"
		}
	})
}
