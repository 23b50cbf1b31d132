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

// ESPSocket is a raw socket of IP protocol 50 (RFC 4303) over IPv4 in the host's namespace. As long as it is open the kernel
// answers no ESP for its address with "protocol unreachable", whether it has ESP of its own (which then gets a copy) or not
// (net/ipv4/ip_input.c, ip_protocol_deliver_rcu). Send may be called concurrently with everything.
type ESPSocket struct {
	conn    *net.IPConn
	raw     syscall.RawConn
	log     *logrus.Entry
	sources *sources // nil when bound to one address
	handler atomic.Pointer[PacketHandler]
	drops   drops
	senders sync.Pool // *sender, so that concurrent senders do not allocate
}

// PacketHandler receives ESP packets of one source in the order in which they came, without their IP headers. It may write to
// them; they are its own until it returns. It is called from Run's goroutine only.
type PacketHandler func(packets [][]byte, from netip.Addr)

// OpenESP opens the socket in the calling thread's network namespace. Packets leave from one of addrs, this host's underlay
// addresses; with one address only packets for it are received. It is an error if one of them is IPv6, or without
// CAP_NET_RAW.
func OpenESP(addrs []netip.Addr, log *logrus.Entry) (*ESPSocket, error) {
	bind, six := Config{Addrs: addrs}.bindTo()
	if six {
		return nil, errors.New("esp without udp is for IPv4 underlays only")
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error { return setup(rc, false) }}
	pc, err := lc.ListenPacket(context.Background(), "ip4:50", bind.Addr().String())
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil, fmt.Errorf("protocol 50 at %s: this host does not have the address: %w", bind.Addr(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("protocol 50 at %s: %w", bind.Addr(), err)
	}
	s := &ESPSocket{conn: pc.(*net.IPConn), log: log}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("protocol 50: %w", err), s.conn.Close())
	}
	s.senders.New = func() any { return newSender(&s.drops) }
	if bind.Addr().IsUnspecified() {
		s.sources = newSources(addrs)
	}
	return s, nil
}

// Handle sets who gets packets; nil drops them.
func (s *ESPSocket) Handle(h PacketHandler) {
	if h == nil {
		s.handler.Store(nil)
		return
	}
	s.handler.Store(&h)
}

// Close closes the socket; Run and senders return net.ErrClosed.
func (s *ESPSocket) Close() error { return s.conn.Close() }

// Drops counts packets that were not passed on or not sent, by reason, since the socket was opened.
func (s *ESPSocket) Drops() map[string]uint64 { return s.drops.count() }
