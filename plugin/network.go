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
}

// networkCalls registers the methods of the network driver.
func (s *Server) networkCalls() {
	s.handle(call{method: "NetworkDriver.GetCapabilities", run: func(context.Context, []byte) (any, error) {
		return networkCapabilities{CapabilitiesResponse: network.CapabilitiesResponse{
			Scope: s.opts.Scope, ConnectivityScope: s.opts.ConnectivityScope}}, nil
	}})
	s.handle(call{method: "NetworkDriver.CreateNetwork", run: asked(s, createNetwork)})
	s.handle(call{method: "NetworkDriver.DeleteNetwork", once: true, run: asked(s, deleteNetwork)})
	s.handle(call{method: "NetworkDriver.CreateEndpoint", run: asked(s, createEndpoint)})
	s.handle(call{method: "NetworkDriver.DeleteEndpoint", once: true, run: asked(s, deleteEndpoint)})
	s.handle(call{method: "NetworkDriver.Join", run: asked(s, join)})
	s.handle(call{method: "NetworkDriver.Leave", once: true, run: asked(s, leave)})

	s.handle(call{method: "NetworkDriver.EndpointOperInfo", run: answered(s, func(req *network.InfoRequest) (any, error) {
		// 20.10 fails a container's start for an error here, and nobody is shown a value.
		return network.InfoResponse{Value: map[string]string{}}, checkIDs(req.NetworkID, req.EndpointID)
	})})
	// Join answers no gateway, so ports and outside access are docker_gwbridge's, and there is nothing to program.
	s.handle(call{method: "NetworkDriver.ProgramExternalConnectivity", run: answered(s, func(req *network.ProgramExternalConnectivityRequest) (any, error) {
		return nothing{}, checkIDs(req.NetworkID, req.EndpointID)
	})})
	s.handle(call{method: "NetworkDriver.RevokeExternalConnectivity", run: answered(s, func(req *network.RevokeExternalConnectivityRequest) (any, error) {
		return nothing{}, checkIDs(req.NetworkID, req.EndpointID)
	})})
	s.handle(call{method: "NetworkDriver.GwAllocCheck", run: answered(s, func(req *gatewayCheckRequest) (any, error) {
		if req.Options == nil {
			return nil, errors.New("Options is missing in the request")
		}
		return gatewayCheckReply{}, nil
	})})
	// Docker's discovery is no source of membership (a peer that restarted is not announced again): the facts are.
	s.handle(call{method: "NetworkDriver.DiscoverNew", run: answered(s, discover)})
	s.handle(call{method: "NetworkDriver.DiscoverDelete", run: answered(s, discover)})
	s.handle(call{method: "NetworkDriver.AllocateNetwork", run: answered(s, allocateNetwork)})
	s.handle(call{method: "NetworkDriver.FreeNetwork", run: answered(s, func(req *network.FreeNetworkRequest) (any, error) {
		return nothing{}, checkID("NetworkID", req.NetworkID)
	})})
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

// discover answers a notification and forgets it.
func discover(req *network.DiscoveryNotification) (any, error) {
	if req.DiscoveryData == nil {
		return nil, errors.New("DiscoveryData is missing in the request")
	}
	return nothing{}, nil
}

// allocateNetwork is asked of a Swarm manager's plugin for networks of global scope; the options go back as they are and
// come again, with CreateNetwork, on each node.
func allocateNetwork(req *network.AllocateNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	return nil, errors.New("a Swarm's manager can't allocate this network, since the driver's scope is local; " +
		"make it on each node with --config-only and use it with --scope swarm --config-from")
}
