package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// observer sees every frame that comes in at a container's interface.
type observer struct{ fd int }

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	protoTCP  = 6
	protoUDP  = 17
)

// newObserver listens at the container's interface in the calling thread's namespace, not at that of docker_gwbridge.
func newObserver() (*observer, error) {
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// So that the end is noticed.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: link.Index})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &observer{fd}, nil
}

// run hands over frames until ctx ends. A frame that it could not see is an error.
func (o *observer) run(ctx context.Context, see func(frame []byte)) error {
	defer unix.Close(o.fd)
	b := make([]byte, 1<<17)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(o.fd, b, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			continue
		} else if err != nil {
			return fmt.Errorf("observer: %w", err)
		}
		// Loopback shows its frames as coming in, too; nobody sends any.
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
			see(b[:n])
		}
	}
	s, err := unix.GetsockoptTpacketStats(o.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && s.Drops > 0 {
		err = fmt.Errorf("observer: %d frames lost, so nothing is proved", s.Drops)
	}
	return err
}

// judge looks at a frame that came in at container j: it must be one that another container sent, for the first time.
func (t *traffic) judge(j int, b []byte) {
	if why := t.fault(j, b); why != "" {
		t.report(fmt.Sprintf("delivered to the container on %s: %s:\n%s", name(j), why, hex.Dump(b[:min(len(b), 192)])))
	}
}

func (t *traffic) fault(j int, b []byte) string {
	if bytes.Contains(b, t.marker[:]) {
		return "an injected frame"
	}
	if len(b) < 14 {
		return "a frame without header"
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP, etherIPv6: // the bridge's own neighbour discovery
		return ""
	case etherIPv4:
	default:
		return "an unknown ethertype"
	}
	p := b[14:]
	if len(p) < 20 || int(p[0]&15)*4 > len(p) || int(binary.BigEndian.Uint16(p[2:])) > len(p) {
		return "a malformed IPv4 header"
	}
	src, _ := netip.AddrFromSlice(p[12:16])
	i := slices.IndexFunc(t.boxes, func(x *box) bool { return x.addr == src })
	payload := p[int(p[0]&15)*4 : binary.BigEndian.Uint16(p[2:])]
	switch {
	case p[9] == unix.IPPROTO_ICMP && len(payload) > 0 && (payload[0] == 3 || payload[0] == 11):
		return "" // while a fault is on, routers say so
	case i < 0 || i == j:
		return "a packet from " + src.String()
	case p[9] == protoTCP && len(payload) >= 20:
		if p1, p2 := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]); p1 == tcpPort || p2 == tcpPort {
			return "" // who sent it compares the bytes
		}
	case p[9] == protoUDP && len(payload) >= 8+22 && binary.BigEndian.Uint16(payload[2:]) == udpPort:
		return t.number(i, j, payload[8:])
	}
	return fmt.Sprintf("a packet of protocol %d that no container sends", p[9])
}

// number checks a datagram and notes that it has come.
func (t *traffic) number(i, j int, payload []byte) string {
	pair, n := t.pairs[i][j], binary.BigEndian.Uint32(payload[18:])
	if pair == nil || n > pair.sent.Load() || !bytes.Equal(payload, t.datagram(i, j, n)) {
		return "a datagram that nobody sent"
	}
	if !pair.first(n) {
		return fmt.Sprintf("datagram %d from %s, for the second time", n, name(i))
	}
	pair.arrived.Add(1)
	return ""
}

// report keeps what must never be, up to a bound.
func (t *traffic) report(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.bad) < 10 {
		t.bad = append(t.bad, what)
	}
}

// findings takes what was reported.
func (t *traffic) findings() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, what := range t.bad {
		errs = append(errs, errors.New(what))
	}
	t.bad = nil
	return errors.Join(errs...)
}

// bigEndian is a 16-bit number in network order, as the packet socket's fields want it.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
