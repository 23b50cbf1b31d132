package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A bridge of ours learns nothing: where an endpoint's MAC address is follows from its pair. Learning would believe any
// source address, even in frames that the source guard does not see: what is sent to 01-80-C2-00-00-0E (LLDP) is learned
// from before nftables' hook (net/bridge/br_input.c, br_handle_frame). And what is for an address that nobody has goes to
// nobody.

// forwarding is what the bridges of the router namespace know of their ports.
type forwarding struct {
	shut  map[int]bool  // ports, by index, that neither learn nor get frames for unknown addresses
	ports map[place]int // static entries: the port, by index
}

// place is a MAC address on a bridge.
type place struct {
	bridge int
	mac    [6]byte
}

func (r *Router) forwarding() (forwarding, error) {
	f := forwarding{shut: map[int]bool{}, ports: map[place]int{}}
	sock, err := openSocket(r.ns, unix.NETLINK_ROUTE)
	if err != nil {
		return f, err
	}
	defer func() { _ = sock.close() }()
	family := append([]byte{unix.AF_BRIDGE}, make([]byte, unix.SizeofIfInfomsg-1)...)
	err = sock.dump(message{kind: unix.RTM_GETLINK, body: family}, func() { clear(f.shut) }, func(entry []byte) {
		if len(entry) < unix.SizeofIfInfomsg {
			return
		}
		index := int(nl.NativeEndian().Uint32(entry[4:]))
		off := 0
		attrs(entry[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
			if kind != unix.IFLA_PROTINFO {
				return
			}
			attrs(v, func(kind uint16, v []byte) {
				if (kind == nl.IFLA_BRPORT_LEARNING || kind == nl.IFLA_BRPORT_UNICAST_FLOOD) && len(v) == 1 && v[0] == 0 {
					off++
				}
			})
		})
		f.shut[index] = off == 2
	})
	if err != nil {
		return f, fmt.Errorf("list ports: %w", err)
	}
	ask := append([]byte{unix.AF_BRIDGE}, make([]byte, unix.SizeofNdMsg-1)...)
	err = sock.dump(message{kind: unix.RTM_GETNEIGH, body: ask}, func() { clear(f.ports) }, func(entry []byte) {
		// struct ndmsg: family, link, state, flags (rtnetlink(7)).
		if len(entry) < unix.SizeofNdMsg || nl.NativeEndian().Uint16(entry[8:])&netlink.NUD_NOARP == 0 {
			return
		}
		var at place
		tagged := false // the same once more for each VLAN of the port, which a bridge that knows no VLANs does not look at
		attrs(entry[unix.SizeofNdMsg:], func(kind uint16, v []byte) {
			switch {
			case kind == unix.NDA_LLADDR && len(v) == len(at.mac):
				at.mac = [6]byte(v)
			case kind == unix.NDA_MASTER && len(v) == 4:
				at.bridge = int(nl.NativeEndian().Uint32(v))
			case kind == unix.NDA_VLAN:
				tagged = true
			}
		})
		if !tagged {
			f.ports[at] = int(nl.NativeEndian().Uint32(entry[4:]))
		}
	})
	if err != nil {
		return f, fmt.Errorf("list forwarding entries: %w", err)
	}
	return f, nil
}

// convergeForwarding makes a port, which is in its bridge, the place of its endpoint's MAC address, and of no other. An
// address that another pair has is refused: one of them would take the other's frames.
func (r *Router) convergeForwarding(port, bridge netlink.Link, mac net.HardwareAddr, f forwarding) error {
	index, at := port.Attrs().Index, place{bridge.Attrs().Index, [6]byte(mac)}
	if bytes.Equal(mac, bridge.Attrs().HardwareAddr) {
		return fmt.Errorf("MAC address %s is the gateway's", mac)
	}
	var errs []error
	if !f.shut[index] {
		errs = append(errs, r.nl.LinkSetLearning(port, false), r.nl.LinkSetFlood(port, false))
	}
	if owner, known := f.ports[at]; !known || owner != index {
		errs = append(errs, r.place(index, at, mac))
	}
	return errors.Join(errs...)
}

// place makes a port, by index, the place of a MAC address.
func (r *Router) place(index int, at place, mac net.HardwareAddr) error {
	entry := &netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, HardwareAddr: mac, Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP}
	err := r.nl.NeighAdd(entry)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	f, err := r.forwarding()
	if err != nil {
		return err
	}
	if owner, taken := f.ports[at]; taken && owner != index && r.holds(owner, mac) {
		return fmt.Errorf("MAC address %s is another container's on this host", mac)
	}
	return r.nl.NeighSet(entry)
}

// holds tells whether a port, by index, is allowed to send from a MAC address.
func (r *Router) holds(index int, mac net.HardwareAddr) bool {
	l, err := r.nl.LinkByIndex(index)
	if err != nil {
		return false
	}
	s, ok := r.allowed[l.Attrs().Name]
	return ok && bytes.Equal(s[unix.IFNAMSIZ:unix.IFNAMSIZ+6], mac)
}
