package plugin

import (
	"errors"

	"github.com/docker/go-plugins-helpers/network"
)

// This file holds the calls that are answered without a driver, whatever endpoint or network they name.

// endpointInfo answers an empty value: 20.10 fails a container's start for an error here, and nobody is shown a value.
func endpointInfo(req *network.InfoRequest) (any, error) {
	return network.InfoResponse{Value: map[string]string{}}, checkIDs(req.NetworkID, req.EndpointID)
}

// programConnectivity and revokeConnectivity have nothing to do: Join answers no gateway, so published ports and outside
// access are docker_gwbridge's.
func programConnectivity(req *network.ProgramExternalConnectivityRequest) (any, error) {
	return nothing{}, checkIDs(req.NetworkID, req.EndpointID)
}

func revokeConnectivity(req *network.RevokeExternalConnectivityRequest) (any, error) {
	return nothing{}, checkIDs(req.NetworkID, req.EndpointID)
}

// checkGateway wants a gateway's address for every network.
func checkGateway(req *gatewayCheckRequest) (any, error) {
	if req.Options == nil {
		return nil, errors.New("Options is missing in the request")
	}
	return gatewayCheckReply{}, nil
}

// discover answers a notification and forgets it: Docker's discovery is no source of membership (a peer that restarted is
// not announced again), the facts are.
func discover(req *network.DiscoveryNotification) (any, error) {
	if req.DiscoveryData == nil {
		return nil, errors.New("DiscoveryData is missing in the request")
	}
	return nothing{}, nil
}

// allocateNetwork is asked of a Swarm manager's plugin. With global scope the options go back as they are and come again,
// with CreateNetwork, on each node; with local scope the manager has nothing to allocate.
func (s *Server) allocateNetwork(req *network.AllocateNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	if s.opts.Scope == network.GlobalScope {
		return network.AllocateNetworkResponse{Options: req.Options}, nil
	}
	return nil, errors.New("a Swarm's manager can't allocate this network, since the driver's scope is local; " +
		"make it on each node with --config-only and use it with --scope swarm --config-from")
}

func freeNetwork(req *network.FreeNetworkRequest) (any, error) {
	return nothing{}, checkID("NetworkID", req.NetworkID)
}
