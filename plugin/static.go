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
