package underlay

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufferSize is asked for in each direction, in bytes: about ten milliseconds at 5 Gbit/s.
const bufferSize = 8 << 20

// setup sets the socket's options before it is bound.
func setup(rc syscall.RawConn, six bool) error {
	var err error
	ctrl := rc.Control(func(fd uintptr) { err = setOptions(int(fd), six) })
	if ctrl != nil {
		return ctrl
	}
	return err
}

func setOptions(fd int, six bool) error {
	// Beyond rmem_max and wmem_max with CAP_NET_ADMIN, as far as they allow without it.
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], bufferSize) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], bufferSize)
		}
	}
	// PROBE sets DF, so ESP is never fragmented on its way, and does not let the kernel's path MTU cache refuse what
	// the computed tunnel MTU allows: that cache is filled by ICMP messages, which anybody can forge (ip(7)).
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
		return fmt.Errorf("set don't-fragment: %w", err)
	}
	if !six {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE); err != nil {
		return fmt.Errorf("set don't-fragment for IPv6: %w", err)
	}
	return nil
}

// setGRO asks for several datagrams per read (udp(7), Linux 5.0).
func (s *Socket) setGRO() error {
	rc, err := s.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("udp socket: %w", err)
	}
	ctrl := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if ctrl != nil {
		return fmt.Errorf("udp socket: %w", ctrl)
	}
	return err
}
