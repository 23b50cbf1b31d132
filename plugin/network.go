package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/meshsec/meshsec/driver"
)

// Network is the network driver behind the plugin. Each call may come twice, late, or for something that is gone; what
// deletes answers nil for what it does not know. A call that has not returned when its context ends is answered without it.
type Network interface {
	CreateNetwork(ctx context.Context, req driver.NetworkRequest) error
	DeleteNetwork(ctx context.Context, id string) error
	CreateEndpoint(ctx context.Context, req driver.EndpointRequest) (driver.EndpointReply, error)
	DeleteEndpoint(ctx context.Context, networkID, endpointID string) error
	Join(ctx context.Context, networkID, endpointID, sandbox string, options map[string]any) (driver.JoinReply, error)
	Leave(ctx context.Context, networkID, endpointID string) error
	// AllocateNetwork and FreeNetwork are of a Swarm's leader, with global scope.
	AllocateNetwork(ctx context.Context, id string, v4 []driver.PoolData, options map[string]string) error
	FreeNetwork(ctx context.Context, id string) error
}

// networkCalls are the methods of the network driver.
func (s *Server) networkCalls() []call {
	return []call{
		{method: "NetworkDriver.GetCapabilities", run: func(context.Context, []byte) (any, error) {
			return networkCapabilities{CapabilitiesResponse: network.CapabilitiesResponse{
				Scope: s.opts.Scope, ConnectivityScope: s.opts.ConnectivityScope}}, nil
		}},
		{method: "NetworkDriver.CreateNetwork", run: asked(s, createNetwork)},
		{method: "NetworkDriver.DeleteNetwork", once: true, run: asked(s, deleteNetwork)},
		{method: "NetworkDriver.CreateEndpoint", run: asked(s, createEndpoint)},
		{method: "NetworkDriver.DeleteEndpoint", once: true, run: asked(s, deleteEndpoint)},
		{method: "NetworkDriver.Join", run: asked(s, join)},
		{method: "NetworkDriver.Leave", once: true, run: asked(s, leave)},
		{method: "NetworkDriver.EndpointOperInfo", run: answered(s, endpointInfo)},
		{method: "NetworkDriver.ProgramExternalConnectivity", run: answered(s, programConnectivity)},
		{method: "NetworkDriver.RevokeExternalConnectivity", run: answered(s, revokeConnectivity)},
		{method: "NetworkDriver.GwAllocCheck", run: answered(s, checkGateway)},
		{method: "NetworkDriver.DiscoverNew", run: answered(s, discover)},
		{method: "NetworkDriver.DiscoverDelete", run: answered(s, discover)},
		{method: "NetworkDriver.AllocateNetwork", run: managed(s, refuseNetwork, allocateNetwork)},
		{method: "NetworkDriver.FreeNetwork", once: true, run: managed(s, freeNothing, freeNetwork)},
	}
}

func createNetwork(ctx context.Context, b backend, req *network.CreateNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	v4, err := pools(req.IPv4Data)
	if err != nil {
		return nil, err
	}
	v6, err := pools(req.IPv6Data)
	if err != nil {
		return nil, err
	}
	return nothing{}, b.network.CreateNetwork(ctx, driver.NetworkRequest{ID: req.NetworkID, IPv4: v4, IPv6: v6, Options: req.Options})
}

// pools gives dockerd's IPAM data in the driver's words.
func pools(data []*network.IPAMData) ([]driver.PoolData, error) {
	var out []driver.PoolData
	for _, d := range data {
		if d == nil {
			return nil, errors.New("an entry of the network's IPAM data is null")
		}
		p := driver.PoolData{AddressSpace: d.AddressSpace, Pool: d.Pool, Gateway: d.Gateway}
		for name, value := range d.AuxAddresses {
			addr, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("auxiliary address %.80q is no text but %T", name, value)
			}
			if p.Aux == nil {
				p.Aux = make(map[string]string)
			}
			p.Aux[name] = addr
		}
		out = append(out, p)
	}
	return out, nil
}

func deleteNetwork(ctx context.Context, b backend, req *network.DeleteNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	return nothing{}, b.network.DeleteNetwork(ctx, req.NetworkID)
}
