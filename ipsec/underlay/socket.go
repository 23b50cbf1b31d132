// Package underlay is the UDP socket in the host's namespace through which everything between hosts goes: ESP in UDP
// (RFC 3948) and, behind four zero bytes, the handshake. It tells the two and keepalives apart, and hides whether the
// kernel can send and receive many datagrams in one call (UDP_SEGMENT, UDP_GRO). Where ESP goes without UDP, there is a
// raw socket of IP protocol 50 beside it. It knows no keys.
package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// maxDatagram is the longest UDP payload over IPv4.
const maxDatagram = 65507

// Config says where a Socket listens.
type Config struct {
	// Addrs are this host's underlay addresses; datagrams leave from one of them. With one address the socket is bound
	// to it, with several to the wildcard address. None means every address of the host.
	Addrs []netip.Addr
	// Port is the UDP port; 0 lets the kernel choose.
	Port uint16
	// NoOffload keeps UDP_SEGMENT and UDP_GRO off.
	NoOffload bool
}

// ESPHandler receives datagrams of ESP: batch is one, or several of segment bytes each, of which the last may be
// shorter. The handler may write to batch, which is its own until it returns. It is called from Run's goroutine only.
type ESPHandler func(batch []byte, segment int, from netip.AddrPort)

// HandshakeHandler receives one handshake message without the marker; msg is valid until it returns. It is called
// from Run's goroutine only.
type HandshakeHandler func(msg []byte, from netip.AddrPort)

// Socket is the UDP socket. SendESP and SendHandshake may be called concurrently with everything.
type Socket struct {
	conn      *net.UDPConn
	log       *logrus.Entry
	six       bool        // IPv6 socket: IPv4 addresses are mapped
	sources   *sources    // nil when bound to one address
	gso       atomic.Bool // UDP_SEGMENT works, as far as is known
	esp       atomic.Pointer[ESPHandler]
	handshake atomic.Pointer[HandshakeHandler]
	drops     drops
	oobs      sync.Pool // *oob, so that concurrent senders do not allocate
}

// Listen opens the socket on one address and port, or on every address if addr is unspecified.
func Listen(addr netip.AddrPort, log *logrus.Entry) (*Socket, error) {
	c := Config{Port: addr.Port()}
	if addr.Addr().IsValid() {
		c.Addrs = []netip.Addr{addr.Addr()}
	}
	return Open(c, log)
}

// Open opens the socket in the calling thread's network namespace. SO_REUSEADDR is not set: a second agent, or an IKE
// daemon, gets an error that says so.
func Open(c Config, log *logrus.Entry) (*Socket, error) {
	bind, six := c.bindTo()
	network := "udp4"
	if six {
		network = "udp"
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error { return setup(rc, six) }}
	pc, err := lc.ListenPacket(context.Background(), network, bind.String())
	if err != nil {
		return nil, listenError(bind, err)
	}
	s := &Socket{conn: pc.(*net.UDPConn), log: log, six: six}
	s.oobs.New = func() any { return new(oob) }
	if bind.Addr().IsUnspecified() {
		s.sources = newSources(c.Addrs)
	}
	if !c.NoOffload {
		s.gso.Store(true)
		if err := s.setGRO(); err != nil {
			log.WithError(err).Info("no udp receive offload, datagrams are read one by one")
		}
	}
	return s, nil
}

// bindTo gives the address to bind and whether it takes an IPv6 socket.
func (c Config) bindTo() (netip.AddrPort, bool) {
	six := false
	for _, a := range c.Addrs {
		six = six || a.Unmap().Is6()
	}
	if len(c.Addrs) == 1 {
		a := c.Addrs[0].Unmap()
		return netip.AddrPortFrom(a, c.Port), six
	}
	if six {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), c.Port), true
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), c.Port), false
}

func listenError(bind netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("udp %s is in use, by another agent or by an IKE daemon: %w", bind, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("udp %s: this host does not have the address: %w", bind, err)
	}
	return fmt.Errorf("udp %s: %w", bind, err)
}

// HandleESP sets who gets ESP; nil drops it.
func (s *Socket) HandleESP(h func(batch []byte, segment int, from netip.AddrPort)) {
	if h == nil {
		s.esp.Store(nil)
		return
	}
	f := ESPHandler(h)
	s.esp.Store(&f)
}

// HandleHandshake sets who gets handshake messages; nil drops them.
func (s *Socket) HandleHandshake(h func(msg []byte, from netip.AddrPort)) {
	if h == nil {
		s.handshake.Store(nil)
		return
	}
	f := HandshakeHandler(h)
	s.handshake.Store(&f)
}

// LocalPort is the port that the socket is bound to.
func (s *Socket) LocalPort() uint16 {
	return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// Close closes the socket; Run and senders return net.ErrClosed.
func (s *Socket) Close() error { return s.conn.Close() }

// Drops counts datagrams that were not passed on or not sent, by reason, since the socket was opened.
func (s *Socket) Drops() map[string]uint64 { return s.drops.count() }
