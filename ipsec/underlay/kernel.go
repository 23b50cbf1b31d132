package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// From linux/udp.h; x/sys lacks them.
const (
	udpEncap         = 100 // UDP_ENCAP
	udpEncapESPinUDP = 2   // UDP_ENCAP_ESPINUDP (RFC 3948)
)

// KernelESP leaves ESP to the kernel: from now on Run sees handshakes only, while ESP and keepalives that come in on the
// socket are taken by the SAs of its namespace (net/ipv4/xfrm4_input.c, xfrm4_udp_encap_rcv). The kernel does so as long
// as the socket is open. The error is that of a kernel without IPsec.
func (s *Socket) KernelESP() error {
	rc, err := s.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("udp socket: %w", err)
	}
	ctrl := rc.Control(func(fd uintptr) {
		// Kernels before 6.9 without "udp: do not accept non-tunnel GSO skbs landing in a tunnel" would hand datagrams that
		// were joined on receipt to their ESP in one piece. Handshakes don't miss it.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 0)
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpEncap, udpEncapESPinUDP)
	})
	if ctrl != nil {
		return fmt.Errorf("udp socket: %w", ctrl)
	}
	if err != nil {
		return fmt.Errorf("the kernel does not take ESP in UDP (UDP_ENCAP): %w", err)
	}
	return nil
}
