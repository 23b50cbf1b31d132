package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// CreateEndpoint writes the endpoint down; the publisher tells the other hosts. The address must be one that the IPAM
// driver has leased for it. Without a MAC address in the request the endpoint gets one that follows from its address, so
// that a neighbour's entry for the address stays right when another container gets it. The same request again gets the
// same answer.
func (d *Driver) CreateEndpoint(ctx context.Context, req EndpointRequest) (EndpointReply, error) {
	if err := d.st.Removed(); err != nil {
		return EndpointReply{}, err
	}
	addr, mac, ifName, err := check(req)
	if err != nil {
		return EndpointReply{}, err
	}
	if ifName != "" {
		if err := d.checkNaming(ctx); err != nil {
			return EndpointReply{}, dishonoured(optionIfName, err)
		}
	}
	err = d.cp.Update(func(l *store.Local) error {
		if ctx.Err() != nil { // Docker has given up, and will send no DeleteEndpoint
			return ctx.Err()
		}
		n, ok := l.Networks[req.NetworkID]
		if !ok {
			return fmt.Errorf("Docker's network %.12s %w", req.NetworkID, errNoNetwork)
		}
		if have, ok := l.Endpoints[req.EndpointID]; ok {
			if have.DockerNetwork != req.NetworkID || have.Addr != addr || have.MAC != mac.String() || have.IfName != ifName {
				return fmt.Errorf("endpoint %.12s exists on this host with the address %v, the MAC address %s and the interface name %q",
					req.EndpointID, have.Addr, have.MAC, have.IfName)
			}
			return nil
		}
		lease, err := leased(l, n, addr)
		if err != nil {
			return err
		}
		container, _ := link.EndpointLink(req.EndpointID)
		l.Endpoints[req.EndpointID] = store.LocalEndpoint{
			Endpoint: store.Endpoint{
				V: store.Version, ID: req.EndpointID, Host: d.self, Network: n.Network, Addr: addr, MAC: mac.String(),
				Name: lease.Name, Ports: requested(req.Options), Since: d.o.Now(),
			},
			DockerNetwork: req.NetworkID, Link: container, MTU: n.MTU, IfName: ifName,
		}
		return nil
	})
	if err != nil || req.MAC != "" {
		return EndpointReply{}, err
	}
	return EndpointReply{MAC: mac.String()}, nil
}

// check reads the request, for everything that needs no look at other endpoints.
func check(req EndpointRequest) (_ netip.Addr, _ net.HardwareAddr, ifName string, err error) {
	if req.NetworkID == "" || req.EndpointID == "" {
		return netip.Addr{}, nil, "", errors.New("NetworkID or EndpointID is missing in the request")
	}
	if ifName, err = checkEndpointOptions(req.Options); err != nil {
		return netip.Addr{}, nil, "", err
	}
	if req.AddressIPv6 != "" {
		return netip.Addr{}, nil, "", fmt.Errorf("address %s: networks of meshsec carry IPv4 only; leave out --ip6", req.AddressIPv6)
	}
	if req.Address == "" {
		return netip.Addr{}, nil, "", fmt.Errorf("the endpoint has no address, so its network was not made by: %s NAME", command)
	}
	addr, err := prefix("address", req.Address)
	if err != nil {
		return netip.Addr{}, nil, "", err
	}
	if req.MAC == "" {
		return addr.Addr(), link.MACOf(addr.Addr()), ifName, nil
	}
	mac, err := net.ParseMAC(req.MAC)
	if err != nil || len(mac) != 6 {
		return netip.Addr{}, nil, "", fmt.Errorf("MAC address %q is not one such as 02:6d:0a:2a:40:05", req.MAC)
	}
	if mac[0]&1 != 0 {
		return netip.Addr{}, nil, "", fmt.Errorf("MAC address %v is a group's, so no container can have it", mac)
	}
	return addr.Addr(), mac, ifName, nil
}

// leased gives the lease that makes the address the new endpoint's.
func leased(l *store.Local, n store.LocalNetwork, addr netip.Addr) (store.Lease, error) {
	lease, ok := l.Leases[store.AddrKey{Network: n.Network, Addr: addr}]
	if !ok || lease.Kind != store.LeaseEndpoint || !lease.Freed.IsZero() {
		return lease, fmt.Errorf("address %v of network %s is not reserved for an endpoint on this host; start the container again", addr, n.Network)
	}
	for id, e := range l.Endpoints {
		if e.Network == n.Network && e.Addr == addr {
			if e.Name != "" {
				return lease, fmt.Errorf("address %v is taken by container %s on this host", addr, e.Name)
			}
			return lease, fmt.Errorf("address %v is taken by endpoint %.12s on this host", addr, id)
		}
	}
	return lease, nil
}

// DeleteEndpoint forgets the endpoint and deletes its veth pair. An unknown endpoint or a pair that is gone is no error: Docker
// deletes once, at any time, and a Join that is still under way undoes itself when it finds the endpoint gone.
func (d *Driver) DeleteEndpoint(_ context.Context, _, endpointID string) error {
	if endpointID == "" {
		return errors.New("EndpointID is missing in the request")
	}
	err := d.cp.Update(func(l *store.Local) error {
		if e, ok := l.Endpoints[endpointID]; ok {
			leave(l, e)
			delete(l.Endpoints, endpointID)
		}
		return nil
	})
	return errors.Join(err, d.links.DelVeth(link.EndpointLink(endpointID)))
}
