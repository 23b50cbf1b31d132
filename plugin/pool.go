package plugin

import (
	"context"
	"net/netip"

	helper "github.com/docker/go-plugins-helpers/ipam"

	"github.com/meshsec/meshsec/ipam"
)

// IPAM is the address driver behind the plugin, under the same rules as Network.
type IPAM interface {
	RequestPool(ctx context.Context, req ipam.PoolRequest) (ipam.PoolReply, error)
	ReleasePool(ctx context.Context, id string) error
	RequestAddress(ctx context.Context, req ipam.AddressRequest) (netip.Prefix, error)
	ReleaseAddress(ctx context.Context, poolID, address string) error
}

// ipamCalls are the methods of the IPAM driver.
func (s *Server) ipamCalls() []call {
	return []call{
		{method: "IpamDriver.GetCapabilities", run: func(context.Context, []byte) (any, error) {
			return ipamCapabilities{}, nil
		}},
		{method: "IpamDriver.GetDefaultAddressSpaces", run: func(context.Context, []byte) (any, error) {
			return helper.AddressSpacesResponse{LocalDefaultAddressSpace: ipam.LocalSpace, GlobalDefaultAddressSpace: ipam.GlobalSpace}, nil
		}},
		{method: "IpamDriver.RequestPool", run: asked(s, requestPool)},
		{method: "IpamDriver.ReleasePool", once: true, run: asked(s, releasePool)},
		{method: "IpamDriver.RequestAddress", run: asked(s, requestAddress)},
		{method: "IpamDriver.ReleaseAddress", once: true, run: asked(s, releaseAddress)},
	}
}

func requestPool(ctx context.Context, b backend, req *helper.RequestPoolRequest) (any, error) {
	if err := required("AddressSpace", req.AddressSpace); err != nil {
		return nil, err
	}
	reply, err := b.ipam.RequestPool(ctx, ipam.PoolRequest{
		AddressSpace: req.AddressSpace, Pool: req.Pool, SubPool: req.SubPool, Options: req.Options, V6: req.V6})
	if err != nil {
		return nil, err
	}
	return helper.RequestPoolResponse{PoolID: reply.ID, Pool: reply.Pool.String(), Data: reply.Data}, nil
}

func releasePool(ctx context.Context, b backend, req *helper.ReleasePoolRequest) (any, error) {
	if err := required("PoolID", req.PoolID); err != nil {
		return nil, err
	}
	return nothing{}, b.ipam.ReleasePool(ctx, req.PoolID)
}

func requestAddress(ctx context.Context, b backend, req *helper.RequestAddressRequest) (any, error) {
	if err := required("PoolID", req.PoolID); err != nil {
		return nil, err
	}
	addr, err := b.ipam.RequestAddress(ctx, ipam.AddressRequest{PoolID: req.PoolID, Address: req.Address, Options: req.Options})
	if err != nil {
		return nil, err
	}
	return helper.RequestAddressResponse{Address: addr.String()}, nil
}

func releaseAddress(ctx context.Context, b backend, req *helper.ReleaseAddressRequest) (any, error) {
	if err := required("PoolID", req.PoolID); err != nil {
		return nil, err
	}
	if err := required("Address", req.Address); err != nil {
		return nil, err
	}
	return nothing{}, b.ipam.ReleaseAddress(ctx, req.PoolID, req.Address)
}
