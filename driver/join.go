package driver

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// devicePrefix starts the name of the interface in the container, as on Docker's own networks.
const devicePrefix = "eth"

// Join makes the endpoint's veth pair in the host's namespace, from where Docker moves one end into the container. The
// sandbox is not entered: on 20.10 it does not exist yet. A second Join gets the same answer.
//
// Join and DeleteEndpoint may overlap, when Docker has given up waiting. Both write to the checkpoint: whichever comes
// second there sees to it that no link is left.
func (d *Driver) Join(ctx context.Context, networkID, endpointID, sandbox string, _ map[string]any) (JoinReply, error) {
	local := d.cp.Local()
	n, ok := local.Networks[networkID]
	if !ok {
		return JoinReply{}, fmt.Errorf("Docker's network %.12s %w", networkID, errNoNetwork)
	}
	e, ok := local.Endpoints[endpointID]
	if !ok || e.DockerNetwork != networkID {
		return JoinReply{}, errNoEndpoint(endpointID)
	}
	container, router := link.EndpointLink(endpointID)
	reply := JoinReply{SrcName: container, DstPrefix: devicePrefix, DstName: e.IfName}
	if e.Joined && e.SandboxKey == sandbox && d.there(router) {
		return reply.with(e), nil // made already, and perhaps moved already: not to be made anew
	}
	if err := ctx.Err(); err != nil {
		return JoinReply{}, err
	}
	if err := d.plug(n, e, container, router); err != nil {
		return JoinReply{}, err
	}
	err := d.cp.Update(func(l *store.Local) error {
		e, ok := l.Endpoints[endpointID]
		if !ok {
			return errNoEndpoint(endpointID)
		}
		d.join(l, &e, sandbox)
		e.Link = container
		l.Endpoints[endpointID] = e
		reply = reply.with(e)
		return nil
	})
	if err != nil {
		if err := d.links.DelVeth(container, router); err != nil {
			d.log(err, "veth of a deleted endpoint is left to the reconciler")
		}
		return JoinReply{}, err
	}
	wake(d.look)
	return reply, nil
}

func errNoEndpoint(id string) error {
	return fmt.Errorf("endpoint %.12s is not known to this host's plugin; start the container again", id)
}

// there says that a router end exists.
func (d *Driver) there(routerEnd string) bool {
	ends, err := d.links.Veths()
	return err == nil && slices.Contains(ends, routerEnd)
}

// plug makes the pair, and before it the bridge: Docker starts containers before the reconciler has seen the network.
func (d *Driver) plug(n store.LocalNetwork, e store.LocalEndpoint, container, router string) error {
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return fmt.Errorf("endpoint %.12s: %w", e.ID, err)
	}
	mtu := n.MTU
	if mtu == 0 {
		mtu = d.o.MTU()
	}
	bridge := link.Bridge{
		Network: n.Network, Name: link.BridgeName(n.Network), Pool: n.Pool, Gateway: n.Gateway, MAC: link.MACOf(n.Gateway), MTU: mtu,
	}
	if err := d.links.EnsureBridge(bridge); err != nil {
		return fmt.Errorf("network %s: %w", n.Network, err)
	}
	pair := link.Veth{ContainerEnd: container, RouterEnd: router, Bridge: bridge.Name, MTU: mtu, MAC: mac, Addr: e.Addr}
	if err := d.links.AddVeth(pair); err != nil {
		return fmt.Errorf("endpoint %.12s: %w", e.ID, err)
	}
	return nil
}

// Leave notes that the endpoint has no sandbox. Docker moves its link back after this call and deletes the endpoint next.
func (d *Driver) Leave(_ context.Context, _, endpointID string) error {
	return d.cp.Update(func(l *store.Local) error {
		if e, ok := l.Endpoints[endpointID]; ok {
			leave(l, e)
		}
		return nil
	})
}
