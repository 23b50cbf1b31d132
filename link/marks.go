package link

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
)

// The marks of everything that meshsec puts into a kernel. Nothing without one of them is ever changed or deleted, so
// they are fixed for good: an agent must recognise what an older one left behind.
const (
	// RouteProtocol is the rtm_protocol of our routes (rtnetlink(7); 109 is not assigned in iproute2's rt_protos).
	RouteProtocol = 109
	// RouteMetric is the priority of our routes. A metric of our own means that replacing one of ours never hits a
	// foreign route to the same destination, because the kernel looks for one with equal metric.
	RouteMetric = 109
	// LinkPrefix starts the name of a veth's container end.
	LinkPrefix = "ms"
	// PortPrefix starts the name of a veth's router end, a port of a bridge.
	PortPrefix = "mv"
	// BridgePrefix starts the name of a network's bridge in the router namespace.
	BridgePrefix = "br-"
	// TunName is the userspace data plane's device in the router namespace.
	TunName = "mesh0"
	// TunnelPrefix starts the names of the kernel data plane's devices in the router namespace, one per peer.
	TunnelPrefix = "ms-"
	// NftTable is the name of our nftables table (family inet), in the router namespace and in the host's.
	NftTable = "meshsec"
	// coverTable stands in for the host's while that is replaced.
	coverTable = NftTable + "-cover"
	// AddrLabel is the label of our addresses on lo; the kernel wants it to start with the link's name.
	AddrLabel = "lo:" + NftTable
	// IfIDBase is the first of the 65,536 xfrm if_ids and reqids that are ours.
	IfIDBase = 0x6d730000
)

// maxLinkName is IFNAMSIZ without the terminating zero (linux/if.h).
const maxLinkName = 15

// BridgeName gives the name of a network's bridge: "br-" and the network's name where that is a clean link name of at
// most 15 bytes, else "br-" and ten hex digits of its SHA-256.
func BridgeName(network string) string {
	if network != "" && len(BridgePrefix)+len(network) <= maxLinkName && !strings.ContainsFunc(network, unclean) {
		return BridgePrefix + network
	}
	sum := sha256.Sum256([]byte(network))
	return BridgePrefix + hex.EncodeToString(sum[:5])
}

// unclean reports characters that the kernel (dev_valid_name) or a sysctl's path may take amiss in a link's name.
func unclean(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// EndpointLink gives the names of an endpoint's veth pair: the container's end, which Docker moves out of the host's
// namespace, and the router's end, a port of the network's bridge. Both are "ms" or "mv" and the first ten characters
// of Docker's endpoint ID (40 bits of it: enough for the endpoints of one host).
func EndpointLink(endpointID string) (container, router string) {
	id := endpointID
	if len(id) > 10 {
		id = id[:10]
	}
	return LinkPrefix + id, PortPrefix + id
}

// MACOf derives a locally administered MAC address from an IPv4 address: 02:6d and the four bytes. Within a network it
// is as unique as the address, and the same on every host.
func MACOf(addr netip.Addr) net.HardwareAddr {
	b := addr.Unmap().As4()
	return net.HardwareAddr{0x02, 0x6d, b[0], b[1], b[2], b[3]}
}
