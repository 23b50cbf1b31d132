package ipam

import "net/netip"

// The address spaces that the plugin tells Docker. Docker takes the local one for networks of scope local, which is
// what every host creates for itself.
const (
	LocalSpace  = "MeshsecLocal"
	GlobalSpace = "MeshsecGlobal"
)

// The keys that Docker and its users send along.
const (
	// OptionNetwork (--ipam-opt) names the network of the environment.
	OptionNetwork = "meshsec.network"
	// OptionBlock (--ipam-opt) is the prefix length of the network's blocks, for whoever creates the network.
	OptionBlock = "meshsec.block"

	// dockerOptions starts the keys that Docker adds itself, such as com.docker.network.ipam.serial in a Swarm.
	dockerOptions = "com.docker.network."
	// addressType with the value gatewayType marks the request for a gateway's address.
	addressType = "RequestAddressType"
	gatewayType = "com.docker.network.gateway"
	// endpointName is the container's name; engines from 29 on send it.
	endpointName = "com.docker.network.endpoint.name"
)

// PoolRequest is IpamDriver.RequestPool: Pool is the subnet (--subnet) or empty, SubPool a part of it (--ip-range) or
// empty, Options what --ipam-opt gave.
type PoolRequest struct {
	AddressSpace, Pool, SubPool string
	Options                     map[string]string
	V6                          bool
}

// PoolReply answers it. ID is a function of the request's space, network, pool and sub-pool.
type PoolReply struct {
	ID   string
	Pool netip.Prefix
	Data map[string]string
}

// AddressRequest is IpamDriver.RequestAddress: Address is empty for any address.
type AddressRequest struct {
	PoolID, Address string
	Options         map[string]string
}
