package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ARP is the result of the arp subcommand.
type ARP struct {
	Answered bool    `json:"answered"`
	MAC      string  `json:"mac,omitempty"`
	MS       float64 `json:"ms,omitempty"`
}

// arp asks once who has the address, by broadcast, and waits for the answer.
func arp(o options) error {
	target, err := netip.ParseAddr(o.address)
	if err != nil || !target.Is4() {
		return fmt.Errorf("address %q: want IPv4", o.address)
	}
	link, err := net.InterfaceByName(o.device)
	if err != nil {
		return err
	}
	own, err := firstAddr(link)
	if err != nil {
		return err
	}
	proto := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, proto)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: uint16(proto), Ifindex: link.Index, Halen: 6}
	copy(to.Addr[:], "\xff\xff\xff\xff\xff\xff")
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(proto), Ifindex: link.Index}); err != nil {
		return err
	}
	head := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, request (RFC 826)
	request := bytes.Join([][]byte{head, link.HardwareAddr, own.AsSlice(), make([]byte, 6), target.AsSlice()}, nil)
	start := time.Now()
	if err := unix.Sendto(fd, request, 0, to); err != nil {
		return err
	}
	b := make([]byte, 128)
	for {
		left := time.Until(start.Add(o.timeout))
		if left <= 0 {
			return report(ARP{})
		}
		limit := unix.NsecToTimeval(int64(left))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil || n < 28 || b[7] != 2 || !bytes.Equal(b[14:18], target.AsSlice()) {
			continue
		}
		took := float64(time.Since(start).Microseconds()) / 1000
		return report(ARP{Answered: true, MAC: net.HardwareAddr(b[8:14]).String(), MS: took})
	}
}

func firstAddr(link *net.Interface) (netip.Addr, error) {
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no IPv4 address", link.Name)
}
