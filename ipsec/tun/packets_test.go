package tun

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/underlay"
)

var addrA, addrB = netip.MustParseAddr("10.42.1.9"), netip.MustParseAddr("10.42.2.9")

// testIPv4 is a packet from addrA to addrB.
func testIPv4(proto byte, payload []byte) []byte { return testIPv4From(addrA, addrB, proto, payload) }

func testIPv4From(src, dst netip.Addr, proto byte, payload []byte) []byte {
	b := make([]byte, ipSize, ipSize+len(payload))
	b[0], b[1], b[6], b[8], b[9] = 0x45, 0x02, 0x40, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(ipSize+len(payload)))
	binary.BigEndian.PutUint16(b[4:], 0xfffe)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	finishIP(b)
	return append(b, payload...)
}

// testTCP is a TCP packet from addrA to addrB with a timestamp option and n bytes of payload.
func testTCP(seq uint32, flags byte, n int) []byte {
	tcp := make([]byte, tcpSize+12+n)
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], 0xabcdef)
	tcp[12], tcp[13] = 8<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 501)
	copy(tcp[20:], []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8})
	for i := range n {
		tcp[32+i] = byte(seq + uint32(i))
	}
	ip := testIPv4(protoTCP, tcp)
	finishTCP(ip)
	return ip
}

func finishTCP(ip []byte) {
	tcp := ip[ipSize:]
	tcp[tcpChecked], tcp[tcpChecked+1] = 0, 0
	putChecksum(tcp[tcpChecked:], sum(tcp, pseudo(ip, protoTCP, len(tcp))))
}

// pipeDevice is a device without a kernel behind it: what is written comes out of far, packet by packet, and back.
func pipeDevice(t testing.TB) (d *device, far *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return &device{file: near, raw: raw}, far
}

// written reads what has been written to the device until now.
func written(t testing.TB, far *os.File) (packets [][]byte) {
	t.Helper()
	raw, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, vnetSize+maxPacket)
	if err := raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), buf)
			if err != nil {
				return true
			}
			packets = append(packets, slices.Clone(buf[:n]))
		}
	}); err != nil {
		t.Fatal(err)
	}
	return packets
}

// pipePlane is a plane on a pipeDevice, with a socket on the loopback address.
func pipePlane(t testing.TB) (p *Plane, far *os.File) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := underlay.Listen(netip.MustParseAddrPort("127.0.0.1:0"), logrus.NewEntry(log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d, far := pipeDevice(t)
	return newPlane(nil, s, d, logrus.NewEntry(log)), far
}

func testSA(spi ipsec.SPI) ipsec.SA {
	s := ipsec.SA{SPI: spi, Cipher: ipsec.AES256GCM}
	binary.BigEndian.PutUint32(s.Key.Bytes[:], uint32(spi))
	return s
}

// peerAt is a peer called name with one address.
func peerAt(name string, addr netip.Addr, remote netip.AddrPort, in []ipsec.SA, out *ipsec.SA) ipsec.Peer {
	return ipsec.Peer{Name: name, Remote: remote, Encap: ipsec.EncapUDP, Prefixes: []netip.Prefix{netip.PrefixFrom(addr, 32)}, In: in, Out: out}
}

func configOf(peers ...ipsec.Peer) ipsec.Config { return ipsec.Config{MTU: 1438, Peers: peers} }

// loopback is the address of a plane's own socket.
func loopback(p *Plane) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.socket.LocalPort())
}

// collect gives the datagrams of ESP that come to a plane's socket.
func collect(t testing.TB, p *Plane) <-chan []byte {
	t.Helper()
	c := make(chan []byte, 10000)
	p.socket.HandleESP(func(batch []byte, segment int, _ netip.AddrPort) {
		for ; len(batch) > 0; batch = batch[min(segment, len(batch)):] {
			c <- slices.Clone(batch[:min(segment, len(batch))])
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = p.socket.Run(t.Context()) }()
	t.Cleanup(func() { _ = p.socket.Close(); <-done })
	return c
}
