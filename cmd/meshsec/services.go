package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/dns"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/metadata"
	"github.com/meshsec/meshsec/settings"
)

// services are what this host serves its containers at link.ServiceAddr, and the directory that they answer from.
type services struct {
	board *directory.Board
	dns   *dns.Server // nil: turned off
	udp   *net.UDPConn
	tcp   net.Listener

	metadata *metadata.Server // nil: turned off
	http     net.Listener
}

// What one container gets through to the services in a second: somewhat more than they answer, so that who asks a little too
// often is told so, and only a flood ends in the kernel.
const (
	questionRate     = dns.Rate + dns.Rate/5
	questionConnRate = dns.Rate / 10 // by TCP; a connection takes any number of questions
	requestConnRate  = metadata.Rate + metadata.Rate/2
)

// servicePorts are the ports that containers may reach.
func servicePorts(set settings.Settings) (ports []link.Service) {
	if set.Serves(settings.DNS) {
		ports = append(ports, link.Service{UDP: true, Port: 53, Rate: questionRate}, link.Service{Port: 53, Rate: questionConnRate})
	}
	if set.Serves(settings.Metadata) {
		ports = append(ports, link.Service{Port: 80, Rate: requestConnRate})
	}
	return ports
}

// openServices opens the sockets in the router namespace. The bridges have no address yet, so they are bound before it is there.
func (n *node) openServices(p paths) error {
	s := &n.services
	s.board = directory.NewBoard(directory.New(n.id.HostID))
	n.direct()
	if n.set.Serves(settings.DNS) {
		if err := n.openDNS(p); err != nil {
			return fmt.Errorf("dns: %w", err)
		}
	}
	if n.set.Serves(settings.Metadata) {
		l, err := n.listenTCP(80)
		if err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		s.http = l
		n.closers = append(n.closers, l.Close)
		s.metadata = metadata.New(metadata.Options{Board: s.board, Age: n.age, TokenRequired: n.set.MetadataToken == settings.TokenRequired})
	}
	return nil
}

func (n *node) openDNS(p paths) error {
	s := &n.services
	udp, err := n.listenUDP(53)
	if err != nil {
		return err
	}
	s.udp = udp
	n.closers = append(n.closers, udp.Close)
	if s.tcp, err = n.listenTCP(53); err != nil {
		return err
	}
	n.closers = append(n.closers, s.tcp.Close)
	s.dns = dns.New(dns.Options{Domain: n.set.Domain, Board: s.board, Age: n.age,
		Resolvers: dns.Resolvers(p.resolvers()...)})
	return nil
}

// freely lets a socket be bound to an address that is not there yet (ip(7), IP_FREEBIND).
func freely(_, _ string, c syscall.RawConn) error {
	var failure error
	err := c.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1) })
	if err != nil {
		return err
	}
	return failure
}

func serviceAt(port uint16) string { return netip.AddrPortFrom(link.ServiceAddr, port).String() }

// receiveBuffer is room for the questions of a moment in which nobody answers (bytes).
const receiveBuffer = 4 << 20

func (n *node) listenUDP(port uint16) (*net.UDPConn, error) {
	var conn net.PacketConn
	err := n.router.Do(func() (err error) {
		conn, err = (&net.ListenConfig{Control: roomily}).ListenPacket(context.Background(), "udp4", serviceAt(port))
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// roomily is freely with a receiveBuffer, whatever the system's limit is.
func roomily(network, address string, c syscall.RawConn) error {
	if err := c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) }); err != nil {
		return err
	}
	return freely(network, address, c)
}

func (n *node) listenTCP(port uint16) (l net.Listener, err error) {
	err = n.router.Do(func() (err error) {
		l, err = (&net.ListenConfig{Control: freely}).Listen(context.Background(), "tcp4", serviceAt(port))
		return err
	})
	return l, err
}

// runServices answers, and keeps the directory in step with what the routes were made from.
func (n *node) runServices() []func(context.Context) error {
	parts := []func(context.Context) error{n.keepDirectory}
	if s := &n.services; s.dns != nil {
		parts = append(parts, func(ctx context.Context) error { return s.dns.Serve(ctx, s.udp, s.tcp) })
	}
	if s := &n.services; s.metadata != nil {
		parts = append(parts, func(ctx context.Context) error { return s.metadata.Serve(ctx, s.http) })
	}
	return parts
}

// How soon the directory follows the facts: with the round that has set the routes, or after lateAfter if that takes
// longer. Hosts are looked at every lookAtHosts.
const (
	lateAfter   = time.Second
	lookAtHosts = 2 * time.Second
)

func (n *node) keepDirectory(ctx context.Context) error {
	facts, own := n.store.Subscribe(), n.checkpoint.Subscribe()
	tick := time.NewTicker(lookAtHosts)
	defer tick.Stop()
	var late <-chan time.Time
	for {
		round := n.mesh.Next()
		n.direct()
		select {
		case <-ctx.Done():
			return nil
		case <-round:
			late = nil
			continue
		case <-late:
			late = nil
			continue
		case <-tick.C:
			if n.lookForLost() {
				n.mesh.Kick()
			}
			continue
		case <-own:
			n.directOwn()
			continue // the round that it causes brings all else
		case <-facts:
		}
		if late == nil {
			late = time.After(lateAfter)
		}
		for waiting := true; waiting; { // for the routes
			select {
			case <-ctx.Done():
				return nil
			case <-round:
				waiting, late = false, nil
			case <-late:
				waiting, late = false, nil
			case <-facts:
			case <-own:
				n.directOwn()
			}
		}
	}
}

// direct puts up the directory of the facts as they are.
func (n *node) direct() {
	s := &n.services
	now, _ := s.board.Now()
	snap, local := n.store.Snapshot(), n.checkpoint.Local()
	if lost := n.lostNow(); !now.Of(snap, local, lost) {
		s.board.Set(now.Next(snap, local, lost))
	}
}

// directOwn brings in what has changed on this host, at once: a container that starts may ask before there are routes to it.
func (n *node) directOwn() {
	now, _ := n.services.board.Now()
	n.services.board.Set(now.Next(now.Snapshot(), n.checkpoint.Local(), n.lostNow()))
}

// age is how old the facts are.
func (n *node) age() (age time.Duration, reached bool) {
	snap := n.store.Snapshot()
	ok, _ := n.store.Healthy()
	if ok && !snap.FromDisk || snap.Taken.IsZero() {
		return 0, ok
	}
	return max(0, time.Since(snap.Taken)), false
}

// sandbox says where this process finds a network namespace of Docker's. nil: containers get no route to services.
func (n *node) sandbox(p paths) func(string) string {
	if len(servicePorts(n.set)) == 0 {
		return nil
	}
	return p.sandbox
}
