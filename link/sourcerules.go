package link

import (
	"encoding/binary"
	"maps"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Reasons for which the source guard drops a frame, as Drops counts them.
const (
	dropSource   = "source"   // IPv4 from another MAC or IPv4 address than the endpoint's, or malformed
	dropARP      = "arp"      // ARP that speaks for another MAC or IPv4 address, or malformed
	dropDHCP     = "dhcp"     // to a DHCP server or client
	dropVLAN     = "vlan"     // tagged
	dropIPv6     = "ipv6"     // also router advertisements and DHCPv6
	dropProtocol = "protocol" // any other protocol
)

var dropReasons = []string{dropSource, dropARP, dropDHCP, dropVLAN, dropIPv6, dropProtocol}

// Offsets in an Ethernet header (IEEE 802.3) and in an ARP packet for IPv4 over Ethernet (RFC 826).
const (
	etherSource, etherType             = 6, 12
	arpOperation, arpSender, arpSource = 6, 8, 14
)

// Registers of 4 bytes behind register 1, which holds an interface's name (linux/netfilter/nf_tables.h, NFT_REG32_00..).
const (
	registerMAC  = unix.NFT_REG32_04
	registerAddr = unix.NFT_REG32_06
)

func sourceSetOf(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: sourceSet, ID: 1, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)}
}

// ether matches the type in the Ethernet header as it was sent: a tag's, if there is one, also when the kernel has taken
// the tag off the frame (net/netfilter/nft_payload.c, nft_payload_copy_vlan).
func (m rule) ether(kind uint16) rule {
	return m.equals(payload(expr.PayloadBaseLLHeader, etherType, 2), binary.BigEndian.AppendUint16(nil, kind))
}

// source matches a MAC and an IPv4 address in the frame that are those of the port's endpoint.
func (m rule) source(base expr.PayloadBase, mac, addr uint32, set *nftables.Set) rule {
	return append(m,
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Payload{DestRegister: registerMAC, Base: base, Offset: mac, Len: 6},
		&expr.Payload{DestRegister: registerAddr, Base: expr.PayloadBaseNetworkHeader, Offset: addr, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID})
}

// udpPorts matches UDP to one of a range of ports (RFC 768). A fragment without a UDP header does not match.
func (m rule) udpPorts(from, to uint16) rule {
	return append(m.protocol(unix.IPPROTO_UDP), payload(expr.PayloadBaseTransportHeader, 2, 2),
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binary.BigEndian.AppendUint16(nil, from)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binary.BigEndian.AppendUint16(nil, to)})
}

// count adds to a named counter: one in the rule itself would change what the kernel lists of the rule.
func (m rule) count(reason string) rule {
	return append(m, &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: reason})
}

// buildSourceGuard writes the table. It needs nothing of the bridge family but its hook: kernels may lack both its own
// matches (NFT_BRIDGE_META) and its reject.
func buildSourceGuard(c *nftables.Conn, t *nftables.Table, elements []nftables.SetElement, counts map[string]uint64) error {
	set := sourceSetOf(t)
	if err := addSet(c, set, elements); err != nil {
		return err
	}
	for _, reason := range dropReasons {
		c.AddObj(&nftables.CounterObj{Table: t, Name: reason, Packets: counts[reason]})
	}
	drop := nftables.ChainPolicyDrop
	// Every frame that comes in by a port passes, and nothing else: what the router sends does not.
	port := c.AddChain(&nftables.Chain{Name: "port", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityRef(bridgeFilter), Policy: &drop})
	ip := c.AddChain(&nftables.Chain{Name: "ip", Table: t})
	arp := c.AddChain(&nftables.Chain{Name: "arp", Table: t})
	add := func(ch *nftables.Chain, r rule) { c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: r}) }

	add(port, rule{}.ether(unix.ETH_P_IP).jump(ip))
	add(port, rule{}.ether(unix.ETH_P_ARP).jump(arp))
	add(port, rule{}.ether(unix.ETH_P_IPV6).count(dropIPv6).drop())
	add(port, rule{}.ether(unix.ETH_P_8021Q).count(dropVLAN).drop())
	add(port, rule{}.ether(unix.ETH_P_8021AD).count(dropVLAN).drop())
	add(port, rule{}.count(dropProtocol).drop())

	add(ip, rule{}.udpPorts(67, 68).count(dropDHCP).drop()) // RFC 2131
	add(ip, rule{}.source(expr.PayloadBaseLLHeader, etherSource, sourceOffset, set).accept())
	add(ip, rule{}.count(dropSource).drop())

	honest := rule{}.equals(payload(expr.PayloadBaseNetworkHeader, 0, 6), []byte{0, 1, 8, 0, 6, 4}) // Ethernet, IPv4, their lengths
	honest = honest.source(expr.PayloadBaseLLHeader, etherSource, arpSource, set).
		source(expr.PayloadBaseNetworkHeader, arpSender, arpSource, set)
	for _, op := range []byte{arpRequest, arpReply} {
		add(arp, honest[:len(honest):len(honest)].equals(payload(expr.PayloadBaseNetworkHeader, arpOperation, 2), []byte{0, op}).accept())
	}
	add(arp, rule{}.count(dropARP).drop())
	return nil
}

// bridgeFilter is NF_BR_PRI_FILTER_BRIDGED (linux/netfilter_bridge.h): before br_netfilter shows the frame to other tables.
const bridgeFilter = -200

// Drops counts what containers sent and was not let in, by reason, since the router namespace is there: frames at their ports, and
// what is beyond the rates of services.
func (r *Router) Drops() (map[string]uint64, error) {
	counts, err := r.sources.counts()
	if err != nil {
		return nil, err
	}
	floods, err := r.filter.counts()
	maps.Copy(counts, floods)
	return counts, err
}

// counts reads the table's named counters.
func (s *ruleset) counts() (map[string]uint64, error) {
	sock, err := openSocket(s.ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sock.close() }()
	counts := map[string]uint64{}
	err = sock.dump(s.request(unix.NFT_MSG_GETOBJ, nil), func() { clear(counts) }, func(entry []byte) {
		var table, name string
		var packets uint64
		attrs(entry[nfgenmsg:], func(kind uint16, v []byte) {
			switch kind {
			case unix.NFTA_OBJ_TABLE:
				table = unix.ByteSliceToString(v)
			case unix.NFTA_OBJ_NAME:
				name = unix.ByteSliceToString(v)
			case unix.NFTA_OBJ_DATA:
				attrs(v, func(kind uint16, v []byte) {
					if kind == unix.NFTA_COUNTER_PACKETS && len(v) == 8 {
						packets = binary.BigEndian.Uint64(v)
					}
				})
			}
		})
		if table == NftTable {
			counts[name] = packets
		}
	})
	return counts, err
}
