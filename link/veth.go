package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Veth is the pair of links between a container and its network's bridge. The names are those of EndpointLink.
type Veth struct {
	ContainerEnd string
	RouterEnd    string
	Bridge       string
	MTU          int
	MAC          net.HardwareAddr // of the container's end
	Addr         netip.Addr       // of the endpoint: what the container may send from
}

// AddVeth makes the pair: the container's end, down, in the host's namespace for Docker to move away; the router's end,
// up, in the bridge, after the source guard knows it. A whole pair that is there is repaired; a half one is replaced: Docker asks for a link that it is
// about to move, so a container's end that is elsewhere belongs to a sandbox that Docker has given up. It is an error if
// the bridge is not there.
func (r *Router) AddVeth(v Veth) error {
	r.links.Lock()
	defer r.links.Unlock()
	if err := r.addVeth(v); err != nil {
		return fmt.Errorf("veth %s: %w", v.RouterEnd, err)
	}
	return nil
}

func (r *Router) addVeth(v Veth) error {
	if err := checkEnds(v.ContainerEnd, v.RouterEnd); err != nil {
		return err
	}
	bridge, err := find(r.nl, v.Bridge)
	if err != nil {
		return err
	}
	if bridge == nil || bridge.Type() != "bridge" {
		return fmt.Errorf("bridge %s is not there", v.Bridge)
	}
	delete(r.orphan, v.RouterEnd)
	if err := r.addSource(v); err != nil {
		return err
	}
	port, end, err := r.pair(v.ContainerEnd, v.RouterEnd)
	if err != nil {
		return err
	}
	f := forwarding{} // of a new port, nothing is known
	if port != nil {
		if f, err = r.forwarding(); err != nil {
			return err
		}
	} else {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = v.RouterEnd, v.MTU
		// Both ends are made where they belong: moving one later would cost an RCU grace period.
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: v.ContainerEnd, PeerHardwareAddr: v.MAC, PeerMTU: uint32(v.MTU),
			PeerNamespace: netlink.NsFd(r.hostNS)}
		if err := r.nl.LinkAdd(pair); err != nil {
			return err
		}
		if port, end, err = r.pair(v.ContainerEnd, v.RouterEnd); err != nil {
			return err
		}
		if port == nil {
			return errors.New("gone again")
		}
	}
	var errs []error
	if end.Attrs().MTU != v.MTU {
		errs = append(errs, r.hostNL.LinkSetMTU(end, v.MTU))
	}
	if !bytes.Equal(end.Attrs().HardwareAddr, v.MAC) {
		errs = append(errs, r.hostNL.LinkSetHardwareAddr(end, v.MAC))
	}
	return errors.Join(append(errs, r.convergePort(port, bridge, v, f))...)
}

// pair finds both ends of a pair, or none: what is left of a broken pair is deleted.
func (r *Router) pair(containerEnd, routerEnd string) (port, end netlink.Link, err error) {
	if port, err = find(r.nl, routerEnd); err != nil {
		return nil, nil, err
	}
	if end, err = find(r.hostNL, containerEnd); err != nil {
		return nil, nil, err
	}
	if port != nil && end != nil && port.Attrs().ParentIndex == end.Attrs().Index && end.Attrs().ParentIndex == port.Attrs().Index {
		return port, end, nil
	}
	return nil, nil, errors.Join(remove(r.nl, port), remove(r.hostNL, end))
}

// convergePort puts a router end into its bridge and sets it up, unless the bridge can't be kept from learning by it.
func (r *Router) convergePort(port, bridge netlink.Link, v Veth, f forwarding) error {
	var errs []error
	if port.Attrs().MTU != v.MTU {
		errs = append(errs, r.nl.LinkSetMTU(port, v.MTU))
	}
	if port.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := r.nl.LinkSetMaster(port, bridge); err != nil {
			return errors.Join(append(errs, err)...)
		}
		delete(f.shut, port.Attrs().Index)
	}
	if err := r.convergeForwarding(port, bridge, v.MAC, f); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if port.Attrs().Flags&net.FlagUp == 0 {
		errs = append(errs, r.nl.LinkSetUp(port))
	}
	return errors.Join(errs...)
}

// DelVeth deletes the pair, wherever its ends are. A pair that does not exist is no error.
func (r *Router) DelVeth(containerEnd, routerEnd string) error {
	r.links.Lock()
	defer r.links.Unlock()
	if err := checkEnds(containerEnd, routerEnd); err != nil {
		return err
	}
	delete(r.orphan, routerEnd)
	delete(r.joined, routerEnd) // the guard forgets it with the next SetPorts; the name is not used again
	port, err1 := find(r.nl, routerEnd)
	err1 = errors.Join(err1, remove(r.nl, port))
	// Looked up only now: with its peer it is gone, too.
	end, err2 := find(r.hostNL, containerEnd)
	err2 = errors.Join(err2, remove(r.hostNL, end))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("delete veth %s: %w", routerEnd, err)
	}
	return nil
}

// remove deletes a veth; nil, and one that is gone by now, are no errors.
func remove(h *netlink.Handle, l netlink.Link) error {
	if l == nil {
		return nil
	}
	if l.Type() != "veth" {
		return fmt.Errorf("link %s is a %s, not a veth", l.Attrs().Name, l.Type())
	}
	if err := h.LinkDel(l); err != nil && !isGone(err) {
		return err
	}
	return nil
}

func checkEnds(containerEnd, routerEnd string) error {
	if !ours(containerEnd, LinkPrefix) || !ours(routerEnd, PortPrefix) {
		return fmt.Errorf("veth %s, %s: not names of ours", containerEnd, routerEnd)
	}
	return nil
}
