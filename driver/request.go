package driver

import "net/netip"

// PoolData is one entry of a network's IPAM data, as Docker sends it: Pool, Gateway and the auxiliary addresses are in
// CIDR notation.
type PoolData struct {
	AddressSpace, Pool, Gateway string
	Aux                         map[string]string
}

// NetworkRequest is NetworkDriver.CreateNetwork.
type NetworkRequest struct {
	ID      string
	IPv4    []PoolData
	IPv6    []PoolData
	Options map[string]any
}

// EndpointRequest is NetworkDriver.CreateEndpoint. Address is in CIDR notation; MAC is empty unless the user chose one.
type EndpointRequest struct {
	NetworkID, EndpointID, Address, AddressIPv6, MAC string
	Options                                          map[string]any
}

// EndpointReply answers it. MAC is empty if the request had one: Docker rolls an endpoint back whose driver answers
// something that it did not ask for.
type EndpointReply struct {
	MAC string
}

// JoinReply answers NetworkDriver.Join: Docker moves the link SrcName into the container and names it DstName or, where that is
// empty or the engine drops it, DstPrefix and a number. There is no gateway, so Docker gives the container docker_gwbridge for the outside world. OnLink is an address that is to be
// reached by this link; invalid: none. Docker refuses two links of a container with one such address.
type JoinReply struct {
	SrcName, DstPrefix, DstName string
	OnLink                      netip.Addr
}
