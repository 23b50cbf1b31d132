package plugin

import (
	"context"
	"errors"

	"github.com/docker/go-plugins-helpers/network"
)

// managed makes a call that only a Swarm's leader with global scope has something to do for.
func managed[T any](s *Server, local func(*T) (any, error), global func(context.Context, backend, *T) (any, error)) func(context.Context, []byte) (any, error) {
	if s.opts.Scope == network.GlobalScope {
		return asked(s, global)
	}
	return answered(s, local)
}

func refuseNetwork(req *network.AllocateNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	return nil, errors.New("a Swarm's manager can't allocate this network, since the driver's scope is local; " +
		"make it on each node with --config-only and use it with --scope swarm --config-from, as meshsec swarm network does")
}

func freeNothing(req *network.FreeNetworkRequest) (any, error) {
	return nothing{}, checkID("NetworkID", req.NetworkID)
}

// allocateNetwork gives the options back as they are: they come again, with CreateNetwork, on each node.
func allocateNetwork(ctx context.Context, b backend, req *network.AllocateNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	if len(req.IPv6Data) > 0 {
		return nil, errors.New("networks of meshsec carry IPv4 only; leave out --ipv6 and the IPv6 subnet")
	}
	data := make([]*network.IPAMData, len(req.IPv4Data))
	for i := range req.IPv4Data {
		data[i] = &req.IPv4Data[i]
	}
	v4, err := pools(data)
	if err != nil {
		return nil, err
	}
	return network.AllocateNetworkResponse{Options: req.Options}, b.network.AllocateNetwork(ctx, req.NetworkID, v4, req.Options)
}

func freeNetwork(ctx context.Context, b backend, req *network.FreeNetworkRequest) (any, error) {
	if err := checkID("NetworkID", req.NetworkID); err != nil {
		return nil, err
	}
	return nothing{}, b.network.FreeNetwork(ctx, req.NetworkID)
}
