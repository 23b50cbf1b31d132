package xfrm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
)

// probePatience is how long a packet of the probe may take through the kernel.
const probePatience = 2 * time.Second

// packet sends a packet through the probe's device, which comes out of it again: sealed by the host's SA although the
// device is in the router, sent to loopback, taken off the UDP socket by the kernel, opened, and returned to the device.
func (p *probe) packet() error {
	var s *underlay.Socket
	err := p.kernel.DoHost(func() (err error) {
		s, err = underlay.Open(underlay.Config{Addrs: []netip.Addr{loopback}, NoOffload: true}, p.log)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.KernelESP(); err != nil {
		return fmt.Errorf("ESP in UDP: %w", err)
	}
	if err := p.addState(ipsec.AES256GCM, s.LocalPort()); err != nil {
		return fmt.Errorf("ESP in UDP: %w", err)
	}
	if err := p.kernel.Do(p.send); err != nil {
		return fmt.Errorf("xfrm interface %s in the router: %w", probeDevice, err)
	}
	for end := time.Now().Add(probePatience); ; {
		received, err := p.received()
		if err != nil {
			return err
		}
		if received {
			return nil
		}
		if time.Now().After(end) {
			return p.lost()
		}
		time.Sleep(time.Millisecond)
	}
}

// send puts an IPv4 packet on the device, past all routes. Runs in the router.
func (p *probe) send() error {
	dev, err := net.InterfaceByName(probeDevice)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	return unix.Sendto(fd, probePacket(), 0, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: dev.Index})
}

// probePacket is an empty IPv4 packet for experiments (protocol 253, RFC 3692) between addresses for documentation
// (RFC 5737): whoever gets it drops it.
func probePacket() []byte {
	b := []byte{0x45, 0, 0, 20, 0, 0, 0x40, 0, 1, 253, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2}
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return b
}

// received tells whether something has come out of the device.
func (p *probe) received() (bool, error) {
	var devs []listedDevice
	err := with(p.kernel.Netlink, unix.NETLINK_ROUTE, func(n *link.Netlink) (err error) {
		devs, err = listXfrm(n)
		return err
	})
	for _, d := range devs {
		if d.Name == probeDevice {
			return d.received > 0, err
		}
	}
	return false, err
}

// lost says how far the packet got.
func (p *probe) lost() error {
	k := probeSPI(ipsec.AES256GCM)
	counters, err := p.kernel.counters([]stateKey{k})
	if err != nil {
		return err
	}
	switch n := counters[k].Packets; n {
	case 0:
		return errors.New("an xfrm interface does not use the host's SAs once it is in another namespace: nothing was sealed")
	case 1:
		return errors.New("the kernel does not open ESP in UDP: a packet was sealed and sent, and lost")
	default:
		return errors.New("an xfrm interface in another namespace gets nothing: a packet was opened, and lost")
	}
}
