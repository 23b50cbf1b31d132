package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Announce tells the containers on a bridge that addr is reached at mac, by a gratuitous ARP (RFC 5227, section 3), and
// makes the router forget what it had learned of addr. mac is the bridge's when the address
// has become remote, the container's when it has become local.
func (r *Router) Announce(bridge string, addr netip.Addr, mac net.HardwareAddr) error {
	if err := r.announce(bridge, addr, mac); err != nil {
		return fmt.Errorf("announce %s on %s: %w", addr, bridge, err)
	}
	return nil
}

func (r *Router) announce(bridge string, addr netip.Addr, mac net.HardwareAddr) error {
	if !addr.Is4() || len(mac) != 6 {
		return fmt.Errorf("not an IPv4 address with an Ethernet one (%s)", mac)
	}
	l, err := r.nl.LinkByName(bridge)
	if err != nil {
		return err
	}
	errs := []error{r.forget(l, addr)}
	// Both forms: a host may take the one and ignore the other.
	for _, op := range []uint16{arpRequest, arpReply} {
		errs = append(errs, r.sendFrame(l.Attrs().Index, gratuitous(op, l.Attrs().HardwareAddr, addr, mac)))
	}
	return errors.Join(errs...)
}

// forget deletes the bridge's neighbour entry for addr.
func (r *Router) forget(bridge netlink.Link, addr netip.Addr) error {
	err := r.nl.NeighDel(&netlink.Neigh{LinkIndex: bridge.Attrs().Index, Family: unix.AF_INET, IP: addr.AsSlice()})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("neighbour: %w", err)
	}
	return nil
}

// ARP operations (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// gratuitous builds an Ethernet frame with an ARP packet in which sender and target are both addr.
func gratuitous(op uint16, from net.HardwareAddr, addr netip.Addr, mac net.HardwareAddr) []byte {
	broadcast := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	b := append([]byte{}, broadcast...)
	b = append(b, from...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_ARP)
	b = append(b, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4, and the lengths of their addresses
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(b, mac...)
	b = append(b, addr.AsSlice()...)
	b = append(b, broadcast...)
	return append(b, addr.AsSlice()...)
}

// sendFrame sends an Ethernet frame out of a link of the router namespace.
func (r *Router) sendFrame(index int, frame []byte) error {
	return r.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
	})
}
