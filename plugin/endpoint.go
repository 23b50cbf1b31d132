package plugin

import (
	"context"
	"errors"
	"net/netip"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/meshsec/meshsec/driver"
)

func createEndpoint(ctx context.Context, b backend, req *network.CreateEndpointRequest) (any, error) {
	if err := checkIDs(req.NetworkID, req.EndpointID); err != nil {
		return nil, err
	}
	if req.Interface == nil {
		return nil, errors.New("Interface is missing in the request")
	}
	reply, err := b.network.CreateEndpoint(ctx, driver.EndpointRequest{
		NetworkID: req.NetworkID, EndpointID: req.EndpointID, Address: req.Interface.Address,
		AddressIPv6: req.Interface.AddressIPv6, MAC: req.Interface.MacAddress, Options: req.Options,
	})
	if err != nil {
		return nil, err
	}
	// dockerd rolls an endpoint back if the reply repeats anything that the request had.
	var fill network.EndpointInterface
	if req.Interface.MacAddress == "" {
		fill.MacAddress = reply.MAC
	}
	return network.CreateEndpointResponse{Interface: &fill}, nil
}

func deleteEndpoint(ctx context.Context, b backend, req *network.DeleteEndpointRequest) (any, error) {
	if err := checkIDs(req.NetworkID, req.EndpointID); err != nil {
		return nil, err
	}
	return nothing{}, b.network.DeleteEndpoint(ctx, req.NetworkID, req.EndpointID)
}

// join answers no gateway, ever: with one, dockerd would leave outside access and published ports to the driver.
func join(ctx context.Context, b backend, req *network.JoinRequest) (any, error) {
	if err := checkIDs(req.NetworkID, req.EndpointID); err != nil {
		return nil, err
	}
	if err := required("SandboxKey", req.SandboxKey); err != nil {
		return nil, err
	}
	reply, err := b.network.Join(ctx, req.NetworkID, req.EndpointID, req.SandboxKey, req.Options)
	if err != nil {
		return nil, err
	}
	if reply.SrcName == "" { // dockerd would start the container without an interface and without a word
		return nil, errors.New("join: no interface was made")
	}
	var response joinResponse
	response.InterfaceName = interfaceName{SrcName: reply.SrcName, DstPrefix: reply.DstPrefix, DstName: reply.DstName}
	if reply.OnLink.IsValid() {
		response.StaticRoutes = []*network.StaticRoute{{Destination: netip.PrefixFrom(reply.OnLink, 32).String(), RouteType: connected}}
	}
	return response, nil
}

// joinResponse is the SDK's with the name that engines take since API 1.56, which the SDK does not have.
type joinResponse struct {
	InterfaceName interfaceName
	network.JoinResponse
}

type interfaceName struct {
	SrcName, DstPrefix string
	DstName            string `json:",omitempty"`
}

// connected is libnetwork's type of a route without a next hop, by the interface itself (types.CONNECTED).
const connected = 1

func leave(ctx context.Context, b backend, req *network.LeaveRequest) (any, error) {
	if err := checkIDs(req.NetworkID, req.EndpointID); err != nil {
		return nil, err
	}
	return nothing{}, b.network.Leave(ctx, req.NetworkID, req.EndpointID)
}
