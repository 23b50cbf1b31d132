package link

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ipv4Packet builds an IPv4 packet.
func ipv4Packet(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = append(b, 0, 1, 0, 0, 64, protocol, 0, 0)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, payload...)
}

// icmpMessage builds an ICMP message of one type; payload of even length.
func icmpMessage(kind byte, payload []byte) []byte {
	b := append([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, payload...)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

func udpDatagram(port uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 4000)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...) // checksum 0: none
}

// listen opens a UDP socket in a namespace.
func (w *world) listen(ns netns.NsHandle, at string) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	ok(w.t, inNamespace(ns, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		return err
	}))
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// receives tells whether a datagram with the payload comes, in time.
func receives(t testing.TB, c *net.UDPConn, payload string, d time.Duration) bool {
	t.Helper()
	ok(t, c.SetReadDeadline(time.Now().Add(d)))
	b := make([]byte, 2000)
	for {
		n, err := c.Read(b)
		if err != nil {
			return false
		}
		if string(b[:n]) == payload {
			return true
		}
	}
}

// comesOut tells whether a packet that matches leaves through the tunnel, in time.
func comesOut(t testing.TB, tun *os.File, d time.Duration, match func(p []byte) bool) bool {
	t.Helper()
	ok(t, tun.SetReadDeadline(time.Now().Add(d)))
	b := make([]byte, 64<<10)
	for {
		n, err := tun.Read(b)
		if err != nil {
			return false
		}
		if match(b[:n]) {
			return true
		}
	}
}

// from and to match a packet's addresses.
func between(src, dst string) func([]byte) bool {
	return func(p []byte) bool {
		return len(p) >= 20 && netip.AddrFrom4([4]byte(p[12:16])) == addr(src) && netip.AddrFrom4([4]byte(p[16:20])) == addr(dst)
	}
}

// packetSocket hears every frame of a link.
func (w *world) packetSocket(ns netns.NsHandle, link string) int {
	w.t.Helper()
	l := must(w.handle(ns).LinkByName(link))(w.t)
	fd := -1
	ok(w.t, inNamespace(ns, func() (err error) {
		proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL})
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.Attrs().Index})
	}))
	w.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// frame waits for a frame that matches.
func frame(t testing.TB, fd int, d time.Duration, match func(f []byte) bool) bool {
	t.Helper()
	b := make([]byte, 64<<10)
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		if err == unix.EINTR || n == 0 {
			continue
		}
		n, _, err = unix.Recvfrom(fd, b, 0)
		if err == nil && match(b[:n]) {
			return true
		}
	}
}
